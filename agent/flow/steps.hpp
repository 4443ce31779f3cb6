// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "aws/ec2.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "flow/record.hpp"
#include "flow/services.hpp"
#include "job/job.hpp"

namespace amilift::flow {

/// A job under way: the services, the durable record, and what is known only while it runs.
struct Run {
    Services& services;
    Record record;
    std::optional<job::Job> job;
    std::optional<aws::Image> source;  ///< fetched when needed
    std::string source_path;           ///< block devices, once seen by udev
    std::string target_path;
    /// False: nobody goes on after a crash, there is no record.
    bool is_recorded = true;
    /// When cleaning up is given up, once the job's deadline is armed. Monotonic like that one: the
    /// wall clock may be set while the job runs.
    std::optional<core::Deadline> clean_up_end{};

    /// Writes the record; what is not durable has not happened.
    [[nodiscard]] core::Result<> save();
    void say(Update::Kind kind, std::string text, std::optional<double> fraction = {}) const;
};

/// Reads the job and arms its deadline: the work of the first state, and what a restarted agent
/// does before it goes on in a later one.
[[nodiscard]] core::Result<> fetch_job(Run& run);

/// The work of one state. Each looks first for what an earlier try of it made, so that a restarted
/// helper goes on instead of creating twice.
[[nodiscard]] core::Result<> work(State state, Run& run);

}  // namespace amilift::flow
