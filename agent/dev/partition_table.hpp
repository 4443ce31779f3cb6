// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev {

inline constexpr std::uint64_t kSectorBytes = 512;
/// First sector of the root partition: 1 MiB, which leaves room for the boot loader.
inline constexpr std::uint64_t kRootStartSector = 2048;

/// One primary entry of a DOS partition table, in sectors of 512 bytes.
struct MbrPartition {
    int number = 1;  ///< 1 to 4
    std::uint8_t type = 0x83;
    bool active = false;
    std::uint64_t start_sector = 0;
    std::uint64_t sector_count = 0;
};

enum class DiskLayout {
    bare_filesystem,  ///< a filesystem from byte 0 on, no partition table
    mbr,
    gpt,
    empty,   ///< the first MiB is zeros
    unknown  ///< something else
};

struct DiskContents {
    DiskLayout layout = DiskLayout::unknown;
    std::vector<MbrPartition> partitions;  ///< for layout mbr
};

/// What is on the disk, from its first sectors (and from superblock magics: a PV root has a
/// filesystem where a disk has its partition table; a boot sector signature alone is no table).
[[nodiscard]] core::Result<DiskContents> read_disk_contents(const BlockDevice& disk);

/// The 512 bytes of a DOS boot record with that one active partition and no boot code, disk
/// signature `disk_id`. CHS fields hold the LBA-only filler FE FF FF. Errors: invalid_input when
/// the partition does not fit 32-bit sectors.
[[nodiscard]] core::Result<std::array<std::byte, 512>> make_mbr(const MbrPartition& partition,
                                                                std::uint32_t disk_id);

/// Parses the four primary entries; Errc::corrupt when the 55 AA signature is missing, an entry's
/// status is neither 00 nor 80, entries overlap, or one ends behind `disk_sectors`.
[[nodiscard]] core::Result<std::vector<MbrPartition>> parse_mbr(
    std::span<const std::byte, 512> sector, std::uint64_t disk_sectors);

/// Lets primary partition `number` end before `end_sector`, in one write of sector 0. The CHS end
/// becomes the LBA-only filler. Errors: corrupt (see parse_mbr()), invalid_input (no such
/// partition, or the end is before its start, behind the disk or behind 32-bit sectors).
[[nodiscard]] core::Result<> write_longer_mbr(const BlockDevice& disk, int number,
                                              std::uint64_t end_sector);

}  // namespace amilift::dev
