// SPDX-License-Identifier: Apache-2.0
#include "dev/gpt.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "dev/byte_order.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kSector = kSectorBytes;
constexpr std::size_t kEntryBytes = 128;
constexpr std::size_t kEntriesBytes = std::size_t{kGptEntries} * kEntryBytes;
constexpr std::size_t kHeaderBytes = 92;
constexpr std::size_t kHeaderCrcAt = 16;
constexpr std::uint64_t kHeaderMagic = 0x5452415020494645;  // "EFI PART", little-endian
constexpr std::uint32_t kMostEntries = 1024;
constexpr std::size_t kNameCharacters = 36;
constexpr std::uint64_t kFirstUsable = 1 + kGptTableSectors;

std::uint32_t crc_of(std::span<const std::byte> bytes) {
    // zlib takes unsigned char, which is what a byte is.
    const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
    return static_cast<std::uint32_t>(
        ::crc32(::crc32(0, nullptr, 0), data, static_cast<uInt>(bytes.size())));
}

void put_text(std::span<std::byte> bytes, std::size_t at, std::string_view text) {
    std::ranges::transform(text, bytes.begin() + static_cast<std::ptrdiff_t>(at),
                           [](char c) { return static_cast<std::byte>(c); });
}

/// UEFI specification 2.10, table 5.4.
void put_protective_record(std::span<std::byte> sector, std::uint64_t disk_sectors) {
    constexpr std::size_t kEntry = 446;
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    sector[kEntry + 2] = std::byte{0x02};  // CHS of sector 1
    sector[kEntry + 4] = std::byte{0xee};
    std::fill_n(sector.begin() + kEntry + 5, 3, std::byte{0xff});
    store_le(sector, kEntry + 8, std::uint32_t{1});
    store_le(sector, kEntry + 12, static_cast<std::uint32_t>(std::min(disk_sectors - 1, kMax)));
    store_le(sector, 510, std::uint16_t{0xaa55});
}

/// UEFI specification 2.10, table 5.5. `own` is the sector of this copy, `other` of the other one.
void put_header(std::span<std::byte> sector, const Guid& disk_id, std::uint64_t own,
                std::uint64_t other, std::uint64_t entries_at, std::uint64_t disk_sectors,
                std::uint32_t entries_crc) {
    put_text(sector, 0, "EFI PART");
    store_le(sector, 8, std::uint32_t{0x00010000});
    store_le(sector, 12, static_cast<std::uint32_t>(kHeaderBytes));
    store_le(sector, 24, own);
    store_le(sector, 32, other);
    store_le(sector, 40, kFirstUsable);
    store_le(sector, 48, disk_sectors - kGptTableSectors - 1);
    std::ranges::copy(disk_id, sector.begin() + 56);
    store_le(sector, 72, entries_at);
    store_le(sector, 80, static_cast<std::uint32_t>(kGptEntries));
    store_le(sector, 84, static_cast<std::uint32_t>(kEntryBytes));
    store_le(sector, 88, entries_crc);
    // Computed with the field itself as 0, which it still is.
    store_le(sector, kHeaderCrcAt, crc_of(sector.first(kHeaderBytes)));
}

/// UEFI specification 2.10, table 5.6.
void put_entry(std::span<std::byte> bytes, const GptEntry& entry) {
    std::ranges::copy(entry.type, bytes.begin());
    std::ranges::copy(entry.id, bytes.begin() + 16);
    store_le(bytes, 32, entry.first_sector);
    store_le(bytes, 40, entry.last_sector);
    std::size_t at = 56;
    for (const char c : entry.name) {
        store_le(bytes, at, static_cast<std::uint16_t>(static_cast<unsigned char>(c)));
        at += 2;
    }
}

Result<> check_entries(std::span<const GptEntry> entries, std::uint64_t disk_sectors) {
    if (disk_sectors < kFirstUsable + kGptTableSectors + 1) {
        return fail(Errc::invalid_input,
                    fmt::format("a disk of {} sectors is too small for a GPT", disk_sectors));
    }
    const auto last_usable = disk_sectors - kGptTableSectors - 1;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto& entry = entries[i];
        if (entry.number < 1 || entry.number > kGptEntries || entry.name.size() > kNameCharacters ||
            entry.first_sector < kFirstUsable || entry.last_sector < entry.first_sector ||
            entry.last_sector > last_usable) {
            return fail(Errc::invalid_input,
                        fmt::format("partition {} with sectors {}..{} does not fit a GPT, which "
                                    "has room from {} to {}",
                                    entry.number, entry.first_sector, entry.last_sector,
                                    kFirstUsable, last_usable));
        }
        for (const auto& other : entries.first(i)) {
            if (other.number == entry.number || (other.first_sector <= entry.last_sector &&
                                                 entry.first_sector <= other.last_sector)) {
                return fail(Errc::invalid_input,
                            fmt::format("partitions {} and {} of a GPT have the same number or "
                                        "sectors",
                                        other.number, entry.number));
            }
        }
    }
    return {};
}

}  // namespace

Guid guid_of(std::string_view text) {
    // The order in which the text has the bytes of the disk.
    constexpr std::array<std::size_t, 16> kPlaces{3, 2, 1,  0,  5,  4,  7,  6,
                                                  8, 9, 10, 11, 12, 13, 14, 15};
    Guid guid{};
    std::size_t n = 0;
    for (std::size_t at = 0; at + 1 < text.size() && n < guid.size();) {
        if (text[at] == '-') {
            ++at;
            continue;
        }
        unsigned value = 0;
        const auto* end = text.data() + at + 2;
        if (std::from_chars(text.data() + at, end, value, 16).ptr != end) return {};
        guid[kPlaces[n++]] = static_cast<std::byte>(value);
        at += 2;
    }
    return n == guid.size() ? guid : Guid{};
}

Result<GptTables> make_gpt(const Guid& disk_id, std::span<const GptEntry> entries,
                           std::uint64_t disk_sectors) {
    AMILIFT_CHECK(check_entries(entries, disk_sectors));
    std::vector<std::byte> array(kEntriesBytes);
    for (const auto& entry : entries) {
        const auto at = static_cast<std::size_t>(entry.number - 1) * kEntryBytes;
        put_entry(std::span(array).subspan(at, kEntryBytes), entry);
    }
    const auto crc = crc_of(array);
    const auto last = disk_sectors - 1;

    GptTables tables;
    tables.front.resize(2 * kSector + kEntriesBytes);
    const std::span<std::byte> front(tables.front);
    put_protective_record(front.first(kSector), disk_sectors);
    put_header(front.subspan(kSector, kSector), disk_id, 1, last, 2, disk_sectors, crc);
    std::ranges::copy(array, front.subspan(2 * kSector).begin());

    tables.back.resize(kEntriesBytes + kSector);
    const std::span<std::byte> back(tables.back);
    std::ranges::copy(array, back.begin());
    put_header(back.subspan(kEntriesBytes, kSector), disk_id, last, 1,
               disk_sectors - kGptTableSectors, disk_sectors, crc);
    return tables;
}

Result<GptCopy> read_gpt_copy(const BlockDevice& disk, std::uint64_t header_sector) {
    const auto damaged = [&](std::string_view what) {
        return fail(Errc::corrupt,
                    fmt::format("GPT of '{}' at sector {}: {}", disk.path(), header_sector, what),
                    "repair the table with gdisk");
    };
    GptCopy copy;
    AMILIFT_CHECK(
        core::read_exactly_at(disk.fd(), copy.header, header_sector * kSectorBytes, disk.path()));
    const std::span<const std::byte> bytes(copy.header);
    if (load_le<std::uint64_t>(bytes, 0) != kHeaderMagic) return damaged("there is no header");
    const auto header_bytes = load_le<std::uint32_t>(bytes, 12);
    if (header_bytes < kHeaderBytes || header_bytes > kSector) return damaged("its size is wrong");
    auto blank = copy.header;
    store_le(std::span<std::byte>(blank), kHeaderCrcAt, std::uint32_t{0});
    if (crc_of(std::span<const std::byte>(blank).first(header_bytes)) !=
        load_le<std::uint32_t>(bytes, kHeaderCrcAt)) {
        return damaged("the header's checksum is wrong");
    }
    if (load_le<std::uint64_t>(bytes, 24) != header_sector) {
        return damaged("the header says that it belongs elsewhere");
    }
    const auto sectors = disk.size_bytes() / kSectorBytes;
    copy.entries_sector = load_le<std::uint64_t>(bytes, 72);
    copy.count = load_le<std::uint32_t>(bytes, 80);
    copy.entry_bytes = load_le<std::uint32_t>(bytes, 84);
    if (copy.count == 0 || copy.count > kMostEntries || copy.entry_bytes < kEntryBytes ||
        copy.entry_bytes > 4096 || copy.entry_bytes % 8 != 0) {
        return damaged(fmt::format("{} entries of {} bytes, expected 1 to {} of 128 to 4096",
                                   copy.count, copy.entry_bytes, kMostEntries));
    }
    const std::uint64_t table_bytes = std::uint64_t{copy.count} * copy.entry_bytes;
    if (copy.entries_sector < 2 || copy.entries_sector >= sectors ||
        table_bytes > (sectors - copy.entries_sector) * kSectorBytes) {
        return damaged("its entries lie outside of the disk");
    }
    copy.entries.resize(static_cast<std::size_t>(table_bytes));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), copy.entries, copy.entries_sector * kSectorBytes,
                                        disk.path()));
    if (crc_of(copy.entries) != load_le<std::uint32_t>(bytes, 88)) {
        return damaged("the checksum of the entries is wrong");
    }
    return copy;
}

Result<> write_longer_gpt(const BlockDevice& disk, const GptCopy& table, int number,
                          std::uint64_t end_sector) {
    const auto sectors = disk.size_bytes() / kSectorBytes;
    const auto entries_sectors = table.entries_sectors();
    const auto last = sectors - 1;
    auto entries = table.entries;
    const auto index = static_cast<std::uint32_t>(number - 1);
    if (number < 1 || index >= table.count || end_sector + entries_sectors > last ||
        end_sector <= load_le<std::uint64_t>(table.entry(index), 32)) {
        return fail(Errc::invalid_input,
                    fmt::format("partition {} cannot end before sector {} of the {} of '{}'",
                                number, end_sector, sectors, disk.path()));
    }
    const auto at = std::size_t{index} * table.entry_bytes;
    store_le(std::span(entries).subspan(at, table.entry_bytes), 40, end_sector - 1);
    const auto crc = crc_of(entries);
    const auto header = [&](std::uint64_t own, std::uint64_t other, std::uint64_t entries_at) {
        auto copy = table.header;
        const std::span<std::byte> bytes(copy);
        const auto header_bytes = load_le<std::uint32_t>(bytes, 12);
        store_le(bytes, 24, own);
        store_le(bytes, 32, other);
        store_le(bytes, 48, last - entries_sectors - 1);
        store_le(bytes, 72, entries_at);
        store_le(bytes, 88, crc);
        store_le(bytes, kHeaderCrcAt, std::uint32_t{0});
        store_le(bytes, kHeaderCrcAt,
                 crc_of(std::span<const std::byte>(bytes).first(header_bytes)));
        return copy;
    };
    const auto write = [&disk](std::span<const std::byte> bytes, std::uint64_t sector) {
        return core::write_all_at(disk.fd(), bytes, sector * kSectorBytes, disk.path());
    };
    const auto back_at = last - entries_sectors;
    AMILIFT_CHECK(write(entries, back_at));
    AMILIFT_CHECK(write(header(last, 1, back_at), last));
    AMILIFT_CHECK(disk.flush());
    // The front is rewritten where it was; the second copy's own place of entries is no guide.
    const bool is_front = load_le<std::uint64_t>(std::span<const std::byte>(table.header), 24) == 1;
    const auto front_at = is_front ? table.entries_sector : 2;
    AMILIFT_CHECK(write(entries, front_at));
    AMILIFT_CHECK(write(header(1, last, front_at), 1));

    std::array<std::byte, kSectorBytes> record{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), record, 0, disk.path()));
    const auto first = std::span<std::byte>(record).subspan(446, 16);
    const auto wanted = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(last, std::numeric_limits<std::uint32_t>::max()));
    if (first[4] == std::byte{0xee} && load_le<std::uint32_t>(first, 8) == 1 &&
        load_le<std::uint32_t>(first, 12) < wanted) {
        store_le(first, 12, wanted);
        AMILIFT_CHECK(write(record, 0));
    }
    return disk.flush();
}

}  // namespace amilift::dev
