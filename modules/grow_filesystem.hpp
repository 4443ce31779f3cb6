// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/command.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/filesystem.hpp"

namespace amilift::modules {

/// Grows the ext2, ext3 or ext4 at byte `offset` of the disk to `bytes` with resize2fs, not
/// mounted, after the e2fsck that it demands. Stopped in the middle it leaves a damaged filesystem.
[[nodiscard]] core::Result<> grow_ext(core::CommandRunner& commands, const dev::BlockDevice& disk,
                                      std::uint64_t offset, std::uint64_t bytes);

/// Grows the XFS at byte `offset` of the disk to `bytes`, by the kernel, mounted.
[[nodiscard]] core::Result<> grow_xfs(const dev::BlockDevice& disk, std::uint64_t offset,
                                      std::uint64_t bytes, const dev::FilesystemInfo& filesystem);

/// The same for an ext3 or ext4: nothing is moved, all goes through the journal, so that it may be
/// stopped at any moment. Needs CAP_SYS_RESOURCE; require_growable() tells beforehand whether the
/// kernel will do it.
[[nodiscard]] core::Result<> grow_mounted_ext(const dev::BlockDevice& disk, std::uint64_t offset,
                                              std::uint64_t bytes,
                                              const dev::FilesystemInfo& filesystem);

/// The same for a btrfs.
[[nodiscard]] core::Result<> grow_btrfs(const dev::BlockDevice& disk, std::uint64_t offset,
                                        std::uint64_t bytes);

/// Errc::refused (id "root-cannot-grow") when the kernel could not grow that filesystem to `bytes`
/// while it is mounted, or only by changing its features, which a boot loader may not know.
[[nodiscard]] core::Result<> require_growable(const dev::BlockDevice& disk, std::uint64_t offset,
                                              std::uint64_t bytes,
                                              const dev::FilesystemInfo& filesystem);

/// What no filesystem uses at its end: of ext and XFS less than one of its groups of blocks, which
/// has up to 8 bits for each byte of a block; of btrfs less than a block.
[[nodiscard]] std::uint64_t largest_rest(const dev::FilesystemInfo& filesystem);

}  // namespace amilift::modules
