// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/mount.hpp"

namespace amilift::dev {

/// A run of bytes on a device.
struct Extent {
    std::uint64_t offset = 0;  ///< bytes
    std::uint64_t length = 0;  ///< bytes
    friend bool operator==(const Extent&, const Extent&) = default;
};

struct ExtentMap {
    std::vector<Extent> used;  ///< ascending, disjoint, within [0, filesystem size)
    std::uint64_t used_bytes = 0;
    /// "getfsmap", "ext2fs", "btrfs trees", "whole filesystem" or "whole device"
    std::string method;
};

/// Every byte range of the filesystem that is not reported free: super blocks, group descriptors,
/// journal and inode tables are included by construction. ext2/3/4: libext2fs' block bitmap (no
/// mount needed). XFS: FS_IOC_GETFSMAP on `mounted_root` (an open directory of a read-only mount,
/// not O_PATH; ignored for ext). btrfs: its chunk and extent trees, on such a directory too; the
/// two copies of metadata of profile DUP are both in use. A filesystem that is not clean, or that
/// neither way can read, is taken whole: its free-space map on disk may be older than its files.
/// Anything that is no known filesystem: the whole device. `device` starts with the filesystem.
/// Errors: corrupt (a bitmap that contradicts its checksum or the superblock), io_error,
/// invalid_input (`mounted_root` is missing for a clean XFS or btrfs). Source: linux/fsmap.h;
/// linux/btrfs_tree.h; libext2fs.
[[nodiscard]] core::Result<ExtentMap> map_used_extents(const BlockDevice& device,
                                                       const FilesystemInfo& info,
                                                       const core::Fd* mounted_root);

/// Free ranges as they are found, in bounded memory: of more than `limit` the shortest are left
/// out, for to copy what is free is slower and never wrong.
class FreeRanges {
  public:
    /// A million and their gaps take 32 MiB, on helpers of 1 GiB.
    static constexpr std::size_t kLimit = std::size_t{1} << 20U;

    explicit FreeRanges(std::size_t limit = kLimit) : limit_(limit) {}
    void add(const Extent& range);
    /// In the order in which they came.
    [[nodiscard]] std::vector<Extent> take() && { return std::move(ranges_); }

  private:
    std::size_t limit_;
    std::uint64_t shortest_ = 1;  ///< that is kept, bytes
    std::vector<Extent> ranges_;
};

/// [0, size) without the ranges of `free_ranges`, which may come in any order, overlap, and reach
/// beyond `size` (bytes).
[[nodiscard]] std::vector<Extent> subtract_free(std::uint64_t size,
                                                std::vector<Extent> free_ranges);

/// Sum of the lengths, bytes.
[[nodiscard]] std::uint64_t total_bytes(const std::vector<Extent>& extents);

}  // namespace amilift::dev
