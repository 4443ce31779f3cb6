// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace amilift::core {

/// A place in a text. Lines and columns count from 1; a column is a character, not a byte.
struct Position {
    std::size_t line = 1;
    std::size_t column = 1;
    auto operator<=>(const Position&) const = default;
};

/// Something that is wrong at a place.
struct Problem {
    Position at;
    std::string what;
};

/// A node of a YAML document, with everything that a strict reader wants to know. Nothing is
/// resolved or expanded: an alias is a leaf, a duplicate key is there twice.
struct YamlNode {
    enum class Kind { scalar, sequence, mapping, alias };
    Kind kind = Kind::scalar;
    Position at;
    std::size_t offset = 0;  ///< of its first byte in the text
    bool flow = false;       ///< a sequence or a mapping in brackets or braces
    bool anchored = false;   ///< "&name" stands before it
    bool quoted = false;     ///< a scalar in quotes or a block scalar: text, whatever it looks like
    bool tagged = false;     ///< has an explicit tag, "!!str"
    std::string value;       ///< of a scalar
    std::vector<YamlNode> items;  ///< a sequence's; a mapping's as key, value, key, value, ...
};

/// What an unquoted scalar means to some YAML reader, YAML 1.1 or 1.2. A job takes a scalar for a
/// text only if every reader does.
enum class ScalarType { text, null, boolean, number, timestamp };

/// The type of a scalar. Sources: YAML 1.2.2 section 10.3.2 (core schema); yaml.org/type for 1.1
/// (yes, no, on, off, y, n; base 60; 0b, 0x, underscores; dates).
[[nodiscard]] ScalarType scalar_type(const YamlNode& scalar);

inline constexpr std::size_t kMaxYamlBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kMaxYamlDepth = 32;
inline constexpr std::size_t kMaxYamlNodes = 10'000;

/// Reads the one document in `text`; an empty text is a null scalar. A problem is: more than the
/// limits above, bytes that are not UTF-8 text, a syntax error, a second document.
[[nodiscard]] std::expected<YamlNode, Problem> parse_yaml(std::string_view text);

}  // namespace amilift::core
