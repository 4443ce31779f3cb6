// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

/// Looks into the bytes of a file that may be cut off, or lie about where its parts are.
namespace amilift::image {

/// A little-endian number of `size` bytes, 8 at most; absent where the bytes end before.
[[nodiscard]] inline std::optional<std::uint64_t> number_at(std::string_view bytes,
                                                            std::uint64_t at, std::size_t size) {
    if (at > bytes.size() || bytes.size() - at < size) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) {
        value = (value << 8U) | static_cast<unsigned char>(bytes[static_cast<std::size_t>(at) + i]);
    }
    return value;
}

/// `size` bytes at `at`; absent unless all of them are there.
[[nodiscard]] inline std::optional<std::string_view> slice(std::string_view bytes, std::uint64_t at,
                                                           std::uint64_t size) {
    if (at > bytes.size() || bytes.size() - at < size) return std::nullopt;
    return bytes.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
}

}  // namespace amilift::image
