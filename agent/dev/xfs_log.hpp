// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/result.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev {

/// Whether the XFS log of `log_bytes` bytes at byte `log_offset` of the disk ends with an unmount
/// record, so that nothing has to be replayed. A log that cannot be understood counts as not clean.
/// Reads some dozens of sectors and at most 4 MiB before the head. Errors: io_error.
/// Source: fs/xfs/libxfs/xfs_log_format.h and xlog_find_tail() in fs/xfs/xfs_log_recover.c.
[[nodiscard]] core::Result<bool> xfs_log_is_clean(const BlockDevice& disk, std::uint64_t log_offset,
                                                  std::uint64_t log_bytes);

}  // namespace amilift::dev
