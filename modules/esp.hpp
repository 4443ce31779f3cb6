// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.hpp"

namespace amilift::modules {

/// Where and how large the EFI system partition is, in sectors of 512 bytes.
struct EspPlace {
    std::uint64_t start_sector = 0;
    std::uint64_t sector_count = 0;
};

/// The first bytes of a FAT32 filesystem that holds \EFI\BOOT\BOOTX64.EFI and nothing else: boot
/// record, allocation tables, directories, the file. What of the partition follows is free and need
/// not be written. The same input gives the same bytes: all times are 1980-01-01. Errors:
/// no_space when the program does not fit, invalid_input when the partition is too small or too
/// large for FAT32 with clusters of 512 bytes (about 33 MiB to 2 GiB).
/// Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03; UEFI specification
/// 2.10, 13.3 and 3.5.1.1 (the path for removable media, which needs no boot variable).
[[nodiscard]] core::Result<std::vector<std::byte>> make_esp(const EspPlace& place,
                                                            std::uint32_t volume_id,
                                                            std::span<const std::byte> program);

}  // namespace amilift::modules
