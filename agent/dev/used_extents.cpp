// SPDX-License-Identifier: Apache-2.0
#include "dev/used_extents.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fsmap.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include "core/log.hpp"
#include "core/owned.hpp"
#include "dev/btrfs.hpp"

extern "C" {
#include <ext2fs/ext2fs.h>
}

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr std::uint64_t kMaxRecords = std::uint64_t{1} << 30U;
// A bit for each block of it takes 128 MiB. Larger ones get a tree of runs, which is smaller unless
// the filesystem is fragmented, too.
constexpr std::uint64_t kMaxFlatBitmapBlocks = std::uint64_t{1} << 30U;
// What the kernel reads ahead at most for one such request (force_page_cache_ra() in
// mm/readahead.c, with the read-ahead that EBS volumes have).
constexpr std::uint64_t kMaxAskBytes = 128U << 10;
constexpr unsigned kFsmapBatch = 4096;

using ExtFilesystem = core::Owned<struct_ext2_filsys, ext2fs_free>;

ExtentMap whole(std::uint64_t size, const char* method) {
    ExtentMap map;
    if (size > 0) map.used.push_back({0, size});
    map.used_bytes = size;
    map.method = method;
    return map;
}

ExtentMap without(std::uint64_t size, FreeRanges free_ranges, const char* method) {
    ExtentMap map;
    map.used = subtract_free(size, std::move(free_ranges).take());
    map.used_bytes = total_bytes(map.used);
    map.method = method;
    return map;
}

std::string ext_message(errcode_t code) {
    initialize_ext2_error_table();
    return error_message(code);
}

/// Free blocks by block group. Bitmaps of before metadata_csum have no checksum, but the kernel
/// keeps their sums equal to what the group descriptors count.
class GroupCounts {
  public:
    explicit GroupCounts(struct_ext2_filsys* fs) : fs_(fs), free_clusters_(fs->group_desc_count) {}

    /// Blocks from `block` to before `end` are free.
    void add(std::uint64_t block, std::uint64_t end) {
        const std::uint64_t first_block = fs_->super->s_first_data_block;
        const std::uint64_t group_blocks = fs_->super->s_blocks_per_group;
        const auto cluster_blocks = static_cast<std::uint64_t>(EXT2FS_CLUSTER_RATIO(fs_));
        while (block < end) {
            const auto group = (block - first_block) / group_blocks;
            const auto group_end = std::min(first_block + (group + 1) * group_blocks, end);
            if (group >= free_clusters_.size()) {
                has_other_groups_ = true;
                return;
            }
            free_clusters_[group] += (group_end - block + cluster_blocks - 1) / cluster_blocks;
            block = group_end;
        }
    }

    [[nodiscard]] bool agree_with_descriptors() const {
        for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
            const auto counted = ext2fs_bg_free_blocks_count(fs_, group);
            if (counted == free_clusters_[group]) continue;
            core::log_debug(fmt::format("group {} counts {} free clusters, its bitmap {}", group,
                                        counted, free_clusters_[group]));
            return false;
        }
        return !has_other_groups_;
    }

  private:
    struct_ext2_filsys* fs_;
    std::vector<std::uint64_t> free_clusters_;
    bool has_other_groups_ = false;
};

/// Asks the kernel for all block bitmaps at once, into the page cache from which libext2fs reads
/// them one after the other. Without flex_bg each lies in its own group: of a volume that is loaded
/// from a snapshot each would be waited for alone. Only a hint: what fails here, the read tells.
void ask_for_bitmaps(const BlockDevice& device, struct_ext2_filsys* fs) {
    Extent asked{};
    const auto ask = [&] {
        if (asked.length == 0) return;
        (void)::posix_fadvise(device.fd().get(), static_cast<off_t>(asked.offset),
                              static_cast<off_t>(asked.length), POSIX_FADV_WILLNEED);
    };
    const bool may_be_unwritten = ext2fs_has_group_desc_csum(fs) != 0;
    for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
        if (may_be_unwritten && ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT) != 0)
            continue;
        const std::uint64_t offset = ext2fs_block_bitmap_loc(fs, group) * fs->blocksize;
        if (asked.length > 0 && asked.length < kMaxAskBytes &&
            offset == asked.offset + asked.length) {
            asked.length += fs->blocksize;
            continue;
        }
        ask();
        asked = {offset, fs->blocksize};
    }
    ask();
}

/// Empty when libext2fs does not know a feature of the filesystem, or its free space contradicts
/// itself.
Result<std::optional<ExtentMap>> map_ext(const BlockDevice& device, const FilesystemInfo& info) {
    ext2_filsys raw = nullptr;
    // Checksums stay on: a bitmap that fails its own must not decide what is copied.
    const auto opened =
        ext2fs_open(device.self_path().c_str(), EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &raw);
    ExtFilesystem fs(raw);
    if (opened == EXT2_ET_UNSUPP_FEATURE || opened == EXT2_ET_RO_UNSUPP_FEATURE) {
        core::log_debug(
            fmt::format("'{}' has an ext4 feature that libext2fs does not know, "
                        "copying all of it",
                        device.path()));
        return std::optional<ExtentMap>();
    }
    const auto damaged = [&](const char* what, errcode_t code) {
        return fail(Errc::corrupt,
                    fmt::format("cannot read the {} of {} on '{}': {}", what, to_string(info.type),
                                device.path(), ext_message(code)),
                    "repair the filesystem with 'e2fsck -f', then retry");
    };
    if (opened != 0) return damaged("superblock", opened);
    ask_for_bitmaps(device, fs.get());
    const std::uint64_t blocks = ext2fs_blocks_count(fs->super);
    if (blocks <= kMaxFlatBitmapBlocks) fs->default_bitmap_type = EXT2FS_BMAP64_BITARRAY;
    if (const auto code = ext2fs_read_block_bitmap(fs.get()); code != 0) {
        return damaged("block bitmap", code);
    }
    const std::uint64_t block_bytes = fs->blocksize;
    if (block_bytes != info.block_bytes || blocks != info.size_bytes / block_bytes) {
        return fail(Errc::conflict,
                    fmt::format("'{}' had {} bytes of filesystem, and now has {} blocks of {}",
                                device.path(), info.size_bytes, blocks, block_bytes),
                    "something else writes to the disk: stop it, then retry");
    }
    FreeRanges free_ranges;
    GroupCounts counts(fs.get());
    const blk64_t end = blocks - 1;
    blk64_t at = fs->super->s_first_data_block;
    while (at <= end) {
        blk64_t first = 0;
        if (const auto code = ext2fs_find_first_zero_block_bitmap2(fs->block_map, at, end, &first);
            code != 0) {
            if (code == ENOENT) break;
            return damaged("block bitmap", code);
        }
        // With clusters of several blocks the answer is a cluster's start, maybe before `at`.
        first = std::max(first, at);
        blk64_t after = 0;
        const auto code = ext2fs_find_first_set_block_bitmap2(fs->block_map, first, end, &after);
        if (code == ENOENT) {
            after = end + 1;
        } else if (code != 0) {
            return damaged("block bitmap", code);
        }
        if (after <= first) return damaged("block bitmap", EXT2_ET_CORRUPT_SUPERBLOCK);
        counts.add(first, after);
        free_ranges.add({first * block_bytes, (after - first) * block_bytes});
        at = after;
    }
    // A damaged bitmap may call a file's blocks free. All of it is copied then.
    if (!counts.agree_with_descriptors()) return std::optional<ExtentMap>();
    return std::optional(without(info.size_bytes, std::move(free_ranges), "ext2fs"));
}

/// Empty when the kernel's driver has no GETFSMAP.
Result<std::optional<ExtentMap>> map_by_getfsmap(const BlockDevice& device,
                                                 const FilesystemInfo& info,
                                                 const core::Fd& mounted_root) {
    const core::Owned<fsmap_head, std::free> head(
        static_cast<fsmap_head*>(std::calloc(1, fsmap_sizeof(kFsmapBatch))));
    if (!head) return fail_errno(ENOMEM, "cannot allocate a buffer for the free-space map");
    head->fmh_count = kFsmapBatch;
    auto& high = head->fmh_keys[1];
    high.fmr_device = std::numeric_limits<std::uint32_t>::max();
    high.fmr_flags = std::numeric_limits<std::uint32_t>::max();
    high.fmr_physical = std::numeric_limits<std::uint64_t>::max();
    high.fmr_owner = std::numeric_limits<std::uint64_t>::max();
    high.fmr_offset = std::numeric_limits<std::uint64_t>::max();

    FreeRanges free_ranges;
    std::uint64_t records = 0;
    for (bool last = false; !last;) {
        if (::ioctl(mounted_root.get(), FS_IOC_GETFSMAP, head.get()) != 0) {
            const int saved = errno;
            if (saved == EOPNOTSUPP || saved == ENOTTY) return std::optional<ExtentMap>();
            return fail_errno(saved,
                              fmt::format("cannot read the free-space map of {} on '{}'",
                                          to_string(info.type), device.path()),
                              "repair the filesystem with 'xfs_repair', then retry");
        }
        const auto entries = std::min(head->fmh_entries, kFsmapBatch);
        if (entries == 0) break;
        for (unsigned i = 0; i < entries; ++i) {
            const fsmap& record = head->fmh_recs[i];
            if ((record.fmr_flags & FMR_OF_LAST) != 0) last = true;
            // Log or realtime devices of their own have other numbers; there are none here.
            if ((record.fmr_flags & FMR_OF_SPECIAL_OWNER) != 0 &&
                record.fmr_owner == FMR_OWN_FREE) {
                free_ranges.add({record.fmr_physical, record.fmr_length});
            }
        }
        records += entries;
        if (records > kMaxRecords) {
            return fail(Errc::corrupt,
                        fmt::format("the map of {} on '{}' has no end after {} records",
                                    to_string(info.type), device.path(), records),
                        "repair the filesystem with 'xfs_repair', then retry");
        }
        if (!last) fsmap_advance(head.get());
    }
    // An empty answer says nothing about what is free.
    if (records == 0) return std::optional<ExtentMap>();
    return std::optional(without(info.size_bytes, std::move(free_ranges), "getfsmap"));
}

/// Empty when the trees are not of the form that is known.
Result<std::optional<ExtentMap>> map_btrfs(const BlockDevice& device, const FilesystemInfo& info,
                                           const core::Fd& mounted_root) {
    AMILIFT_TRY(auto used, map_btrfs_extents(mounted_root, info.size_bytes, device.path()));
    if (!used) return std::optional<ExtentMap>();
    ExtentMap map;
    map.used_bytes = total_bytes(*used);
    map.used = *std::move(used);
    map.method = "btrfs trees";
    return std::optional(std::move(map));
}

}  // namespace

void FreeRanges::add(const Extent& range) {
    if (range.length < shortest_) return;
    ranges_.push_back(range);
    while (ranges_.size() > limit_) {
        shortest_ *= 2;
        std::erase_if(ranges_, [this](const Extent& one) { return one.length < shortest_; });
    }
}

std::vector<Extent> subtract_free(std::uint64_t size, std::vector<Extent> free_ranges) {
    std::sort(free_ranges.begin(), free_ranges.end(),
              [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    std::vector<Extent> used;
    std::uint64_t at = 0;
    for (const auto& range : free_ranges) {
        if (range.offset >= size) break;
        if (range.offset > at) used.push_back({at, range.offset - at});
        const auto length = std::min(range.length, size - range.offset);
        at = std::max(at, range.offset + length);
    }
    if (at < size) used.push_back({at, size - at});
    return used;
}

std::uint64_t total_bytes(const std::vector<Extent>& extents) {
    return std::accumulate(
        extents.begin(), extents.end(), std::uint64_t{0},
        [](std::uint64_t sum, const Extent& extent) { return sum + extent.length; });
}

Result<ExtentMap> map_used_extents(const BlockDevice& device, const FilesystemInfo& info,
                                   const core::Fd* mounted_root) {
    const bool known =
        is_ext(info.type) || info.type == Filesystem::xfs || info.type == Filesystem::btrfs;
    if (!known) return whole(device.size_bytes(), "whole device");
    if (info.size_bytes > device.size_bytes()) {
        return fail(
            Errc::corrupt,
            fmt::format("{} has {} bytes, and its device '{}' only {}", to_string(info.type),
                        info.size_bytes, device.path(), device.size_bytes()),
            "the image is cut short: copy it again");
    }
    // With a journal to replay, the bitmap on disk does not know yet of the newest files, while
    // their data is in place already: what it calls free may be theirs.
    if (!info.clean || info.needs_recovery || info.has_errors) {
        return whole(info.size_bytes, "whole filesystem");
    }
    std::optional<ExtentMap> map;
    if (is_ext(info.type)) {
        AMILIFT_TRY(map, map_ext(device, info));
    } else {
        if (mounted_root == nullptr || !mounted_root->valid()) {
            return fail(Errc::invalid_input,
                        fmt::format("cannot map the free space of {} on '{}' without a mount of "
                                    "it",
                                    to_string(info.type), device.path()),
                        "mount it read-only and pass its root directory");
        }
        AMILIFT_TRY(map, info.type == Filesystem::btrfs
                             ? map_btrfs(device, info, *mounted_root)
                             : map_by_getfsmap(device, info, *mounted_root));
    }
    if (!map) return whole(info.size_bytes, "whole filesystem");
    return *std::move(map);
}

}  // namespace amilift::dev
