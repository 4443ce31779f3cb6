// SPDX-License-Identifier: Apache-2.0
#include "modules/boot_area.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "dev/partition_table.hpp"

namespace amilift::modules {

using core::Errc;
using core::fail;
using core::Result;

Result<> require_bytes(std::span<const std::byte> bytes, std::size_t offset,
                       std::initializer_list<unsigned> expected, std::string_view file) {
    std::string seen;
    std::string wanted;
    bool same = bytes.size() >= offset + expected.size();
    std::size_t at = offset;
    for (const unsigned value : expected) {
        wanted += fmt::format(" {:02x}", value);
        if (at < bytes.size()) {
            const auto found = std::to_integer<unsigned>(bytes[at]);
            seen += fmt::format(" {:02x}", found);
            same = same && found == value;
        }
        ++at;
    }
    if (same) return {};
    return fail(Errc::corrupt,
                fmt::format("'{}' has{} at byte 0x{:x}, expected{}", file,
                            seen.empty() ? " nothing" : seen, offset, wanted),
                "this is not the GRUB version that amilift knows how to install");
}

Result<BootArea> assemble_boot_area(const Sector& boot_record, std::span<const std::byte> loader,
                                    const Sector& old_sector, std::uint64_t loader_sector) {
    const auto sectors = loader_sector + sectors_of(loader.size());
    if (sectors > dev::kRootStartSector) {
        return fail(Errc::no_space,
                    fmt::format("boot loader needs {} sectors, the gap before the root partition "
                                "has {}",
                                sectors, dev::kRootStartSector));
    }
    BootArea area(sectors * 512);
    std::ranges::copy(boot_record, area.begin());
    std::copy(old_sector.begin() + kDiskSignatureOffset, old_sector.begin() + kPartitionTableEnd,
              area.begin() + kDiskSignatureOffset);
    std::ranges::copy(loader, area.begin() + static_cast<std::ptrdiff_t>(loader_sector * 512));
    return area;
}

std::vector<std::byte> to_bytes(std::string_view text) {
    std::vector<std::byte> bytes(text.size());
    std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
    return bytes;
}

}  // namespace amilift::modules
