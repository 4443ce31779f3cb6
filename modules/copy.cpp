// SPDX-License-Identifier: Apache-2.0
#include "modules/copy.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dev/partitions.hpp"
#include "modules/bootloader.hpp"
#include "modules/partition.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

double mebibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(1U << 20);
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    Step step;
    step.module = "copy";
    step.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB ({}, {}) to 1 MiB of the target; UUID {} and label "
        "'{}' stay",
        mebibytes(context.used.used_bytes), mebibytes(filesystem.size_bytes),
        dev::to_string(filesystem.type), context.used.method, filesystem.uuid, filesystem.label);
    step.apply = [extents = context.used.used](ApplyContext& apply_context) -> Result<> {
        dev::CopyPlan copy;
        copy.extents = extents;
        copy.target_offset = kRootOffset;
        copy.target_content = apply_context.target_content();
        AMILIFT_TRY(const auto stats,
                    dev::copy_extents(
                        apply_context.source(), apply_context.target(), copy,
                        [&](const dev::CopyProgress& p) { apply_context.progress(p); },
                        apply_context.cancel()));
        apply_context.copied(stats);
        return {};
    };
    return std::vector<Step>{std::move(step)};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto copied, dev::read_filesystem_info(context.target, kRootOffset));
    const auto& source = context.filesystem;
    const auto differs = [&](std::string_view what, const auto& seen, const auto& wanted) {
        return fail(Errc::corrupt,
                    fmt::format("filesystem on '{}' has {} '{}', the source has '{}'",
                                context.target.path(), what, seen, wanted),
                    "the target does not keep what is written to it; use another volume");
    };
    if (copied.type != source.type) {
        return differs("type", dev::to_string(copied.type), dev::to_string(source.type));
    }
    if (copied.uuid != source.uuid) return differs("UUID", copied.uuid, source.uuid);
    if (copied.label != source.label) return differs("label", copied.label, source.label);
    // The module grow knows what to expect of a filesystem that was to grow.
    if (context.options.size_gib == 0 && copied.size_bytes != source.size_bytes) {
        return differs("size", copied.size_bytes, source.size_bytes);
    }
    if (copied.needs_recovery) {
        return fail(Errc::corrupt, fmt::format("filesystem on '{}' was not unmounted cleanly",
                                               context.target.path()));
    }
    return std::vector<std::string>{fmt::format("{} on partition 1 is clean, UUID {}, label '{}'",
                                                dev::to_string(copied.type), copied.uuid,
                                                copied.label)};
}

constexpr Module kModule{"copy", plan, verify};

Result<std::vector<Step>> plan_disk(const PlanContext& context) {
    if (context.target_bytes && *context.target_bytes < context.source_bytes) {
        return fail(
            Errc::no_space,
            fmt::format("target disk has {} bytes, the source disk has {}", *context.target_bytes,
                        context.source_bytes),
            fmt::format("use a target of at least {} GiB", ((context.source_bytes - 1) >> 30) + 1));
    }
    Step step;
    step.module = "disk-copy";
    step.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB: partition table, boot code and {} partitions with "
        "filesystems stay where they are",
        mebibytes(context.used.used_bytes), mebibytes(context.source_bytes),
        context.facts.disk.volumes.size());
    step.apply = [extents = context.used.used](ApplyContext& apply_context) -> Result<> {
        dev::CopyPlan copy;
        copy.extents = extents;
        copy.target_content = apply_context.target_content();
        AMILIFT_TRY(const auto stats,
                    dev::copy_extents(
                        apply_context.source(), apply_context.target(), copy,
                        [&](const dev::CopyProgress& p) { apply_context.progress(p); },
                        apply_context.cancel()));
        apply_context.copied(stats);
        return {};
    };
    return std::vector<Step>{std::move(step)};
}

/// What a BIOS and a boot loader read before they know of a filesystem: all up to the first one.
Result<std::string> prove_boot_area(const VerifyContext& context) {
    constexpr std::uint64_t kMost = std::uint64_t{4} << 20;
    const auto end = std::min({context.source->size_bytes(), context.target.size_bytes(), kMost});
    std::uint64_t compared = end;
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(*context.source));
    AMILIFT_TRY(const auto partitions, dev::read_partitions(*context.source, contents.layout));
    for (const auto& partition : partitions) {
        if (partition.content == dev::PartitionContent::filesystem) {
            compared = std::min(compared, partition.offset_bytes);
        }
    }
    std::vector<std::byte> before(static_cast<std::size_t>(compared));
    std::vector<std::byte> after(static_cast<std::size_t>(compared));
    AMILIFT_CHECK(core::read_exactly_at(context.source->fd(), before, 0, context.source->path()));
    AMILIFT_CHECK(core::read_exactly_at(context.target.fd(), after, 0, context.target.path()));
    if (before != after) {
        return fail(Errc::corrupt,
                    fmt::format("the first {} bytes of '{}' are not those of the source", compared,
                                context.target.path()),
                    "the target does not keep what is written to it; use another volume");
    }
    return fmt::format("sectors 0..{} hold the partition table and boot code of the source",
                       compared / dev::kSectorBytes - 1);
}

Result<std::vector<std::string>> verify_disk(const VerifyContext& context) {
    std::vector<std::string> proofs;
    AMILIFT_TRY(proofs.emplace_back(), prove_boot_area(context));
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(context.target));
    AMILIFT_TRY(const auto partitions, dev::read_partitions(context.target, contents.layout));
    for (const auto& volume : context.facts.disk.volumes) {
        const auto found = std::ranges::find(partitions, volume.partition, &dev::Partition::number);
        if (found == partitions.end() || found->filesystem.uuid != volume.uuid ||
            found->filesystem.needs_recovery) {
            return fail(Errc::corrupt,
                        fmt::format("partition {} of '{}' does not hold the clean filesystem with "
                                    "UUID {} that the source has",
                                    volume.partition, context.target.path(), volume.uuid),
                        "the target does not keep what is written to it; use another volume");
        }
        proofs.push_back(fmt::format("partition {} has {} UUID {}", volume.partition,
                                     dev::to_string(found->filesystem.type), volume.uuid));
    }
    for (const auto& file : context.boot_files) {
        AMILIFT_TRY(proofs.emplace_back(), prove_boot_file(context, file.path));
    }
    return proofs;
}

constexpr Module kDiskModule{"disk-copy", plan_disk, verify_disk};

}  // namespace

const Module& copy_module() {
    return kModule;
}

const Module& disk_copy_module() {
    return kDiskModule;
}

}  // namespace amilift::modules
