// SPDX-License-Identifier: Apache-2.0
#include "modules/esp.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "modules/boot_area.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kSector = 512;  // and cluster
constexpr std::size_t kReservedSectors = 32;
constexpr std::size_t kTables = 2;
constexpr std::size_t kBackupRecord = 6;
constexpr std::size_t kEntriesPerSector = kSector / 4;
// Fewer clusters are FAT16, whatever the boot record says; more would make the tables large.
constexpr std::uint64_t kMinClusters = 65525;
constexpr std::uint64_t kMaxSectors = (std::uint64_t{2} << 30) / kSector;
constexpr std::uint32_t kEndOfChain = 0x0fffffff;
constexpr std::uint32_t kRootCluster = 2;
constexpr std::uint32_t kEfiCluster = 3;
constexpr std::uint32_t kBootCluster = 4;
constexpr std::uint32_t kFileCluster = 5;
constexpr std::size_t kDirectoryEntry = 32;
constexpr unsigned kDirectory = 0x10;
constexpr unsigned kVolumeLabel = 0x08;
constexpr unsigned kArchive = 0x20;
constexpr std::uint16_t kFirstDate = (1U << 5U) | 1U;  // 1980-01-01

struct Geometry {
    std::size_t table_sectors = 0;
    std::uint64_t clusters = 0;

    [[nodiscard]] std::size_t cluster_at(std::uint32_t cluster) const {
        return (kReservedSectors + kTables * table_sectors + (cluster - kRootCluster)) * kSector;
    }
};

Result<Geometry> geometry_of(std::uint64_t sectors) {
    Geometry geometry;
    if (sectors > kReservedSectors && sectors <= kMaxSectors) {
        // The formula of the specification, which may make a table a little too large, never small.
        constexpr std::uint64_t kDivisor = (kEntriesPerSector * 2 + kTables) / 2;
        const auto rest = sectors - kReservedSectors;
        geometry.table_sectors = static_cast<std::size_t>((rest + kDivisor - 1) / kDivisor);
        const auto tables = kTables * geometry.table_sectors;
        geometry.clusters = rest > tables ? rest - tables : 0;
    }
    if (geometry.clusters < kMinClusters) {
        return fail(Errc::invalid_input,
                    fmt::format("an EFI system partition of {} sectors cannot be FAT32", sectors));
    }
    return geometry;
}

void put_text(std::span<std::byte> bytes, std::size_t at, std::string_view text) {
    std::ranges::transform(text, bytes.begin() + static_cast<std::ptrdiff_t>(at),
                           [](char c) { return static_cast<std::byte>(c); });
}

void put_boot_record(std::span<std::byte> sector, const EspPlace& place, const Geometry& geometry,
                     std::uint32_t volume_id) {
    // A jump over the fields, as the specification demands, to code that waits for ever: nobody
    // starts an EFI system partition by its boot record.
    put_text(sector, 0,
             "\xeb\x58\x90"
             "AMILIFT ");
    store_le<std::uint16_t>(sector, 11, kSector);
    sector[13] = std::byte{1};
    store_le<std::uint16_t>(sector, 14, kReservedSectors);
    sector[16] = std::byte{kTables};
    sector[21] = std::byte{0xf8};
    store_le<std::uint16_t>(sector, 24, 63);
    store_le<std::uint16_t>(sector, 26, 255);
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    store_le(sector, 28, static_cast<std::uint32_t>(std::min(place.start_sector, kMax)));
    store_le(sector, 32, static_cast<std::uint32_t>(place.sector_count));
    store_le(sector, 36, static_cast<std::uint32_t>(geometry.table_sectors));
    store_le(sector, 44, kRootCluster);
    store_le<std::uint16_t>(sector, 48, 1);
    store_le<std::uint16_t>(sector, 50, kBackupRecord);
    sector[64] = std::byte{0x80};
    sector[66] = std::byte{0x29};
    store_le(sector, 67, volume_id);
    put_text(sector, 71, "EFI        FAT32   ");
    sector[90] = std::byte{0xeb};  // jmp to itself
    sector[91] = std::byte{0xfe};
    store_le<std::uint16_t>(sector, 510, 0xaa55);
}

void put_info_sector(std::span<std::byte> sector, std::uint32_t free, std::uint32_t next) {
    put_text(sector, 0, "RRaA");
    put_text(sector, 484, "rrAa");
    store_le(sector, 488, free);
    store_le(sector, 492, next);
    store_le<std::uint16_t>(sector, 510, 0xaa55);
}

void put_entry(std::span<std::byte> directory, std::size_t index, std::string_view name,
               unsigned attributes, std::uint32_t cluster, std::uint32_t bytes) {
    const auto entry = directory.subspan(index * kDirectoryEntry, kDirectoryEntry);
    put_text(entry, 0, name);
    entry[11] = static_cast<std::byte>(attributes);
    store_le(entry, 16, kFirstDate);
    store_le(entry, 18, kFirstDate);
    store_le(entry, 20, static_cast<std::uint16_t>(cluster >> 16U));
    store_le(entry, 24, kFirstDate);
    store_le(entry, 26, static_cast<std::uint16_t>(cluster & 0xffffU));
    store_le(entry, 28, bytes);
}

}  // namespace

Result<std::vector<std::byte>> make_esp(const EspPlace& place, std::uint32_t volume_id,
                                        std::span<const std::byte> program) {
    AMILIFT_TRY(const auto geometry, geometry_of(place.sector_count));
    const auto file_clusters = sectors_of(program.size());
    const auto used = std::uint64_t{kFileCluster - kRootCluster} + file_clusters;
    if (program.empty() || used > geometry.clusters) {
        return fail(Errc::no_space,
                    fmt::format("a program of {} bytes does not fit an EFI system partition of {} "
                                "sectors",
                                program.size(), place.sector_count));
    }
    const auto next = kFileCluster + static_cast<std::uint32_t>(file_clusters);
    std::vector<std::byte> image(geometry.cluster_at(next));
    const std::span<std::byte> bytes(image);

    put_boot_record(bytes.first(kSector), place, geometry, volume_id);
    put_info_sector(bytes.subspan(kSector, kSector),
                    static_cast<std::uint32_t>(geometry.clusters - used), next);
    std::ranges::copy(bytes.first(2 * kSector),
                      bytes.subspan(kBackupRecord * kSector, 2 * kSector).begin());

    const auto table = bytes.subspan(kReservedSectors * kSector, geometry.table_sectors * kSector);
    const auto link = [&](std::uint32_t cluster, std::uint32_t value) {
        store_le(table, std::size_t{cluster} * 4, value);
    };
    link(0, 0x0ffffff8);
    link(1, kEndOfChain);
    for (const auto cluster : {kRootCluster, kEfiCluster, kBootCluster}) link(cluster, kEndOfChain);
    for (auto cluster = kFileCluster; cluster + 1 < next; ++cluster) link(cluster, cluster + 1);
    link(next - 1, kEndOfChain);
    std::ranges::copy(
        table,
        bytes.subspan((kReservedSectors + geometry.table_sectors) * kSector, table.size()).begin());

    const auto directory = [&](std::uint32_t cluster) {
        return bytes.subspan(geometry.cluster_at(cluster), kSector);
    };
    put_entry(directory(kRootCluster), 0, "EFI        ", kVolumeLabel, 0, 0);
    put_entry(directory(kRootCluster), 1, "EFI        ", kDirectory, kEfiCluster, 0);
    put_entry(directory(kEfiCluster), 0, ".          ", kDirectory, kEfiCluster, 0);
    // 0 stands for the root directory.
    put_entry(directory(kEfiCluster), 1, "..         ", kDirectory, 0, 0);
    put_entry(directory(kEfiCluster), 2, "BOOT       ", kDirectory, kBootCluster, 0);
    put_entry(directory(kBootCluster), 0, ".          ", kDirectory, kBootCluster, 0);
    put_entry(directory(kBootCluster), 1, "..         ", kDirectory, kEfiCluster, 0);
    put_entry(directory(kBootCluster), 2, "BOOTX64 EFI", kArchive, kFileCluster,
              static_cast<std::uint32_t>(program.size()));
    std::ranges::copy(program, bytes.subspan(geometry.cluster_at(kFileCluster)).begin());
    return image;
}

}  // namespace amilift::modules
