// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace amilift::modules {

/// The sectors before the root partition, from sector 0 on: boot record, then the loader.
using BootArea = std::vector<std::byte>;
using Sector = std::array<std::byte, 512>;

/// First byte of the disk signature in a boot record, and the end of its partition table. What
/// lies between belongs to the disk, not to the loader.
inline constexpr std::size_t kDiskSignatureOffset = 0x1b8;
inline constexpr std::size_t kPartitionTableEnd = 0x1fe;

/// Little-endian numbers at a byte offset. The caller has checked the size.
template <class T>
[[nodiscard]] T load_le(std::span<const std::byte> bytes, std::size_t offset) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value |
                               static_cast<T>(std::to_integer<T>(bytes[offset + i]) << (8 * i)));
    }
    return value;
}
template <class T>
void store_le(std::span<std::byte> bytes, std::size_t offset, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes[offset + i] = static_cast<std::byte>((value >> (8 * i)) & 0xffU);
    }
}

/// Errc::corrupt unless `bytes` has `expected` at `offset`: a loader of another version is never
/// patched. `file` is the object's name for messages.
[[nodiscard]] core::Result<> require_bytes(std::span<const std::byte> bytes, std::size_t offset,
                                           std::initializer_list<unsigned> expected,
                                           std::string_view file);

/// Puts boot record and loader together: keeps signature and partition table of `old_sector`,
/// pads the loader, which begins at `loader_sector`, to whole sectors. Errc::no_space if it does
/// not fit before the root partition.
[[nodiscard]] core::Result<BootArea> assemble_boot_area(const Sector& boot_record,
                                                        std::span<const std::byte> loader,
                                                        const Sector& old_sector,
                                                        std::uint64_t loader_sector = 1);

/// Whole sectors that `bytes` take.
[[nodiscard]] constexpr std::size_t sectors_of(std::size_t bytes) {
    return (bytes + 511) / 512;
}

[[nodiscard]] std::vector<std::byte> to_bytes(std::string_view text);

}  // namespace amilift::modules
