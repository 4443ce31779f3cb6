// SPDX-License-Identifier: Apache-2.0
#include "core/printable.hpp"

#include <fmt/format.h>

#include <cstdint>

namespace amilift::core {
namespace {

struct Character {
    std::size_t bytes = 1;
    bool is_utf8 = false;
    std::uint32_t code = 0;
};

/// The character at the start of `text`, which is not empty. Overlong forms, surrogates and what
/// lies above U+10FFFF are no UTF-8 (RFC 3629).
Character first_character(std::string_view text) {
    const auto byte_at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const std::uint32_t lead = byte_at(0);
    if (lead < 0x80) return {1, true, lead};
    const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
    std::uint32_t code = lead & (0x7fU >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte_at(i) & 0xc0U) != 0x80) return {};
        code = (code << 6) | (byte_at(i) & 0x3fU);
    }
    const bool is_overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
    if (is_overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return {};
    return {bytes, true, code};
}

bool steers(std::uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) ||  // C0, DEL, C1
           code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) ||  // separators, embeddings and overrides
           (code >= 0x2066 && code <= 0x2069);    // isolates
}

}  // namespace

std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const auto character = first_character(text);
        const auto bytes = text.substr(0, character.bytes);
        if (character.is_utf8 && !steers(character.code)) {
            out += bytes;
        } else {
            for (const char c : bytes) {
                out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
            }
        }
        text.remove_prefix(character.bytes);
    }
    return out;
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr double kKiB = 1024;
    const auto value = static_cast<double>(bytes);
    if (value >= kKiB * kKiB * kKiB) return fmt::format("{:.1f} GiB", value / (kKiB * kKiB * kKiB));
    if (value >= kKiB * kKiB) return fmt::format("{:.0f} MiB", value / (kKiB * kKiB));
    if (value >= kKiB) return fmt::format("{:.0f} KiB", value / kKiB);
    return fmt::format("{} bytes", bytes);
}

}  // namespace amilift::core
