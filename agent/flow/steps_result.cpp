// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "flow/preflight.hpp"
#include "flow/resources.hpp"
#include "flow/step_parts.hpp"
#include "flow/wait.hpp"

// The states that make the result, and those that end the job.
namespace amilift::flow::steps {

using core::Errc;
using core::fail;
using core::Result;

namespace {

/// The disk boots as the source's does, and what its system was known to cope with it still does.
void keep_hvm_settings(const aws::Image& source, aws::RegisterImageRequest& request) {
    if (!request.boot_mode && !source.boot_mode.empty()) request.boot_mode = source.boot_mode;
    // A TPM is there for UEFI only.
    if (request.boot_mode != "legacy-bios") request.tpm_support = source.tpm_support;
    request.imds_support = source.imds_support;
    request.sriov_net_support = source.sriov_net_support;
}

Result<aws::RegisterImageRequest> image_request(Run& run) {
    AMILIFT_TRY(const auto* source, source_image(run));
    AMILIFT_TRY(const auto values, template_values(run));
    AMILIFT_TRY(const auto snapshots,
                run.services.ec2.describe_snapshots({run.record.snapshot}, {}));
    if (snapshots.empty()) {
        return fail(Errc::not_found, fmt::format("snapshot '{}' disappeared", run.record.snapshot));
    }
    const auto& target = run.job->target;
    aws::RegisterImageRequest request;
    request.name = run.record.image_name;
    AMILIFT_TRY(request.description,
                job::expand_text(target.description, values, "target.description"));
    request.architecture = source->architecture;
    request.root_device_name = target.root_device_name;
    if (!run.record.kernel_id.empty()) {
        request.virtualization_type = "paravirtual";
        request.kernel_id = run.record.kernel_id;
    }
    if (run.record.ena_support) request.ena_support = true;
    if (!run.record.boot_mode.empty()) request.boot_mode = run.record.boot_mode;
    const bool is_hvm = request.virtualization_type == "hvm";
    if (is_hvm && source->virtualization_type == "hvm") keep_hvm_settings(*source, request);
    AMILIFT_TRY(auto mapped, map_block_devices(*source, target, run.record.snapshot,
                                               snapshots.front().size_gib));
    request.block_devices = std::move(mapped.mappings);
    AMILIFT_TRY(request.tags, image_tags(run, *source, values));
    return request;
}

/// An AMI that is billed otherwise than its source is no result: the licence would not be paid.
Result<> require_billing(Run& run, const aws::Image& image) {
    AMILIFT_TRY(const auto* source, source_image(run));
    if (!has_billing_codes(*source) || image.usage_operation == source->usage_operation) return {};
    return fail(Errc::refused,
                fmt::format("AMI '{}' is billed as '{}', its source '{}' as '{}'", image.id,
                            image.usage_operation, source->id, source->usage_operation),
                "the snapshot did not keep the billing codes: use the vendor's HVM image",
                "billing-codes-lost");
}

}  // namespace

Result<> snapshot(Run& run) {
    auto& record = run.record;
    auto& s = run.services;
    if (record.snapshot.empty()) {
        // CreateSnapshot has no idempotency token: the tag tells whether an earlier call got
        // through.
        AMILIFT_TRY(auto found,
                    s.ec2.describe_snapshots({}, {{fmt::format("tag:{}", kTagJob), {record.job_id}},
                                                  {"volume-id", {record.target_volume}}}));
        keep_job(found, record.job_id);
        const auto usable = std::ranges::find_if(
            found, [](const auto& x) { return x.state == "pending" || x.state == "completed"; });
        if (usable != found.end()) {
            record.snapshot = usable->id;
        } else {
            auto tags = provenance(run);
            tags["Name"] = record.image_name;
            AMILIFT_TRY(const auto made,
                        s.ec2.create_snapshot({record.target_volume,
                                               fmt::format("amilift: root of '{}', from {}",
                                                           record.image_name, run.job->source.ami),
                                               tags}));
            record.snapshot = made.id;
        }
        AMILIFT_CHECK(run.save());
    }
    run.say(Update::Kind::message, fmt::format("snapshot {}", record.snapshot));
    const core::Deadline visible(s.clock, s.waits.create_visible);
    std::string last_progress;
    auto policy = s.waits.snapshot_completed;
    // The deadline itself comes sooner, and ends the wait by job_cancel.
    policy.timeout = run.job->deadline;
    return wait_until(
        s.clock, s.job_cancel, policy,
        fmt::format("snapshot '{}' to be completed", record.snapshot),
        [&](std::string& seen) -> Result<bool> {
            auto snapshots = s.ec2.describe_snapshots({record.snapshot}, {});
            if (!snapshots) {
                if (snapshots.error().is(Errc::not_found) && !visible.passed(s.clock)) {
                    seen = snapshots.error().id;
                    return false;
                }
                return std::unexpected(std::move(snapshots).error());
            }
            if (snapshots->empty()) {
                return fail(Errc::not_found,
                            fmt::format("snapshot '{}' disappeared", record.snapshot),
                            "somebody deleted it while the job ran; run the job again");
            }
            const auto& x = snapshots->front();
            seen = fmt::format("state '{}', {}", x.state, x.progress);
            if (x.state == "error") {
                return fail(
                    Errc::conflict,
                    fmt::format("EC2 could not complete snapshot '{}': {}", x.id,
                                x.state_message.empty() ? "no reason given" : x.state_message),
                    "check the KMS key of the volume, then run the job again");
            }
            if (x.progress != last_progress) {
                last_progress = x.progress;
                run.say(Update::Kind::progress, "snapshot " + x.progress);
            }
            return x.state == "completed";
        });
}

Result<> register_image(Run& run) {
    auto& record = run.record;
    auto& s = run.services;
    if (record.image.empty()) {
        // RegisterImage has no token either: the name is the natural key.
        AMILIFT_TRY(auto found,
                    s.ec2.describe_images({}, {"self"},
                                          {{"name", {record.image_name}},
                                           {fmt::format("tag:{}", kTagJob), {record.job_id}}}));
        keep_job(found, record.job_id);
        const auto usable = std::ranges::find_if(found, [&](const auto& image) {
            return (image.state == "pending" || image.state == "available") &&
                   std::ranges::any_of(image.block_devices, [&](const auto& m) {
                       return m.snapshot_id == record.snapshot;
                   });
        });
        if (usable != found.end()) {
            record.image = usable->id;
        } else {
            AMILIFT_TRY(const auto request, image_request(run));
            AMILIFT_TRY(record.image, s.ec2.register_image(request));
        }
        AMILIFT_CHECK(run.save());
    }
    run.say(Update::Kind::message,
            fmt::format("AMI {} '{}' registered", record.image, record.image_name));
    const core::Deadline visible(s.clock, s.waits.create_visible);
    return wait_until(
        s.clock, s.job_cancel, s.waits.image_available,
        fmt::format("AMI '{}' to become available", record.image),
        [&](std::string& seen) -> Result<bool> {
            auto images = s.ec2.describe_images({record.image}, {}, {});
            if ((!images && images.error().is(Errc::not_found)) || (images && images->empty())) {
                seen = "not found";
                if (!visible.passed(s.clock)) return false;
                return fail(
                    Errc::not_found,
                    fmt::format("AMI '{}' was registered and then not found", record.image));
            }
            if (!images) return std::unexpected(std::move(images).error());
            const auto& image = images->front();
            seen = fmt::format("state '{}'", image.state);
            if (image.state == "available") {
                AMILIFT_CHECK(require_billing(run, image));
                return true;
            }
            if (image.state == "pending") return false;
            return fail(
                Errc::conflict,
                fmt::format("AMI '{}' went to state '{}': {}", record.image, image.state,
                            image.state_reason.empty() ? "no reason given" : image.state_reason));
        });
}

Result<> finish(Run& run) {
    auto& s = run.services;
    run.say(Update::Kind::finished, run.record.outcome == Outcome::succeeded
                                        ? fmt::format("done: {}", run.record.image)
                                        : run.record.error);
    const auto finish = run.job ? run.job->finish : job::Finish{};
    const auto action =
        run.record.outcome == Outcome::succeeded ? finish.on_success : finish.on_failure;
    // Somebody started the helper again to look at it.
    const bool was_stopped =
        !run.record.stopped_in_boot.empty() && run.record.stopped_in_boot != s.boot_id;
    if (action == job::FinishAction::keep || !s.throwaway || was_stopped) {
        run.say(Update::Kind::message,
                !s.throwaway  ? "this is no throwaway helper: it is kept"
                : was_stopped ? "the job is over, and the helper was started again: it is kept"
                              : "the helper is kept, as the job says");
        return s.control.disarm_deadline();
    }
    // The record must say "ended" before the helper can go down in mid-write.
    AMILIFT_CHECK(s.stop.check());
    run.record.state = State::ended;
    const bool terminate = action == job::FinishAction::terminate;
    if (!terminate) run.record.stopped_in_boot = s.boot_id;
    if (auto saved = run.save(); !saved) run.say(Update::Kind::warning, saved.error().message());
    auto told = terminate ? s.ec2.terminate_instance(run.record.instance_id)
                          : s.ec2.stop_instance(run.record.instance_id);
    if (!told) {
        // Without the permission, or with the API out of reach, powering off still ends a helper
        // that was launched with the matching shutdown behaviour.
        run.say(Update::Kind::warning,
                fmt::format("could not {} this helper through the API: {}; powering off",
                            terminate ? "terminate" : "stop", told.error().message()));
    }
    return s.control.power_off();
}

}  // namespace amilift::flow::steps
