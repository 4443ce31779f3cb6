// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace amilift::image {

/// One change that an edit makes, for people.
struct TextChange {
    int line = 0;      ///< 1-based line of the text before the edit
    std::string text;  ///< "root: (hd0) -> (hd0,0)"
};

/// A text after an edit.
struct EditedText {
    std::string text;
    std::vector<TextChange> changes;  ///< in order of lines; empty exactly if the text is the same
};

/// One line: `body` + `ending` is what stands in the text, byte for byte.
struct Line {
    int number = 0;  ///< 1-based
    std::string_view body;
    std::string_view ending;  ///< "\n", "\r\n"; at the end of a text without final newline "", "\r"
};

/// All lines of `text`; they point into it. No line for the nothing behind a final newline.
[[nodiscard]] std::vector<Line> split_lines(std::string_view text);

/// `text` for a message: as core::printable() shows it, cut to `limit` bytes with "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 200);

/// What stands between the words of a line: space, tab, CR, VT, FF.
inline constexpr std::string_view kBlanks = " \t\r\v\f";
[[nodiscard]] constexpr bool is_blank(char c) noexcept {
    return kBlanks.find(c) != std::string_view::npos;
}

/// Words between blanks; they point into `text`.
[[nodiscard]] std::vector<std::string_view> split_words(std::string_view text);

/// Without blanks at both ends.
[[nodiscard]] std::string_view trim(std::string_view text);

/// How one line of words became another, for people: "'console=hvc0' -> 'console=tty0'", "add 'x'",
/// "remove 'x'"; the words that both begin and end with are left out.
[[nodiscard]] std::string describe_difference(std::string_view before, std::string_view after);

/// "edit /etc/fstab: line 1: ...; line 4: ..." on one line, or, for more than one change, one
/// change per line below the first.
[[nodiscard]] std::string describe_edit(std::string_view path,
                                        const std::vector<TextChange>& changes);

}  // namespace amilift::image
