// SPDX-License-Identifier: Apache-2.0
// Partition tables: no partition lies outside of the disk, and none overlaps another.
#include <array>
#include <span>

#include "dev/partition_table.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace dev = amilift::dev;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kSectors = 1U << 21;
    constexpr std::size_t kSector = 512;
    if (size < kSector) return 0;
    const auto parsed = dev::parse_mbr(fuzz::as_bytes(data, size).first<kSector>(), kSectors);
    if (!parsed) return 0;
    for (const auto& a : *parsed) {
        fuzz::require(a.number >= 1 && a.number <= 4);
        fuzz::require(a.start_sector + a.sector_count <= kSectors);
        for (const auto& b : *parsed) {
            fuzz::require(a.number == b.number ||
                          a.start_sector + a.sector_count <= b.start_sector ||
                          b.start_sector + b.sector_count <= a.start_sector);
        }
    }
    return 0;
}
