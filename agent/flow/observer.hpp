// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "dev/copy_progress.hpp"
#include "flow/record.hpp"

namespace amilift::flow {

/// Something that happened to a job.
struct Update {
    enum class Kind {
        state_entered,
        message,   ///< a line for people: a step, a finding
        warning,   ///< the same, and somebody should read it
        progress,  ///< `fraction` is set
        finished   ///< the outcome is final; record.outcome, record.error and record.image say it
    };
    Kind kind = Kind::message;
    std::string text;
    std::optional<double> fraction;         ///< 0 to 1, of the current state
    std::optional<dev::CopyStatus> copy{};  ///< of progress, while bytes are copied or compared
};

/// Hears of a job's life; the reporters (tags, console, journal, status file) are behind it. Must
/// not fail: what cannot be told is dropped. Called from the flow's thread.
class Observer {
  public:
    Observer() = default;
    Observer(const Observer&) = delete;
    Observer& operator=(const Observer&) = delete;
    virtual ~Observer() = default;
    virtual void on_update(const Record& record, const Update& update) = 0;
};

}  // namespace amilift::flow
