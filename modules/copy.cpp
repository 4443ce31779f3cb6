// SPDX-License-Identifier: Apache-2.0
#include "modules/copy.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dev/ext_check.hpp"
#include "dev/gpt.hpp"
#include "dev/loop_device.hpp"
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

/// What the text of a step that copies says besides.
const char* verify_text(const job::ConversionOptions& options) {
    return options.verify_copy ? "; then read it back and compare" : "";
}

/// Copies the extents of the source to the target, `offset` bytes further on.
std::function<Result<>(ApplyContext&)> copy_to(std::uint64_t offset, bool verify,
                                               std::vector<dev::Extent> extents) {
    return [offset, verify, extents = std::move(extents)](ApplyContext& context) -> Result<> {
        dev::CopyPlan copy;
        copy.extents = extents;
        copy.target_offset = offset;
        copy.target_content = context.target_content();
        copy.verify = verify;
        copy.journal = context.copy_journal();
        copy.say = [&](const std::string& text) { context.say_of_journal(text); };
        AMILIFT_TRY(const auto stats, dev::copy_extents(
                                          context.source(), context.target(), copy,
                                          [&](const dev::CopyProgress& p) { context.progress(p); },
                                          context.cancel()));
        context.copied(stats);
        return {};
    };
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    if (context.target_has_content) return std::vector<Step>{};
    const auto offset = root_offset(context.options.layout);
    Step step;
    step.module = "copy";
    step.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB ({}, {}) to {} MiB of the target; UUID {} and label "
        "'{}' stay",
        mebibytes(context.used.used_bytes), mebibytes(filesystem.size_bytes),
        dev::to_string(filesystem.type), context.used.method, offset >> 20, filesystem.uuid,
        filesystem.label);
    step.text += verify_text(context.options);
    step.apply = copy_to(offset, context.options.verify_copy, context.used.used);
    std::vector<Step> steps{std::move(step)};
    if (auto check = check_step("copy", offset, filesystem, "the filesystem")) {
        steps.push_back(*std::move(check));
    }
    return steps;
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    const auto layout = context.options.layout;
    AMILIFT_TRY(const auto copied, dev::read_filesystem_info(context.target, root_offset(layout)));
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
    if (!copied.clean) {
        return fail(Errc::corrupt, fmt::format("filesystem on '{}' was not unmounted cleanly",
                                               context.target.path()));
    }
    return std::vector<std::string>{
        fmt::format("{} on {} is clean, UUID {}, label '{}'", dev::to_string(copied.type),
                    layout == job::Layout::in_place ? "the whole disk" : "partition 1", copied.uuid,
                    copied.label)};
}

constexpr Module kModule{"copy", plan, verify};

Result<std::vector<Step>> plan_disk(const PlanContext& context) {
    if (context.target_has_content) return std::vector<Step>{};
    const auto needed =
        std::max(context.source_bytes, std::uint64_t{context.options.size_gib} << 30);
    if (context.target_bytes && *context.target_bytes < needed) {
        return fail(Errc::no_space,
                    fmt::format("target disk has {} bytes, the new disk needs {}",
                                *context.target_bytes, needed),
                    fmt::format("use a target of at least {} GiB", ((needed - 1) >> 30) + 1));
    }
    Step step;
    step.module = "disk-copy";
    step.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB: partition table, boot code and {} partitions with "
        "filesystems stay where they are",
        mebibytes(context.used.used_bytes), mebibytes(context.source_bytes),
        context.facts.disk.volumes.size());
    step.text += verify_text(context.options);
    step.apply = copy_to(0, context.options.verify_copy, context.used.used);
    std::vector<Step> steps{std::move(step)};
    for (const auto& volume : context.facts.disk.volumes) {
        if (volume.mount_point.empty()) continue;
        const auto partition =
            std::ranges::find(context.partitions, volume.partition, &dev::Partition::number);
        if (partition == context.partitions.end()) continue;
        if (auto check = check_step("disk-copy", partition->offset_bytes, partition->filesystem,
                                    fmt::format("partition {}", volume.partition))) {
            steps.push_back(*std::move(check));
        }
    }
    return steps;
}

/// Where a table with a longer partition differs, in sectors from the start of the disk.
std::uint64_t table_end(const dev::BlockDevice& disk, dev::DiskLayout layout) {
    if (layout != dev::DiskLayout::gpt) return 1;
    const auto table = dev::read_gpt_copy(disk, 1);
    return table ? table->entries_sector + table->entries_sectors() : 1;
}

Result<std::string> prove_boot_area(const VerifyContext& context, dev::DiskLayout layout) {
    constexpr std::size_t kEntriesAt = 446;
    const auto& before = context.boot_area;
    std::vector<std::byte> after(before.size());
    AMILIFT_CHECK(core::read_exactly_at(context.target.fd(), after, 0, context.target.path()));
    const bool may_grow = context.options.size_gib != 0;
    // Of a disk that may grow, the table is another one: who wrote it proves it.
    const auto code = may_grow ? std::min(kEntriesAt, before.size()) : before.size();
    const auto rest =
        may_grow ? std::min<std::uint64_t>(table_end(context.target, layout) * dev::kSectorBytes,
                                           before.size())
                 : before.size();
    const auto same = [&](std::size_t from, std::size_t to) {
        return std::equal(before.begin() + static_cast<std::ptrdiff_t>(from),
                          before.begin() + static_cast<std::ptrdiff_t>(to),
                          after.begin() + static_cast<std::ptrdiff_t>(from));
    };
    if (!same(0, code) || !same(static_cast<std::size_t>(rest), before.size())) {
        return fail(Errc::corrupt,
                    fmt::format("the first {} bytes of '{}' are not those of the source",
                                before.size(), context.target.path()),
                    "the target does not keep what is written to it; use another volume");
    }
    return fmt::format("sectors 0..{} hold the {}boot code of the source",
                       before.size() / dev::kSectorBytes - 1,
                       may_grow ? "" : "partition table and ");
}

Result<std::vector<std::string>> verify_disk(const VerifyContext& context) {
    std::vector<std::string> proofs;
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(context.target));
    AMILIFT_TRY(proofs.emplace_back(), prove_boot_area(context, contents.layout));
    AMILIFT_TRY(const auto partitions, dev::read_partitions(context.target, contents.layout));
    for (const auto& volume : context.facts.disk.volumes) {
        const auto found = std::ranges::find(partitions, volume.partition, &dev::Partition::number);
        if (found == partitions.end() || found->filesystem.uuid != volume.uuid) {
            return fail(Errc::corrupt,
                        fmt::format("partition {} of '{}' does not hold the filesystem with UUID "
                                    "{} that the source has",
                                    volume.partition, context.target.path(), volume.uuid),
                        "the target does not keep what is written to it; use another volume");
        }
        // What nobody mounts here is as the source has it: the guest replays its journal.
        if (!volume.mount_point.empty() && !found->filesystem.clean) {
            return fail(Errc::corrupt,
                        fmt::format("the filesystem on partition {} of '{}' was edited, and not "
                                    "unmounted cleanly",
                                    volume.partition, context.target.path()),
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

std::optional<Step> check_step(std::string_view module, std::uint64_t offset,
                               const dev::FilesystemInfo& filesystem, const std::string& name) {
    if (!dev::needs_check(filesystem)) return std::nullopt;
    Step step;
    step.module = module;
    step.text = fmt::format("check {} of the target, which was in use: e2fsck -f -p", name);
    step.apply = [offset, bytes = filesystem.size_bytes, name](ApplyContext& context) -> Result<> {
        const auto& target = context.target();
        AMILIFT_TRY(auto loop,
                    dev::LoopDevice::attach(target, offset, bytes, dev::Access::read_write));
        AMILIFT_CHECK(dev::check_ext(context.commands(), loop.path(), "the copy of " + name));
        AMILIFT_CHECK(loop.detach());
        return target.flush();
    };
    return step;
}

const Module& copy_module() {
    return kModule;
}

const Module& disk_copy_module() {
    return kDiskModule;
}

Result<std::vector<std::byte>> read_boot_area(const dev::BlockDevice& disk,
                                              std::span<const dev::Partition> partitions) {
    constexpr std::uint64_t kMost = std::uint64_t{4} << 20;
    auto end = std::min(disk.size_bytes(), kMost);
    for (const auto& partition : partitions) {
        if (partition.content == dev::PartitionContent::filesystem) {
            end = std::min(end, partition.offset_bytes);
        }
    }
    std::vector<std::byte> area(static_cast<std::size_t>(end));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), area, 0, disk.path()));
    return area;
}

}  // namespace amilift::modules
