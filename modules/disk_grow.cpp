// SPDX-License-Identifier: Apache-2.0
#include "modules/disk_grow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dev/gpt.hpp"
#include "dev/partition_table.hpp"
#include "modules/grow_filesystem.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "disk-grow";
constexpr std::uint64_t kGibibyte = std::uint64_t{1} << 30;
constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;
/// What a DOS table can say of a partition.
constexpr std::uint64_t kMostMbrSectors = 0xffffffff;
constexpr int kLastPrimary = 4;

double gibibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(kGibibyte);
}

std::unexpected<core::Error> cannot_grow(const std::string& why) {
    return fail(Errc::refused, fmt::format("the root partition cannot grow: {}", why),
                "convert without a size, and make room on the instance", "root-cannot-grow");
}

/// The copy that counts: the first, unless it is damaged.
Result<dev::GptCopy> read_gpt_table(const dev::BlockDevice& disk) {
    auto first = dev::read_gpt_copy(disk, 1);
    if (first || !first.error().is(Errc::corrupt)) return first;
    return dev::read_gpt_copy(disk, disk.size_bytes() / dev::kSectorBytes - 1);
}

/// Sectors at the end of the disk that its table takes.
Result<std::uint64_t> table_sectors(const dev::BlockDevice& disk, dev::DiskLayout layout) {
    if (layout != dev::DiskLayout::gpt) return std::uint64_t{0};
    AMILIFT_TRY(const auto table, read_gpt_table(disk));
    return table.entries_sectors() + 1;
}

Result<> require_last(const dev::BlockDevice& disk, dev::DiskLayout layout,
                      std::span<const dev::Partition> partitions, const dev::Partition& root) {
    const auto behind = std::ranges::find_if(partitions, [&](const dev::Partition& other) {
        return other.offset_bytes > root.offset_bytes;
    });
    if (behind != partitions.end()) {
        return cannot_grow(fmt::format("partition {} lies behind it", behind->number));
    }
    if (layout != dev::DiskLayout::mbr) return {};
    if (root.number > kLastPrimary) return cannot_grow("it is a logical partition");
    // An extended partition without a logical one is in no list.
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(disk));
    for (const auto& other : contents.partitions) {
        if (other.start_sector * dev::kSectorBytes > root.offset_bytes) {
            return cannot_grow(fmt::format("partition {} lies behind it", other.number));
        }
    }
    return {};
}

Result<> lengthen(const dev::BlockDevice& disk, bool is_gpt, const RootGrowth& growth) {
    const auto end = (growth.offset_bytes + growth.new_bytes) / dev::kSectorBytes;
    if (!is_gpt) return dev::write_longer_mbr(disk, growth.partition, end);
    AMILIFT_TRY(const auto table, read_gpt_table(disk));
    return dev::write_longer_gpt(disk, table, growth.partition, end);
}

Result<> grow(ApplyContext& context, const dev::FilesystemInfo& filesystem,
              const RootGrowth& growth, bool by_kernel) {
    const auto& disk = context.target();
    if (filesystem.type == dev::Filesystem::btrfs) {
        return grow_btrfs(disk, growth.offset_bytes, growth.new_bytes);
    }
    if (!by_kernel) {
        return grow_ext(context.commands(), disk, growth.offset_bytes, growth.new_bytes);
    }
    const auto grow_mounted = filesystem.type == dev::Filesystem::xfs ? grow_xfs : grow_mounted_ext;
    return grow_mounted(disk, growth.offset_bytes, growth.new_bytes, filesystem);
}

int root_partition(const image::ImageFacts& facts) {
    const auto& volumes = facts.disk.volumes;
    const auto root = std::ranges::find(volumes, "/", &image::BootVolume::mount_point);
    return root == volumes.end() ? 0 : root->partition;
}

struct Disk {
    dev::DiskLayout layout;
    std::vector<dev::Partition> partitions;
};

Result<Disk> read_disk(const dev::BlockDevice& device) {
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(device));
    AMILIFT_TRY(auto partitions, dev::read_partitions(device, contents.layout));
    return Disk{contents.layout, std::move(partitions)};
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    if (context.options.size_gib == 0) return std::vector<Step>{};
    if (context.source == nullptr) return fail(Errc::internal, "a tree without a disk is to grow");
    AMILIFT_TRY(const auto disk, read_disk(*context.source));
    const int number = root_partition(context.facts);
    AMILIFT_TRY(const auto growth,
                plan_root_growth(context.options, *context.source, disk.layout, disk.partitions,
                                 number, context.target_has_content));
    const auto root = std::ranges::find(disk.partitions, number, &dev::Partition::number);
    std::vector<Step> steps;
    if (!growth || root == disk.partitions.end()) return steps;
    const bool is_gpt = disk.layout == dev::DiskLayout::gpt;
    if (growth->new_bytes > root->size_bytes) {
        steps.push_back({std::string(kName),
                         fmt::format("lengthen partition {} from {:.2f} to {:.2f} GiB{}", number,
                                     gibibytes(root->size_bytes), gibibytes(growth->new_bytes),
                                     is_gpt ? ", move the table's second copy to the end" : ""),
                         [is_gpt, growth = *growth](ApplyContext& apply) -> Result<> {
                             AMILIFT_CHECK(apply.release_target_root());
                             return lengthen(apply.target(), is_gpt, growth);
                         }});
    }
    const auto filesystem = context.filesystem;
    if (growth->new_bytes - filesystem.size_bytes >= filesystem.block_bytes) {
        const bool by_kernel = context.target_has_content || !dev::is_ext(filesystem.type);
        steps.push_back(
            {std::string(kName),
             fmt::format("grow {} from {:.2f} to {:.2f} GiB ({})", dev::to_string(filesystem.type),
                         gibibytes(filesystem.size_bytes), gibibytes(growth->new_bytes),
                         by_kernel ? "by the kernel" : "e2fsck -f -p, resize2fs"),
             [filesystem, by_kernel, growth = *growth](ApplyContext& apply) -> Result<> {
                 AMILIFT_CHECK(apply.release_target_root());
                 return grow(apply, filesystem, growth, by_kernel);
             }});
    }
    return steps;
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (context.options.size_gib == 0) return std::vector<std::string>{};
    const auto failed = [&](std::string what) {
        return fail(Errc::corrupt, fmt::format("'{}': {}", context.target.path(), what),
                    "convert without a size, and grow the filesystem on the instance");
    };
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(context.target));
    AMILIFT_TRY(const auto partitions, dev::read_partitions(context.target, contents.layout));
    const auto root =
        std::ranges::find(partitions, root_partition(context.facts), &dev::Partition::number);
    if (root == partitions.end()) return failed("the root partition has gone");
    AMILIFT_TRY(const auto tail, table_sectors(context.target, contents.layout));
    const auto wanted = std::uint64_t{context.options.size_gib} * kGibibyte;
    // The partition ends at a whole MiB, before the table's second copy.
    const auto end = root->offset_bytes + root->size_bytes;
    if (end + tail * dev::kSectorBytes + kMebibyte < wanted) {
        return failed(fmt::format("the root partition ends at byte {} of {}", end, wanted));
    }
    if (contents.layout == dev::DiskLayout::gpt) {
        const auto last = context.target.size_bytes() / dev::kSectorBytes - 1;
        AMILIFT_TRY(const auto first_copy, dev::read_gpt_copy(context.target, 1));
        AMILIFT_TRY(const auto second_copy, dev::read_gpt_copy(context.target, last));
        if (first_copy.entries != second_copy.entries) {
            return failed("the two copies of the partition table differ");
        }
    }
    const auto& before = context.filesystem;
    const auto& after = root->filesystem;
    if (after.size_bytes < before.size_bytes || after.size_bytes > root->size_bytes ||
        root->size_bytes - after.size_bytes >= largest_rest(after)) {
        return failed(fmt::format("the filesystem has {} bytes, its partition {}", after.size_bytes,
                                  root->size_bytes));
    }
    if (after.feature_compat != before.feature_compat ||
        after.feature_incompat != before.feature_incompat ||
        after.feature_ro_compat != before.feature_ro_compat) {
        return failed("the filesystem's features are not what they were");
    }
    return std::vector<std::string>{
        fmt::format("{} has {:.2f} GiB of partition {}'s {:.2f} GiB", dev::to_string(after.type),
                    gibibytes(after.size_bytes), root->number, gibibytes(root->size_bytes))};
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

const Module& disk_grow_module() {
    return kModule;
}

Result<std::optional<RootGrowth>> plan_root_growth(const job::ConversionOptions& options,
                                                   const dev::BlockDevice& disk,
                                                   dev::DiskLayout layout,
                                                   std::span<const dev::Partition> partitions,
                                                   int root, bool in_place) {
    if (options.size_gib == 0) return std::nullopt;
    const auto wanted = std::uint64_t{options.size_gib} * kGibibyte;
    if (wanted < disk.size_bytes()) {
        return fail(
            Errc::refused,
            fmt::format("the wanted size is {} GiB, the disk '{}' has {} bytes and does "
                        "not get smaller",
                        options.size_gib, disk.path(), disk.size_bytes()),
            fmt::format("ask for at least {}GiB", (disk.size_bytes() + kGibibyte - 1) / kGibibyte),
            "size-too-small");
    }
    const auto found = std::ranges::find(partitions, root, &dev::Partition::number);
    if (found == partitions.end()) return fail(Errc::internal, "the root has no partition");
    AMILIFT_TRY(const auto tail, table_sectors(disk, layout));
    const auto limit = wanted - tail * dev::kSectorBytes;
    const auto end = limit - limit % kMebibyte;
    RootGrowth growth{found->number, found->offset_bytes, found->size_bytes};
    if (end <= found->offset_bytes + found->size_bytes) return growth;
    growth.new_bytes = end - found->offset_bytes;
    AMILIFT_CHECK(require_last(disk, layout, partitions, *found));
    if (layout == dev::DiskLayout::mbr && growth.new_bytes / dev::kSectorBytes > kMostMbrSectors) {
        return cannot_grow("a DOS partition table reaches 2 TiB");
    }
    if (in_place) {
        AMILIFT_CHECK(
            require_growable(disk, found->offset_bytes, growth.new_bytes, found->filesystem));
    }
    return growth;
}

}  // namespace amilift::modules
