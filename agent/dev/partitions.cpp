// SPDX-License-Identifier: Apache-2.0
#include "dev/partitions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>

#include "dev/byte_order.hpp"
#include "dev/gpt.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using Sector = std::array<std::byte, kSectorBytes>;

constexpr int kMaxLogical = 64;

Result<Sector> read_sector(const BlockDevice& disk, std::uint64_t number) {
    Sector sector{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), sector, number * kSectorBytes, disk.path()));
    return sector;
}

bool has_text(std::span<const std::byte> bytes, std::size_t at, std::string_view text) {
    if (at > bytes.size() || text.size() > bytes.size() - at) return false;
    return std::equal(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char c, std::byte b) {
                          return static_cast<std::uint8_t>(c) == std::to_integer<std::uint8_t>(b);
                      });
}

bool contains(std::span<const std::byte> bytes, std::string_view text) {
    for (std::size_t at = 0; at + text.size() <= bytes.size(); ++at) {
        if (has_text(bytes, at, text)) return true;
    }
    return false;
}

bool all_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

/// A GUID as text; the first three fields are little-endian.
std::string guid_text(std::span<const std::byte> bytes) {
    constexpr std::array<std::size_t, 16> kOrder{3, 2, 1,  0,  5,  4,  7,  6,
                                                 8, 9, 10, 11, 12, 13, 14, 15};
    std::string text;
    for (std::size_t i = 0; i < kOrder.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[kOrder[i]]));
    }
    return text;
}

// --- DOS -----------------------------------------------------------------------------------------

bool is_extended(std::uint8_t type) {
    return type == 0x05 || type == 0x0f || type == 0x85;
}

Partition dos_partition(int number, std::uint64_t start, std::uint64_t count, std::uint8_t type,
                        bool active, std::uint32_t disk_id) {
    Partition partition;
    partition.number = number;
    partition.offset_bytes = start * kSectorBytes;
    partition.size_bytes = count * kSectorBytes;
    partition.type = fmt::format("{:02x}", type);
    partition.uuid = fmt::format("{:08x}-{:02x}", disk_id, number);
    partition.active = active;
    return partition;
}

/// A chain of tables, mostly one for each logical partition; each names the next one. `number` is
/// that of the next logical partition: as in the kernel, a table without one takes none, and two
/// partitions in one table have two.
Result<> read_logical(const BlockDevice& disk, const MbrPartition& extended, std::uint32_t disk_id,
                      int& number, std::vector<Partition>& partitions) {
    const auto end = extended.start_sector + extended.sector_count;
    auto table = extended.start_sector;
    for (int i = 0; i < kMaxLogical; ++i) {
        AMILIFT_TRY(const auto sector, read_sector(disk, table));
        const std::span<const std::byte> bytes(sector);
        if (load_le<std::uint16_t>(bytes, 510) != 0xaa55) return {};
        std::uint64_t next = 0;
        for (std::size_t entry = 0; entry < 4; ++entry) {
            const auto at = 446 + entry * 16;
            const auto type = load_le<std::uint8_t>(bytes, at + 4);
            const std::uint64_t start = load_le<std::uint32_t>(bytes, at + 8);
            const std::uint64_t count = load_le<std::uint32_t>(bytes, at + 12);
            if (type == 0 || count == 0) continue;
            if (is_extended(type)) {
                if (next == 0) next = extended.start_sector + start;
                continue;
            }
            if (entry >= 2) continue;
            const auto first = table + start;
            if (start == 0 || first + count > end) {
                return fail(Errc::corrupt,
                            fmt::format("logical partition {} of '{}' has sectors {}..{}, expected "
                                        "them inside the extended partition ({}..{})",
                                        number, disk.path(), first, first + count - 1,
                                        extended.start_sector, end - 1),
                            "repair the table with fdisk");
            }
            partitions.push_back(dos_partition(number++, first, count, type, false, disk_id));
        }
        // Always forward: a chain that turns back would never end.
        if (next <= table || next >= end) return {};
        table = next;
    }
    return {};
}

Result<std::vector<Partition>> read_dos(const BlockDevice& disk) {
    AMILIFT_TRY(const auto sector, read_sector(disk, 0));
    const auto disk_id = load_le<std::uint32_t>(std::span<const std::byte>(sector), 440);
    AMILIFT_TRY(const auto primary, parse_mbr(sector, disk.size_bytes() / kSectorBytes));
    std::vector<Partition> partitions;
    int next_logical = 5;
    for (const auto& entry : primary) {
        if (is_extended(entry.type)) {
            AMILIFT_CHECK(read_logical(disk, entry, disk_id, next_logical, partitions));
        } else {
            partitions.push_back(dos_partition(entry.number, entry.start_sector, entry.sector_count,
                                               entry.type, entry.active, disk_id));
        }
    }
    return partitions;
}

// --- GPT -----------------------------------------------------------------------------------------

Result<std::vector<Partition>> read_gpt_at(const BlockDevice& disk, std::uint64_t header_sector) {
    AMILIFT_TRY(const auto copy, read_gpt_copy(disk, header_sector));
    const auto sectors = disk.size_bytes() / kSectorBytes;
    std::vector<Partition> partitions;
    for (std::uint32_t i = 0; i < copy.count; ++i) {
        const auto entry = copy.entry(i);
        if (all_zero(entry.first(16))) continue;
        const auto first = load_le<std::uint64_t>(entry, 32);
        const auto last = load_le<std::uint64_t>(entry, 40);
        if (first == 0 || last < first || last >= sectors) {
            return fail(Errc::corrupt,
                        fmt::format("GPT of '{}' at sector {}: partition {} has sectors {}..{}, "
                                    "the disk has {}",
                                    disk.path(), header_sector, i + 1, first, last, sectors),
                        "repair the table with gdisk");
        }
        Partition partition;
        partition.number = static_cast<int>(i) + 1;
        partition.offset_bytes = first * kSectorBytes;
        partition.size_bytes = (last - first + 1) * kSectorBytes;
        partition.type = guid_text(entry.first(16));
        partition.uuid = guid_text(entry.subspan(16, 16));
        partition.active = (load_le<std::uint64_t>(entry, 48) & 4U) != 0;
        partitions.push_back(std::move(partition));
    }
    return partitions;
}

Result<std::vector<Partition>> read_gpt(const BlockDevice& disk) {
    const auto sectors = disk.size_bytes() / kSectorBytes;
    if (sectors < 3)
        return fail(Errc::corrupt, fmt::format("'{}' is too short for a GPT", disk.path()));
    auto partitions = read_gpt_at(disk, 1);
    if (partitions) return partitions;
    if (auto backup = read_gpt_at(disk, sectors - 1)) return backup;
    if (disk.size_bytes() >= 8192) {
        AMILIFT_TRY(const auto sector, read_sector(disk, 8));
        if (has_text(sector, 0, "EFI PART")) {
            return fail(Errc::refused,
                        fmt::format("the GPT of '{}' is made for sectors of 4096 bytes, those of "
                                    "EBS have 512",
                                    disk.path()),
                        "copy the partitions to a disk with sectors of 512 bytes", "sector-size");
        }
    }
    return partitions;
}

// --- contents ------------------------------------------------------------------------------------

bool is_swap(std::span<const std::byte> start) {
    for (const std::size_t page : {4096U, 8192U, 16384U, 65536U}) {
        if (has_text(start, page - 10, "SWAPSPACE2") || has_text(start, page - 10, "SWAP-SPACE")) {
            return true;
        }
    }
    return false;
}

bool is_fat(std::span<const std::byte> start) {
    if (start.size() < kSectorBytes || load_le<std::uint16_t>(start, 510) != 0xaa55) return false;
    return has_text(start, 82, "FAT32   ") || has_text(start, 54, "FAT16   ") ||
           has_text(start, 54, "FAT12   ") || has_text(start, 54, "FAT     ");
}

bool is_raid_start(std::span<const std::byte> start) {
    constexpr std::uint32_t kMagic = 0xa92b4efc;
    for (const std::size_t at : {0U, 4096U}) {
        if (start.size() >= at + 4 && load_le<std::uint32_t>(start, at) == kMagic) return true;
    }
    return false;
}

/// Superblocks 0.90 and 1.0 lie near the end, so that the start looks like a plain filesystem.
Result<bool> is_raid_end(const BlockDevice& disk, const Partition& partition) {
    constexpr std::uint32_t kMagic = 0xa92b4efc;
    constexpr std::uint64_t kReserved = 65536;
    const auto sectors = partition.size_bytes / kSectorBytes;
    if (partition.size_bytes < 2 * kReserved) return false;
    const auto old_place = round_down(partition.size_bytes, kReserved) - kReserved;
    const auto new_place = round_down(sectors - 16, 8) * kSectorBytes;
    for (const auto place : {old_place, new_place}) {
        std::array<std::byte, 4> magic{};
        AMILIFT_CHECK(
            core::read_exactly_at(disk.fd(), magic, partition.offset_bytes + place, disk.path()));
        if (load_le<std::uint32_t>(std::span<const std::byte>(magic), 0) == kMagic) return true;
    }
    return false;
}

/// UUID of a swap area (linux/swap.h: behind 1024 bytes and three numbers); empty if it has none.
std::string swap_uuid(std::span<const std::byte> start) {
    constexpr std::size_t kAt = 1036;
    if (start.size() < kAt + 16 || all_zero(start.subspan(kAt, 16))) return {};
    std::string text;
    for (std::size_t i = 0; i < 16; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(start[kAt + i]));
    }
    return text;
}

/// The volume serial number, which mount takes for a UUID.
std::string fat_uuid(std::span<const std::byte> start) {
    const std::size_t at = has_text(start, 82, "FAT32   ") ? 67 : 39;
    const auto serial = load_le<std::uint32_t>(start, at);
    return serial == 0 ? "" : fmt::format("{:04X}-{:04X}", serial >> 16U, serial & 0xffffU);
}

/// Takes what its superblock tells into the partition.
Result<> take_filesystem(const BlockDevice& disk, Partition& partition, const FilesystemInfo& info,
                         std::span<const std::byte> start) {
    if (info.type == Filesystem::none) {
        partition.content = PartitionContent::empty;
        return {};
    }
    if (info.type == Filesystem::unknown) {
        partition.content = is_fat(start) ? PartitionContent::fat : PartitionContent::unknown;
        if (is_fat(start)) partition.content_uuid = fat_uuid(start);
        return {};
    }
    // Once more, with what the superblock alone does not tell: an XFS log to replay.
    auto whole = read_filesystem_info(disk, partition.offset_bytes);
    if (!whole && whole.error().is(Errc::io_error)) {
        return std::unexpected(std::move(whole).error());
    }
    partition.content = whole ? PartitionContent::filesystem : PartitionContent::broken_filesystem;
    if (info.device_count > 1) partition.content = PartitionContent::btrfs_member;
    if (whole) {
        partition.filesystem = *std::move(whole);
        partition.content_uuid = partition.filesystem.uuid;
    } else {
        partition.problem = whole.error().what;
    }
    return {};
}

Result<> look_into(const BlockDevice& disk, Partition& partition) {
    std::vector<std::byte> start(static_cast<std::size_t>(
        std::min<std::uint64_t>(partition.size_bytes, kFilesystemLookBytes)));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), start, partition.offset_bytes, disk.path()));
    const std::span<const std::byte> bytes(start);
    AMILIFT_TRY(const bool raid_end, is_raid_end(disk, partition));
    auto info = parse_filesystem_info(
        bytes, partition.size_bytes, fmt::format("{} partition {}", disk.path(), partition.number));
    // mkswap(8) writes over these two superblocks, while mke2fs(8) leaves the mark at the end of a
    // large page: of both, the filesystem is the newer.
    const bool is_newer_than_swap = info && (is_ext(info->type) || info->type == Filesystem::xfs);
    if (has_text(bytes, 0, std::string_view("LUKS\xba\xbe"))) {
        partition.content = PartitionContent::luks;
    } else if (is_raid_start(bytes) || raid_end) {
        partition.content = PartitionContent::raid;
    } else if (has_text(bytes, 0, "LABELONE") || has_text(bytes, 512, "LABELONE") ||
               has_text(bytes, 1024, "LABELONE") || has_text(bytes, 1536, "LABELONE")) {
        partition.content = PartitionContent::lvm;
    } else if (is_swap(bytes) && !is_newer_than_swap) {
        partition.content = PartitionContent::swap;
        partition.content_uuid = swap_uuid(bytes);
    } else if (info) {
        return take_filesystem(disk, partition, *info, bytes);
    } else if (info.error().is(Errc::corrupt)) {
        partition.content = PartitionContent::broken_filesystem;
        partition.problem = info.error().what;
    } else {
        return std::unexpected(std::move(info).error());
    }
    return {};
}

Result<> require_no_overlap(const BlockDevice& disk, const std::vector<Partition>& partitions) {
    for (std::size_t i = 1; i < partitions.size(); ++i) {
        const auto& before = partitions[i - 1];
        if (before.offset_bytes + before.size_bytes <= partitions[i].offset_bytes) continue;
        return fail(Errc::corrupt,
                    fmt::format("partitions {} and {} of '{}' overlap", before.number,
                                partitions[i].number, disk.path()),
                    "repair the partition table");
    }
    return {};
}

// --- boot code -----------------------------------------------------------------------------------

/// What one boot sector starts; absent when it leaves that to another sector.
Result<std::optional<BootCodeInfo>> look_at_boot_sector(const BlockDevice& disk,
                                                        std::uint64_t number,
                                                        const std::string& name) {
    AMILIFT_TRY(const auto sector, read_sector(disk, number));
    const std::span<const std::byte> bytes(sector);
    const auto sectors = disk.size_bytes() / kSectorBytes;
    const auto next_has = [&](std::uint64_t at, std::string_view text) -> Result<bool> {
        if (at == 0 || at >= sectors) return false;
        AMILIFT_TRY(const auto next, read_sector(disk, at));
        return contains(next, text);
    };
    if (has_text(bytes, 3, "EXTLINUX") || has_text(bytes, 3, "SYSLINUX")) {
        return BootCodeInfo{BootCodeKind::extlinux, fmt::format("{} is extlinux's", name)};
    }
    if (!contains(bytes.first(440), "GRUB ")) return std::nullopt;
    if (load_le<std::uint16_t>(bytes, 0) == 0x63eb) {
        const auto core = load_le<std::uint64_t>(bytes, 0x5c);
        AMILIFT_TRY(const bool loads, next_has(core, "loading"));
        if (loads) {
            return BootCodeInfo{
                BootCodeKind::grub2,
                fmt::format("{} is GRUB 2's, its core image lies at sector {}", name, core)};
        }
        return BootCodeInfo{
            BootCodeKind::unknown,
            fmt::format("{} is GRUB 2's, but there is no core image at sector {}", name, core)};
    }
    if (load_le<std::uint16_t>(bytes, 0x3e) == 0x0203) {
        const std::uint64_t next = load_le<std::uint32_t>(bytes, 0x44);
        AMILIFT_TRY(const bool loads, next_has(next, "Loading stage"));
        if (loads) {
            return BootCodeInfo{
                BootCodeKind::grub_legacy,
                fmt::format("{} is GRUB 0.97's, its next stage lies at sector {}", name, next)};
        }
        return BootCodeInfo{
            BootCodeKind::unknown,
            fmt::format("{} is GRUB 0.97's, but there is no stage at sector {}", name, next)};
    }
    return BootCodeInfo{BootCodeKind::unknown, fmt::format("{} is of another GRUB", name)};
}

}  // namespace

std::string_view to_string(PartitionContent content) noexcept {
    switch (content) {
        case PartitionContent::empty:
            return "empty";
        case PartitionContent::filesystem:
            return "filesystem";
        case PartitionContent::broken_filesystem:
            return "damaged filesystem";
        case PartitionContent::fat:
            return "FAT";
        case PartitionContent::btrfs_member:
            return "btrfs on several devices";
        case PartitionContent::swap:
            return "swap";
        case PartitionContent::lvm:
            return "LVM";
        case PartitionContent::luks:
            return "LUKS";
        case PartitionContent::raid:
            return "RAID";
        case PartitionContent::unknown:
            break;
    }
    return "unknown";
}

bool is_efi_system(const Partition& partition) {
    return partition.type == kGptEfiSystem || partition.type == "ef";
}

Result<std::vector<Partition>> read_partitions(const BlockDevice& disk, DiskLayout layout) {
    AMILIFT_TRY(auto partitions, layout == DiskLayout::gpt ? read_gpt(disk) : read_dos(disk));
    std::ranges::sort(partitions, {}, &Partition::offset_bytes);
    AMILIFT_CHECK(require_no_overlap(disk, partitions));
    for (auto& partition : partitions) AMILIFT_CHECK(look_into(disk, partition));
    return partitions;
}

Result<BootCodeInfo> read_boot_code(const BlockDevice& disk,
                                    const std::vector<Partition>& partitions) {
    AMILIFT_TRY(const auto first, look_at_boot_sector(disk, 0, "sector 0"));
    if (first) return *first;
    AMILIFT_TRY(const auto sector, read_sector(disk, 0));
    if (all_zero(std::span<const std::byte>(sector).first(440))) return BootCodeInfo{};
    const auto active = std::ranges::find(partitions, true, &Partition::active);
    if (active != partitions.end()) {
        AMILIFT_TRY(const auto second,
                    look_at_boot_sector(disk, active->offset_bytes / kSectorBytes,
                                        fmt::format("the first sector of the active partition {}",
                                                    active->number)));
        if (second) return *second;
    }
    return BootCodeInfo{BootCodeKind::unknown, "code in sector 0 that is no known loader's"};
}

}  // namespace amilift::dev
