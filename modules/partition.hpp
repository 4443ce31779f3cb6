// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/result.hpp"
#include "dev/partition_table.hpp"
#include "modules/esp.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Writes the partition table of the new disk: a DOS one with one active partition of type 0x83 at
/// 1 MiB, or a GPT with the same partition, a BIOS boot partition before it and an EFI system
/// partition behind it.
[[nodiscard]] const Module& partition_module();

/// Bytes from the start of a disk to its root partition.
inline constexpr std::uint64_t kRootOffset = dev::kRootStartSector * dev::kSectorBytes;

/// Where the root filesystem begins on a disk of that layout, bytes.
[[nodiscard]] constexpr std::uint64_t root_offset(job::Layout layout) {
    return layout == job::Layout::in_place ? 0 : kRootOffset;
}

/// First sector of a GPT disk's BIOS boot partition, which ends before the root partition.
inline constexpr std::uint64_t kBiosBootSector = 34;

/// Where the parts of the new disk lie, in sectors of 512 bytes.
struct DiskPlan {
    std::uint64_t root_sectors = 0;    ///< of the root filesystem, from root_offset() on
    EspPlace esp{};                    ///< for layout gpt only
    std::uint64_t needed_sectors = 0;  ///< that the disk must have
    std::uint64_t disk_sectors = 0;    ///< that it has, or will have if it is made to measure

    [[nodiscard]] std::uint64_t root_bytes() const { return root_sectors * dev::kSectorBytes; }
    [[nodiscard]] std::uint64_t needed_bytes() const { return needed_sectors * dev::kSectorBytes; }
};

/// `disk_bytes` is the size of the target, absent if it is made to measure. Errors: refused (id
/// "size-too-small": the filesystem does not fit options.size_gib), no_space (the target is smaller
/// than needed).
[[nodiscard]] core::Result<DiskPlan> plan_disk(const job::ConversionOptions& options,
                                               const dev::FilesystemInfo& filesystem,
                                               std::optional<std::uint64_t> disk_bytes);

/// The disk signature, made from the filesystem's UUID: a conversion that is done again writes the
/// same bytes, and disks of different images differ. Never 0. Errc::internal only if OpenSSL fails.
[[nodiscard]] core::Result<std::uint32_t> disk_signature(std::string_view filesystem_uuid);

}  // namespace amilift::modules
