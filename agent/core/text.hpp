// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace amilift::core {

/// `value` in single quotes for a message: control characters and quotes are escaped, and what
/// follows the first 60 characters is replaced by "...". `value` must be UTF-8.
[[nodiscard]] std::string in_quotes(std::string_view value);

/// Number of code points of a UTF-8 text.
[[nodiscard]] std::size_t count_characters(std::string_view utf8) noexcept;

/// Byte offset of the first byte that is not UTF-8 (RFC 3629: no overlong forms, no surrogates),
/// or nullopt.
[[nodiscard]] std::optional<std::size_t> find_invalid_utf8(std::string_view text) noexcept;

/// True for a character that has no place in a normalized() text: below U+0020 except tab and line
/// feed, and U+007F.
[[nodiscard]] bool is_control(char c) noexcept;

/// 0 to 9 of ASCII, whatever the locale.
[[nodiscard]] constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

/// ASCII lower case; other bytes stay.
[[nodiscard]] std::string lower(std::string_view text);

/// `text` without spaces, tabs and line ends at both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text) noexcept;

/// `text` without a UTF-8 byte order mark at its start, every CR LF made LF.
[[nodiscard]] std::string normalized(std::string_view text);

/// The first line that is not blank, without white space at its end; empty if there is none.
[[nodiscard]] std::string_view first_line(std::string_view text) noexcept;

/// The candidate that a mistyped `word` most probably means: the fewest insertions, deletions,
/// replacements and swaps of neighbours, at most a third of the word's length and at least one;
/// letters compare without case. Empty if none is near enough.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string_view> candidates);

}  // namespace amilift::core
