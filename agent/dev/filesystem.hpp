// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev {

enum class Filesystem { none, ext2, ext3, ext4, xfs, btrfs, unknown };
[[nodiscard]] std::string_view to_string(Filesystem fs) noexcept;
[[nodiscard]] constexpr bool is_ext(Filesystem fs) noexcept {
    return fs == Filesystem::ext2 || fs == Filesystem::ext3 || fs == Filesystem::ext4;
}

/// What a superblock says. Parsed here, bounded, from the bytes of the device.
struct FilesystemInfo {
    Filesystem type = Filesystem::none;
    std::uint64_t size_bytes = 0;  ///< of the filesystem, not of the device
    std::uint32_t block_bytes = 0;
    std::uint64_t device_count = 1;  ///< more than one for btrfs only
    std::string uuid;                ///< "a1b2..." lower case with dashes
    std::string label;               ///< without trailing NULs
    bool needs_recovery = false;     ///< the journal must be replayed before use
    bool has_errors = false;
    /// Its free-space maps on disk are current: unmounted properly, no journal to replay, no errors
    /// noted. (An ext2 in use has neither of the two flags above, and yet is not clean.)
    bool clean = true;
    std::uint32_t feature_compat = 0;     ///< ext only
    std::uint32_t feature_incompat = 0;   ///< ext only
    std::uint32_t feature_ro_compat = 0;  ///< ext only
};

/// How an XFS is laid out.
struct XfsShape {
    bool has_internal_log = false;
    std::uint64_t log_offset_bytes = 0;  ///< from the start of the filesystem
    std::uint64_t log_bytes = 0;
    std::uint64_t groups = 0;
    std::uint64_t group_bytes = 0;
};

/// How many bytes of a device parse_filesystem_info() looks at.
inline constexpr std::size_t kFilesystemLookBytes = 128U << 10;

/// Reads the superblock out of the first bytes of a filesystem (kFilesystemLookBytes, fewer when
/// the device is smaller). `device_bytes` is what the device has from there on, `name` is for
/// messages. For XFS, `shape` (may be null) receives its layout and needs_recovery is left false:
/// the superblock cannot tell. Errors: corrupt. Source: fs/ext4/ext4.h and
/// fs/xfs/libxfs/xfs_format.h of the kernel, linux/btrfs_tree.h.
[[nodiscard]] core::Result<FilesystemInfo> parse_filesystem_info(std::span<const std::byte> start,
                                                                 std::uint64_t device_bytes,
                                                                 const std::string& name,
                                                                 XfsShape* shape = nullptr);

/// Reads the superblock at byte `offset` of the disk. A device without a known filesystem gives
/// type none (all zeros) or unknown; a superblock that contradicts itself or the device size is
/// corrupt. Errc::refused: "xfs-external-log", and "btrfs-several-devices" for a part of a btrfs.
[[nodiscard]] core::Result<FilesystemInfo> read_filesystem_info(const BlockDevice& disk,
                                                                std::uint64_t offset);

}  // namespace amilift::dev
