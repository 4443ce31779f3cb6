// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "image/kernel_arguments.hpp"
#include "image/text_lines.hpp"

/// What the editors of grub2_edit.hpp share.
namespace amilift::image::grub2_edit_detail {

inline std::size_t skip_blanks(std::string_view text, std::size_t at) {
    return std::min(text.find_first_not_of(kBlanks, at), text.size());
}

inline std::size_t skip_word(std::string_view text, std::size_t at) {
    return std::min(text.find_first_of(kBlanks, at), text.size());
}

/// Arguments of an entry can be kept in this variable, for all entries at once: $kernelopts,
/// ${kernelopts}, ${default_kernelopts}. Not in the value of another argument, which can be
/// replaced.
inline bool refers_to_kernelopts(std::string_view arguments) {
    return std::ranges::any_of(kernel_arguments(arguments), [](const KernelArgument& argument) {
        const auto text = argument.text.substr(argument.text.starts_with('"') ? 1 : 0);
        return text.starts_with('$') && text.find('=') == std::string_view::npos &&
               text.find("kernelopts") != std::string_view::npos;
    });
}

/// `arguments` are what stands behind a kernel's name, with the blank before them.
inline std::string edit_entry(std::string_view arguments, const ArgumentEdit& edit,
                              std::span<const WantedArgument> wanted, bool has_initrd) {
    const bool shared = refers_to_kernelopts(arguments);
    auto out =
        edit_arguments(arguments, edit, wanted, shared ? WhenNoConsole::keep : WhenNoConsole::add,
                       shared ? WhenNoArgument::keep : WhenNoArgument::add, has_initrd);
    if (out != arguments && !out.empty() && !is_blank(out.front())) out.insert(0, " ");
    return out;
}

/// Copies the text line by line, with a few bodies exchanged.
class Output {
  public:
    void keep(const Line& line) {
        result_.text += line.body;
        result_.text += line.ending;
    }
    void replace(const Line& line, std::string_view body, std::string what) {
        result_.text += body;
        result_.text += line.ending;
        result_.changes.push_back({line.number, std::move(what)});
    }
    /// A line behind all others.
    void append(int number, std::string_view body) {
        if (!result_.text.empty() && !result_.text.ends_with('\n')) result_.text += '\n';
        result_.text += body;
        result_.text += '\n';
        result_.changes.push_back({number, fmt::format("add '{}'", printable(body, 400))});
    }
    [[nodiscard]] EditedText take() { return std::move(result_); }

  private:
    EditedText result_;
};

}  // namespace amilift::image::grub2_edit_detail
