// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.hpp"
#include "dev/partition_table.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Writes the DOS partition table of the new disk: one active partition of type 0x83 at 1 MiB that
/// holds the filesystem.
[[nodiscard]] const Module& partition_module();

/// Bytes from the start of a disk to its root partition.
inline constexpr std::uint64_t kRootOffset = dev::kRootStartSector * dev::kSectorBytes;

/// Where the root filesystem begins on a disk of that layout, bytes.
[[nodiscard]] constexpr std::uint64_t root_offset(job::Layout layout) {
    return layout == job::Layout::in_place ? 0 : kRootOffset;
}

/// Bytes that a target disk needs for a filesystem of that size: whole sectors from root_offset()
/// on.
[[nodiscard]] std::uint64_t target_bytes_needed(std::uint64_t filesystem_bytes,
                                                job::Layout layout = job::Layout::mbr);

/// The disk signature, made from the filesystem's UUID: a conversion that is done again writes the
/// same bytes, and disks of different images differ. Never 0.
[[nodiscard]] std::uint32_t disk_signature(std::string_view filesystem_uuid);

}  // namespace amilift::modules
