// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/text_lines.hpp"

namespace amilift::image::menu_detail {

/// A line of a menu as GRUB 0.97 reads it: continued lines are one.
struct MenuLine {
    int number = 0;          ///< 1-based number of its first physical line
    int line_count = 1;      ///< physical lines
    bool continued = false;  ///< a backslash at a line end is a space now
    std::string body;        ///< without ending; "\\\n" replaced by a space
    std::string ending;      ///< as in Line
};

[[nodiscard]] std::vector<MenuLine> split_menu(std::string_view text);

/// A command and where its arguments begin in the line's body.
struct Command {
    std::string_view name;
    std::size_t arguments_at = 0;
};

/// Absent for blank lines and comments. Between name and arguments stand blanks or '='.
[[nodiscard]] std::optional<Command> command_of(std::string_view body);

/// Skips the options of `kernel` (--type=linux, --no-mem-option): offset of the file name in the
/// body, body.size() if there is none.
[[nodiscard]] std::size_t kernel_file_at(std::string_view body, std::size_t arguments_at);

/// End of the word that begins at `at`.
[[nodiscard]] std::size_t word_end(std::string_view body, std::size_t at);

/// Begin of the next word at or after `at`; body.size() if there is none.
[[nodiscard]] std::size_t next_word(std::string_view body, std::size_t at);

/// The lines of a menu while they are edited, and what was done to them.
class MenuText {
  public:
    explicit MenuText(std::string_view text);

    [[nodiscard]] std::vector<MenuLine>& lines() { return lines_; }

    /// Gives `line`, one of lines(), another body; `change` says so to people.
    void replace(MenuLine& line, std::string body, std::string change);

    /// Changes the value of the last command `name` before the first title, or adds one there.
    void set_global(std::string_view name, std::string_view value);

    /// The text as it is now; the changes are in the order of its lines.
    [[nodiscard]] EditedText take();

  private:
    void note(TextChange change);

    std::vector<MenuLine> lines_;
    std::vector<TextChange> changes_;
};

}  // namespace amilift::image::menu_detail
