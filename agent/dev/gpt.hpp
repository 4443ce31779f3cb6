// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.hpp"

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

}  // namespace amilift::dev
