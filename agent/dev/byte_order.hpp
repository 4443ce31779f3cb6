// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace amilift::dev {

/// The little-endian integer at byte `at` of `bytes`. The caller has checked that it is inside.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T load_le(std::span<const std::byte> bytes, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;) {
        value = value << 8U | std::to_integer<std::uint64_t>(bytes[at + i]);
    }
    return static_cast<T>(value);
}

/// The big-endian integer at byte `at` of `bytes`. The caller has checked that it is inside.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T load_be(std::span<const std::byte> bytes, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = value << 8U | std::to_integer<std::uint64_t>(bytes[at + i]);
    }
    return static_cast<T>(value);
}

/// Writes `value` little-endian at byte `at` of `bytes`. The caller has checked that it fits.
template <std::unsigned_integral T>
constexpr void store_le(std::span<std::byte> bytes, std::size_t at, T value) {
    std::uint64_t rest = value;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes[at + i] = static_cast<std::byte>(rest & 0xffU);
        rest >>= 8U;
    }
}

[[nodiscard]] constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) {
    return value - value % unit;
}

/// The caller has checked that `value` + `unit` does not overflow.
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return round_down(value + unit - 1, unit);
}

}  // namespace amilift::dev
