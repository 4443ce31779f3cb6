// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/partition_table.hpp"

namespace amilift::dev {

/// A GUID as it lies on disk: its first three numbers are little-endian.
using Guid = std::array<std::byte, 16>;

/// The type GUIDs of the partitions that a converted disk has. Source: UEFI specification 2.10,
/// table 5.7; systemd, "The Discoverable Partitions Specification" for Linux data; GRUB's manual
/// for the BIOS boot partition ("Hah!IdontNeedEFI").
inline constexpr std::string_view kGptTypeLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4";
inline constexpr std::string_view kGptTypeBiosBoot = "21686148-6449-6e6f-744e-656564454649";
inline constexpr std::string_view kGptTypeEfiSystem = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// "0fc63daf-8483-..." as bytes. The text is one that the program itself holds: anything else gives
/// zeros, which is the GUID of an unused entry.
[[nodiscard]] Guid guid_of(std::string_view text);

inline constexpr int kGptEntries = 128;
/// Sectors of 512 bytes that header and entries take, at both ends of the disk.
inline constexpr std::uint64_t kGptTableSectors = 33;

struct GptEntry {
    int number = 1;  ///< 1 to kGptEntries
    Guid type{};
    Guid id{};
    std::uint64_t first_sector = 0;
    std::uint64_t last_sector = 0;  ///< inclusive
    std::string_view name;          ///< ASCII, at most 36 characters
};

/// What is written for a GPT: sector 0 on, and the last kGptTableSectors of the disk.
struct GptTables {
    std::vector<std::byte> front;  ///< protective boot record without code, header, entries
    std::vector<std::byte> back;   ///< entries, header
};

/// Both copies of the table for a disk of `disk_sectors` sectors of 512 bytes. Errors:
/// invalid_input when an entry lies outside of what the tables leave, overlaps another or has no
/// number of its own. Source: UEFI specification 2.10, chapter 5.
[[nodiscard]] core::Result<GptTables> make_gpt(const Guid& disk_id,
                                               std::span<const GptEntry> entries,
                                               std::uint64_t disk_sectors);

/// One of the two copies of a GPT, as it lies on a disk; its checksums and places are right.
struct GptCopy {
    std::array<std::byte, kSectorBytes> header{};
    std::vector<std::byte> entries;
    std::uint64_t entries_sector = 0;
    std::uint32_t count = 0;
    std::uint32_t entry_bytes = 0;

    /// `index` counts from 0 and is below `count`.
    [[nodiscard]] std::span<const std::byte> entry(std::uint32_t index) const {
        return std::span(entries).subspan(std::size_t{index} * entry_bytes, entry_bytes);
    }
    /// Sectors that the entries take.
    [[nodiscard]] std::uint64_t entries_sectors() const {
        return (entries.size() + kSectorBytes - 1) / kSectorBytes;
    }
};

/// Reads the copy whose header is at that sector. What the entries say is not checked. Errors:
/// corrupt.
[[nodiscard]] core::Result<GptCopy> read_gpt_copy(const BlockDevice& disk,
                                                  std::uint64_t header_sector);

/// Writes both copies of `table` for the disk as large as it is now, with partition `number`
/// ending before `end_sector`. The copy at the end of the disk is written and flushed first, so
/// that one is whole at every moment. A protective record that covers a shorter disk is made
/// longer. Errors: invalid_input when the partition does not end where the table may.
[[nodiscard]] core::Result<> write_longer_gpt(const BlockDevice& disk, const GptCopy& table,
                                              int number, std::uint64_t end_sector);

}  // namespace amilift::dev
