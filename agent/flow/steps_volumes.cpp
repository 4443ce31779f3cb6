// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/sha256.hpp"
#include "flow/preflight.hpp"
#include "flow/resources.hpp"
#include "flow/step_parts.hpp"
#include "flow/wait.hpp"

// The states in which the job has volumes.
namespace amilift::flow::steps {

using core::Errc;
using core::fail;
using core::Result;

namespace {

enum class Role { source, target };
const char* to_string(Role role) {
    return role == Role::source ? "source" : "target";
}

/// An idempotency token that is the same for every try of this job on this helper, and only then.
Result<std::string> client_token(const Run& run, Role role) {
    const auto text =
        fmt::format("{}/{}/{}", run.record.instance_id, run.record.job_id, to_string(role));
    AMILIFT_TRY(const auto digest, core::sha256_hex(text));
    return "amilift-" + digest.substr(0, 40);
}

Result<aws::Volume> describe_volume(Run& run, const std::string& id) {
    AMILIFT_TRY(auto volumes, run.services.ec2.describe_volumes({id}, {}));
    if (volumes.empty()) {
        return fail(Errc::not_found, fmt::format("volume '{}' does not exist any more", id),
                    "somebody deleted it while the job ran; run the job again");
    }
    return std::move(volumes.front());
}

std::string names_of(const std::vector<std::string>& ids) {
    return fmt::format("{} '{}'", ids.size() == 1 ? "volume" : "volumes",
                       fmt::join(ids, "' and '"));
}

Result<std::string> find_or_create_volume(Run& run, Role role, std::int64_t size_gib) {
    const auto& options = run.job->conversion;
    const bool in_place = converts_in_place(*run.source, options);
    const bool is_of_snapshot = role == Role::source || in_place;
    const auto* root = root_mapping(*run.source);
    // A volume of the snapshot is as large as that, unless the job wants it larger.
    const std::int64_t wanted_gib = !is_of_snapshot ? target_size_gib(options, size_gib)
                                    : in_place      ? std::int64_t{options.size_gib}
                                                    : 0;
    const aws::Filters mine{{fmt::format("tag:{}", kTagJob), {run.record.job_id}},
                            {fmt::format("tag:{}", kTagRole), {to_string(role)}},
                            {"status", {"creating", "available", "in-use"}}};
    AMILIFT_TRY(auto found, run.services.ec2.describe_volumes({}, mine));
    keep_job(found, run.record.job_id);
    for (const auto& v : found) {
        if (v.availability_zone != run.services.helper.availability_zone) continue;
        if (!v.attachments.empty() && v.attachments.front().instance_id != run.record.instance_id) {
            return fail(Errc::conflict,
                        fmt::format("volume '{}' of job '{}' is attached to instance '{}': another "
                                    "helper works on the same job",
                                    v.id, run.record.job_id, v.attachments.front().instance_id),
                        "let that helper finish, or terminate it and run the job again");
        }
        // A job id that was used before for another AMI finds that one's volumes.
        const bool fits =
            v.size_gib >= wanted_gib && (!is_of_snapshot || v.snapshot_id == root->snapshot_id);
        if (!fits) {
            return fail(Errc::conflict,
                        fmt::format("volume '{}' of job '{}' was made for another job: it is of "
                                    "snapshot '{}' and has {} GiB",
                                    v.id, run.record.job_id, v.snapshot_id, v.size_gib),
                        "run 'amilift cleanup' for that job id, or use another id");
        }
        return v.id;
    }
    aws::CreateVolumeRequest request;
    request.availability_zone = run.services.helper.availability_zone;
    if (role == Role::target) request.volume_type = run.job->target.volume_type;
    if (is_of_snapshot) request.snapshot_id = root->snapshot_id;
    if (wanted_gib != 0) request.size_gib = wanted_gib;
    // A blank target for an encrypted source is encrypted too, with the account's default key.
    if (!is_of_snapshot && root->encrypted.value_or(false)) request.encrypted = true;
    AMILIFT_TRY(request.client_token, client_token(run, role));
    request.tags = provenance(run);
    request.tags[kTagRole] = to_string(role);
    request.tags["Name"] = fmt::format("amilift {} {}", run.record.job_id, to_string(role));
    AMILIFT_TRY(const auto volume, run.services.ec2.create_volume(request));
    if (role == Role::target) run.record.target_is_new = true;
    return volume.id;
}

Result<> request_attachment(Run& run, const std::string& volume_id, std::string& name,
                            const aws::Instance& helper, const std::vector<std::string>& taken) {
    AMILIFT_TRY(const auto volume, describe_volume(run, volume_id));
    for (const auto& a : volume.attachments) {
        if (a.instance_id == run.record.instance_id && a.state != "detached") {
            name = a.device;
            return run.save();
        }
    }
    AMILIFT_TRY(const auto names, free_attach_names(helper, 1, taken));
    name = names.front();
    AMILIFT_CHECK(run.save());
    auto attached = run.services.ec2.attach_volume(volume_id, run.record.instance_id, name);
    // An earlier try got through although its answer was lost: the wait below sees it.
    if (!attached && attached.error().id == "VolumeInUse") return {};
    return attached;
}

/// Sees to it that the volume dies with the helper, whatever ends it. As early as EC2 takes it: an
/// attachment may never get beyond `attaching`. False: it is to be asked again. `marked` holds the
/// device names for which that is done.
Result<bool> dies_with_helper(Run& run, const aws::Attachment& attachment,
                              std::set<std::string>& marked) {
    if (attachment.delete_on_termination || marked.contains(attachment.device)) return true;
    auto done =
        run.services.ec2.delete_volume_on_termination(run.record.instance_id, attachment.device);
    if (done) {
        marked.insert(attachment.device);
        return true;
    }
    if (attachment.state == "attached") return std::unexpected(std::move(done).error());
    return false;
}

/// Of an AMI that is HVM already, and whose way from UEFI to the menu was not seen.
void choose_boot_mode_without_uefi(Run& run, const std::string& source_mode) {
    constexpr std::string_view kReason =
        "it has no EFI system partition, or the kernel no EFI, or the conversion has told why";
    if (source_mode == "uefi-preferred") {
        run.record.boot_mode = "legacy-bios";
        run.say(Update::Kind::warning,
                fmt::format("nothing proves that UEFI starts the new AMI: it gets the boot mode "
                            "legacy-bios instead of {}; {}",
                            source_mode, kReason));
    } else if (source_mode == "uefi") {
        run.say(
            Update::Kind::warning,
            fmt::format(
                "nothing proves that UEFI starts the new AMI, which keeps the boot mode uefi; {}",
                kReason));
    }
}

}  // namespace

Result<> create_volumes(Run& run) {
    auto& record = run.record;
    AMILIFT_TRY(const auto* source, source_image(run));
    std::int64_t size_gib = root_mapping(*source)->volume_size_gib.value_or(0);
    if (size_gib <= 0) {
        const auto& id = *root_mapping(*source)->snapshot_id;
        AMILIFT_TRY(const auto snapshots, run.services.ec2.describe_snapshots({id}, {}));
        if (snapshots.empty() || snapshots.front().size_gib <= 0) {
            return fail(
                Errc::not_found,
                fmt::format("the root snapshot '{}' of AMI '{}' has no known size", id, source->id),
                "check that the snapshot exists and is shared with this account");
        }
        size_gib = snapshots.front().size_gib;
    }
    const auto& options = run.job->conversion;
    const bool in_place = converts_in_place(*source, options);
    if (!in_place) {
        AMILIFT_TRY(record.source_volume, find_or_create_volume(run, Role::source, size_gib));
        AMILIFT_CHECK(run.save());
    }
    AMILIFT_TRY(record.target_volume, find_or_create_volume(run, Role::target, size_gib));
    AMILIFT_CHECK(run.save());
    run.say(
        Update::Kind::message,
        in_place
            ? fmt::format("volume {} ({} GiB) made from the source's snapshot",
                          record.target_volume, std::max(size_gib, std::int64_t{options.size_gib}))
            : fmt::format("source volume {}, target volume {} ({} GiB)", record.source_volume,
                          record.target_volume, target_size_gib(options, size_gib)));
    const auto ids = record.volumes();

    const core::Deadline visible(run.services.clock, run.services.waits.create_visible);
    return wait_until(
        run.services.clock, run.services.job_cancel, run.services.waits.volume_available,
        fmt::format("{} to become available", names_of(ids)),
        [&](std::string& seen) -> Result<bool> {
            auto volumes = run.services.ec2.describe_volumes(ids, {});
            if (!volumes) {
                // A new volume is unknown to some API servers for a while.
                if (volumes.error().is(Errc::not_found) && !visible.passed(run.services.clock)) {
                    seen = volumes.error().id;
                    return false;
                }
                return std::unexpected(std::move(volumes).error());
            }
            std::size_t ready = 0;
            seen.clear();
            for (const auto& v : *volumes) {
                seen += fmt::format("{}{} is '{}'", seen.empty() ? "" : ", ", v.id, v.state);
                if (v.state == "error") {
                    return fail(
                        Errc::conflict,
                        fmt::format("EC2 could not create volume '{}': state 'error'", v.id),
                        "check the quota for volumes and the KMS key of the snapshot");
                }
                if (v.state == "available" || v.state == "in-use") ++ready;
            }
            return ready == ids.size();
        });
}

Result<> attach_volumes(Run& run) {
    auto& record = run.record;
    auto& s = run.services;
    AMILIFT_TRY(const auto helpers, s.ec2.describe_instances({record.instance_id}, {}));
    if (helpers.empty()) {
        return fail(Errc::not_found,
                    fmt::format("EC2 does not know this helper, instance '{}'", record.instance_id),
                    "check that endpoint and region are those of the helper");
    }
    const auto ids = record.volumes();
    const bool has_source = !record.source_volume.empty();
    if (has_source) {
        AMILIFT_CHECK(request_attachment(run, record.source_volume, record.source_attach_name,
                                         helpers.front(), {record.target_attach_name}));
    }
    AMILIFT_CHECK(request_attachment(run, record.target_volume, record.target_attach_name,
                                     helpers.front(), {record.source_attach_name}));
    std::set<std::string> marked;
    AMILIFT_CHECK(wait_until(
        s.clock, s.job_cancel, s.waits.volume_attached,
        fmt::format("{} to be attached", names_of(ids)), [&](std::string& seen) -> Result<bool> {
            AMILIFT_TRY(const auto volumes, s.ec2.describe_volumes(ids, {}));
            std::size_t attached = 0;
            seen.clear();
            for (const auto& v : volumes) {
                const auto* mine = [&]() -> const aws::Attachment* {
                    for (const auto& a : v.attachments) {
                        if (a.instance_id == record.instance_id) return &a;
                    }
                    return nullptr;
                }();
                seen += fmt::format("{}{} is '{}'", seen.empty() ? "" : ", ", v.id,
                                    mine != nullptr ? mine->state : v.state);
                if (mine == nullptr) continue;
                AMILIFT_TRY(const bool dies, dies_with_helper(run, *mine, marked));
                if (dies && mine->state == "attached") ++attached;
            }
            return attached == ids.size();
        }));
    const auto timeout = s.waits.volume_attached.timeout;
    if (has_source) {
        AMILIFT_TRY(const auto source,
                    s.devices.wait_present(record.source_volume, record.source_attach_name, timeout,
                                           s.job_cancel));
        run.source_path = source.path;
        run.say(Update::Kind::message,
                fmt::format("source {} is {}", record.source_volume, source.path));
    }
    AMILIFT_TRY(const auto target,
                s.devices.wait_present(record.target_volume, record.target_attach_name, timeout,
                                       s.job_cancel));
    run.target_path = target.path;
    run.say(Update::Kind::message,
            fmt::format("target {} is {}", record.target_volume, target.path));
    return {};
}

Result<> convert(Run& run) {
    auto& record = run.record;
    auto& s = run.services;
    // After a restart the devices may have other names: they are looked for by volume again.
    if (run.target_path.empty() || (run.source_path.empty() && !record.source_volume.empty())) {
        AMILIFT_CHECK(attach_volumes(run));
    }
    const bool untouched = record.target_is_new && !record.conversion_started;
    record.conversion_started = true;
    AMILIFT_CHECK(run.save());
    AMILIFT_TRY(const auto* image, source_image(run));
    auto options = run.job->conversion;
    options.architecture = image->architecture;
    const ConvertOrder order{.source_path = run.source_path,
                             .source_volume = record.source_volume,
                             .target_path = run.target_path,
                             .target_volume = record.target_volume,
                             .options = std::move(options),
                             .target_is_untouched = untouched,
                             .source_device = record.source_attach_name,
                             .target_device = record.target_attach_name};
    dev::CopyMeter meter;
    AMILIFT_TRY(
        const auto outcome,
        s.worker.convert(
            order, [&run](Update::Kind kind, std::string text) { run.say(kind, std::move(text)); },
            [&run, &meter](const dev::CopyProgress& progress) {
                const auto status = meter.update(progress, run.services.clock.steady());
                run.services.observer.on_update(
                    run.record, Update{Update::Kind::progress, dev::describe(status),
                                       dev::fraction_of(progress), status});
            },
            s.job_cancel));
    for (const auto& proof : outcome.proofs) {
        run.say(Update::Kind::message, "verified: " + proof);
    }
    for (const auto& change : outcome.changes) run.say(Update::Kind::message, change);
    // A paravirtual instance has no enhanced networking.
    if (!record.kernel_id.empty()) return run.save();
    // Set without proof, the flag would make an instance that nobody can reach.
    record.ena_support = !outcome.ena_driver.empty();
    if (record.ena_support) {
        run.say(Update::Kind::message,
                fmt::format("kernel {} has the ENA driver ({}): the AMI gets EnaSupport",
                            outcome.kernel_version, outcome.ena_driver));
    } else {
        run.say(Update::Kind::warning,
                fmt::format("kernel {} has no ENA driver: the AMI gets no EnaSupport and starts on "
                            "Xen instance types only",
                            outcome.kernel_version));
    }
    if (run.job->conversion.layout == job::Layout::gpt) {
        record.boot_mode = outcome.boots_by_uefi ? "uefi-preferred" : "legacy-bios";
        run.say(Update::Kind::message,
                fmt::format(
                    "kernel {} {}: the AMI gets the boot mode {}", outcome.kernel_version,
                    outcome.boots_by_uefi ? "can be started by UEFI" : "cannot be started by UEFI",
                    record.boot_mode));
    } else if (image->virtualization_type == "hvm" && !outcome.boots_by_uefi) {
        choose_boot_mode_without_uefi(run, image->boot_mode);
    }
    return run.save();
}

/// The source is not needed any more: it goes at once. The target is only let go of.
Result<> detach_volumes(Run& run) {
    auto& record = run.record;
    auto& s = run.services;
    const auto ids = record.volumes();
    for (const auto& id : ids) {
        AMILIFT_TRY(const auto volume, describe_volume(run, id));
        const bool attached = std::ranges::any_of(volume.attachments, [](const auto& a) {
            return a.state == "attached" || a.state == "attaching";
        });
        if (!attached) continue;
        auto detached = s.ec2.detach_volume(id, record.instance_id, aws::Detach::orderly);
        if (!detached && !detached.error().is(Errc::conflict)) return detached;
    }
    AMILIFT_CHECK(wait_until(
        s.clock, s.job_cancel, s.waits.volume_detached,
        fmt::format("{} to be detached", names_of(ids)), [&](std::string& seen) -> Result<bool> {
            AMILIFT_TRY(const auto volumes, s.ec2.describe_volumes(ids, {}));
            std::size_t available = 0;
            seen.clear();
            for (const auto& v : volumes) {
                seen += fmt::format("{}{} is '{}'", seen.empty() ? "" : ", ", v.id, v.state);
                if (v.state == "available") ++available;
            }
            return available == ids.size();
        }));
    return s.devices.wait_absent(record.target_volume, record.target_attach_name,
                                 s.waits.volume_detached.timeout, s.job_cancel);
}

}  // namespace amilift::flow::steps
