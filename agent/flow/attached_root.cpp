// SPDX-License-Identifier: Apache-2.0
#include "flow/attached_root.hpp"

#include <fmt/format.h>

#include <utility>

#include "flow/preflight.hpp"
#include "flow/step_parts.hpp"

namespace amilift::flow {
namespace {

using core::Result;

/// A job that has no more than its volume: the states of a conversion up to the attached volume
/// are what is wanted here, too.
job::Job job_of_inspection(const std::string& ami) {
    job::Job job;
    job.source.ami = ami;
    // One volume, made from the snapshot; HVM and licensed AMIs as well as others.
    job.conversion.layout = job::Layout::in_place;
    job.conversion.platform = job::Platform::nitro;
    // It bounds the clean-up, for which a person waits.
    job.deadline = std::chrono::seconds::zero();
    return job;
}

Result<> attach_and_use(Run& run, const std::function<Result<>(const AttachedRoot&)>& use) {
    AMILIFT_CHECK(steps::create_volumes(run));
    AMILIFT_CHECK(steps::attach_volumes(run));
    return use(AttachedRoot{*run.source, run.target_path, run.record.target_volume,
                            run.record.target_attach_name});
}

}  // namespace

Result<> with_attached_root(Services& services, const std::string& ami, const std::string& id,
                            const std::function<Result<>(const AttachedRoot&)>& use) {
    Run run{services, {}, job_of_inspection(ami), {}, {}, {}};
    run.is_recorded = false;
    run.record.instance_id = services.helper.instance_id;
    run.record.job_id = id;
    run.record.started_at = core::format_utc(services.clock.wall());
    AMILIFT_TRY(const auto* source, steps::source_image(run));
    AMILIFT_CHECK(check_source(*source, run.job->conversion));
    auto done = attach_and_use(run, use);
    if (auto cleaned = steps::clean_up(run); !cleaned) {
        if (done) return cleaned;
        done.error().what += fmt::format("; then {}", cleaned.error().message());
    }
    return done;
}

}  // namespace amilift::flow
