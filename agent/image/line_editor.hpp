// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/text_lines.hpp"

namespace amilift::image {

/// What the editors of configuration files share.

inline constexpr std::string_view kSpaces = " \t";

/// Blanks before the first other character; all of an empty line.
[[nodiscard]] std::size_t indent_of(std::string_view body);
/// Also an empty line. Comments begin with '#' or ';'.
[[nodiscard]] bool is_comment(std::string_view body);
[[nodiscard]] std::string_view unquoted(std::string_view text);
/// "02:ab:cd:ef:01:23", with '-' too.
[[nodiscard]] bool is_mac(std::string_view text);
/// "IPADDR", "IPADDR0" and "IPADDR_2" are all numbered "IPADDR".
[[nodiscard]] bool is_numbered(std::string_view key, std::string_view base);

/// A line KEY=value; blanks around both are left out of them.
struct KeyValue {
    std::string_view key;
    std::string_view value;  ///< without quotes around it and without a remark behind it
    std::size_t value_at = 0;
    std::size_t value_size = 0;  ///< with quotes
};

/// Absent for comments and for lines without '='.
[[nodiscard]] std::optional<KeyValue> key_value(std::string_view body);
/// The body with the value exchanged, in the same quotes.
[[nodiscard]] std::string with_value(std::string_view body, const KeyValue& found,
                                     std::string_view value);

/// Lines with some of them exchanged, commented out or taken away. What is done to a line that was
/// changed already is not done.
class LineEditor {
  public:
    explicit LineEditor(std::string_view text);

    [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }
    [[nodiscard]] bool is_changed(std::size_t i) const { return bodies_[i].has_value(); }

    void replace(std::size_t i, std::string body);
    void comment_out(std::size_t i);
    void remove(std::size_t i);
    /// A line of its own before line `i`.
    void insert(std::size_t i, std::string body);

    /// The text as it is now; the changes are in the order of its lines.
    [[nodiscard]] EditedText take();

  private:
    void note(std::size_t i, std::string text);

    std::vector<Line> lines_;
    std::vector<std::optional<std::string>> bodies_;
    std::vector<std::optional<std::string>> inserted_;
    std::vector<std::size_t> removed_;
    std::vector<TextChange> changes_;
};

}  // namespace amilift::image
