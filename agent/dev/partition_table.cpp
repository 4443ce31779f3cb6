// SPDX-License-Identifier: Apache-2.0
#include "dev/partition_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "dev/byte_order.hpp"
#include "dev/filesystem.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

// The DOS boot record, as GPT describes it too: UEFI specification 2.10, table 5.1.
constexpr std::size_t kDiskIdAt = 440;
constexpr std::size_t kEntriesAt = 446;
constexpr std::size_t kEntryBytes = 16;
constexpr int kEntryCount = 4;
constexpr std::size_t kSignatureAt = 510;
constexpr std::uint16_t kSignature = 0xaa55;
constexpr std::uint8_t kActive = 0x80;
constexpr std::uint8_t kGptProtective = 0xee;
constexpr std::string_view kGptSignature = "EFI PART";
constexpr std::uint64_t kLookBytes = 1U << 20;

constexpr std::size_t entry_at(int number) {
    return kEntriesAt + static_cast<std::size_t>(number - 1) * kEntryBytes;
}

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<std::uint8_t>(bytes[at]);
}

bool has_protective_entry(std::span<const std::byte, 512> sector) {
    if (load_le<std::uint16_t>(sector, kSignatureAt) != kSignature) return false;
    for (int number = 1; number <= kEntryCount; ++number) {
        if (byte_at(sector, entry_at(number) + 4) == kGptProtective) return true;
    }
    return false;
}

bool has_gpt_header(std::span<const std::byte> start, std::size_t sector_bytes) {
    if (start.size() < sector_bytes + kGptSignature.size()) return false;
    return std::equal(kGptSignature.begin(), kGptSignature.end(),
                      start.begin() + static_cast<std::ptrdiff_t>(sector_bytes),
                      [](char c, std::byte b) {
                          return static_cast<std::uint8_t>(c) == std::to_integer<std::uint8_t>(b);
                      });
}

bool is_known(Filesystem type) {
    return type != Filesystem::none && type != Filesystem::unknown;
}

/// Whether one of the partitions begins with a filesystem: then the table is alive, and a
/// superblock at byte 0 of the disk is what an earlier use left in the gap.
bool any_partition_has_filesystem(const BlockDevice& disk,
                                  const std::vector<MbrPartition>& partitions) {
    return std::any_of(partitions.begin(), partitions.end(), [&](const MbrPartition& partition) {
        const auto info = read_filesystem_info(disk, partition.start_sector * kSectorBytes);
        return info && is_known(info->type);
    });
}

}  // namespace

Result<std::vector<MbrPartition>> parse_mbr(std::span<const std::byte, 512> sector,
                                            std::uint64_t disk_sectors) {
    if (const auto seen = load_le<std::uint16_t>(sector, kSignatureAt); seen != kSignature) {
        return fail(Errc::corrupt,
                    fmt::format("no partition table: bytes 510 and 511 are {:02x} {:02x}, expected "
                                "55 aa",
                                seen & 0xffU, seen >> 8U),
                    "use a disk with a DOS partition table, or one that holds a filesystem only");
    }
    std::vector<MbrPartition> partitions;
    for (int number = 1; number <= kEntryCount; ++number) {
        const auto entry = sector.subspan(entry_at(number), kEntryBytes);
        const auto status = byte_at(entry, 0);
        if (status != 0 && status != kActive) {
            return fail(
                Errc::corrupt,
                fmt::format("partition {} has status {:02x}, expected 00 or 80", number, status),
                "the sector is no partition table; repair it with fdisk");
        }
        MbrPartition partition;
        partition.number = number;
        partition.type = byte_at(entry, 4);
        partition.active = status == kActive;
        partition.start_sector = load_le<std::uint32_t>(entry, 8);
        partition.sector_count = load_le<std::uint32_t>(entry, 12);
        // Like the kernel (block/partitions/msdos.c), an entry without type or sectors is unused.
        if (partition.type == 0 || partition.sector_count == 0) continue;
        const auto end = partition.start_sector + partition.sector_count;
        if (partition.start_sector == 0 || end > disk_sectors) {
            return fail(Errc::corrupt,
                        fmt::format("partition {} has sectors {}..{}, expected them between 1 and "
                                    "{}",
                                    number, partition.start_sector, end - 1,
                                    disk_sectors == 0 ? 0 : disk_sectors - 1),
                        "the disk is shorter than its table says: use the whole image, or repair "
                        "the table with fdisk");
        }
        for (const auto& other : partitions) {
            if (partition.start_sector < other.start_sector + other.sector_count &&
                other.start_sector < end) {
                return fail(
                    Errc::corrupt,
                    fmt::format("partitions {} and {} overlap at sector {}", other.number, number,
                                std::max(other.start_sector, partition.start_sector)),
                    "repair the table with fdisk");
            }
        }
        partitions.push_back(partition);
    }
    return partitions;
}

Result<std::array<std::byte, 512>> make_mbr(const MbrPartition& partition, std::uint32_t disk_id) {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    if (partition.number < 1 || partition.number > kEntryCount) {
        return fail(Errc::invalid_input,
                    fmt::format("partition number is {}, expected 1 to 4", partition.number));
    }
    if (partition.type == 0) {
        return fail(Errc::invalid_input, "partition type is 00, which means an unused entry");
    }
    if (partition.start_sector == 0 || partition.sector_count == 0) {
        return fail(Errc::invalid_input,
                    fmt::format("partition has {} sectors from sector {} on, expected both to be "
                                "at least 1",
                                partition.sector_count, partition.start_sector));
    }
    if (partition.sector_count > kMax || partition.start_sector > kMax) {
        return fail(Errc::invalid_input,
                    fmt::format("partition has {} sectors from sector {} on, a DOS partition table "
                                "holds at most {} of 512 bytes (2 TiB)",
                                partition.sector_count, partition.start_sector, kMax),
                    "use a root volume of less than 2 TiB");
    }
    std::array<std::byte, 512> sector{};
    const std::span<std::byte> bytes(sector);
    store_le(bytes, kDiskIdAt, disk_id);
    const auto entry = bytes.subspan(entry_at(partition.number), kEntryBytes);
    const auto fill_chs = [&](std::size_t at) {
        entry[at] = std::byte{0xfe};
        entry[at + 1] = std::byte{0xff};
        entry[at + 2] = std::byte{0xff};
    };
    entry[0] = std::byte{partition.active ? kActive : std::uint8_t{0}};
    fill_chs(1);
    entry[4] = std::byte{partition.type};
    fill_chs(5);
    store_le(entry, 8, static_cast<std::uint32_t>(partition.start_sector));
    store_le(entry, 12, static_cast<std::uint32_t>(partition.sector_count));
    store_le(bytes, kSignatureAt, kSignature);
    return sector;
}

Result<DiskContents> read_disk_contents(const BlockDevice& disk) {
    DiskContents contents;
    const auto look = std::min(disk.size_bytes(), kLookBytes);
    if (look < kSectorBytes) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' has {} bytes, expected a disk of at least one sector",
                                disk.path(), disk.size_bytes()),
                    "name the whole disk image");
    }
    std::vector<std::byte> start(static_cast<std::size_t>(look));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), start, 0, disk.path()));
    if (std::all_of(start.begin(), start.end(), [](std::byte b) { return b == std::byte{0}; })) {
        contents.layout = DiskLayout::empty;
        return contents;
    }
    const std::span<const std::byte, 512> sector(start.data(), 512);
    const auto table = parse_mbr(sector, disk.size_bytes() / kSectorBytes);
    const bool has_table = table && !table->empty();
    const auto whole = read_filesystem_info(disk, 0);

    // A filesystem leaves its boot sector to whoever wants it (ext) and junk may sit there, even
    // with 55 AA at its end; a table counts only when it leads to something.
    if (whole && is_known(whole->type) &&
        !(has_table && any_partition_has_filesystem(disk, *table))) {
        contents.layout = DiskLayout::bare_filesystem;
        return contents;
    }
    if (has_protective_entry(sector) &&
        (has_gpt_header(start, 512) || has_gpt_header(start, 4096) || has_table)) {
        contents.layout = DiskLayout::gpt;
        return contents;
    }
    if (has_table) {
        contents.layout = DiskLayout::mbr;
        contents.partitions = *table;
        return contents;
    }
    // Nothing else explains the disk: then a superblock that contradicts itself is the news.
    if (!whole) return std::unexpected(whole.error());
    contents.layout = DiskLayout::unknown;
    return contents;
}

Result<> write_longer_mbr(const BlockDevice& disk, int number, std::uint64_t end_sector) {
    const auto sectors = disk.size_bytes() / kSectorBytes;
    std::array<std::byte, kSectorBytes> record{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), record, 0, disk.path()));
    AMILIFT_TRY(const auto partitions, parse_mbr(record, sectors));
    const auto found = std::ranges::find(partitions, number, &MbrPartition::number);
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    if (found == partitions.end() || end_sector <= found->start_sector || end_sector > sectors ||
        end_sector - found->start_sector > kMax) {
        return fail(Errc::invalid_input,
                    fmt::format("partition {} cannot end before sector {} of the {} of '{}'",
                                number, end_sector, sectors, disk.path()));
    }
    const auto entry = std::span<std::byte>(record).subspan(entry_at(number), kEntryBytes);
    entry[5] = std::byte{0xfe};
    entry[6] = std::byte{0xff};
    entry[7] = std::byte{0xff};
    store_le(entry, 12, static_cast<std::uint32_t>(end_sector - found->start_sector));
    AMILIFT_CHECK(core::write_all_at(disk.fd(), record, 0, disk.path()));
    return disk.flush();
}

}  // namespace amilift::dev
