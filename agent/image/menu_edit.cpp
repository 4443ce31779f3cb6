// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/text.hpp"
#include "image/kernel_arguments.hpp"
#include "image/menu.hpp"
#include "image/menu_lines.hpp"

namespace amilift::image {

namespace {

using menu_detail::Command;
using menu_detail::MenuLine;

/// Commands whose (hd0) means the filesystem. Not here: map, setup, install, geometry, partnew and
/// the like, whose (hd0) means the disk.
constexpr std::array<std::string_view, 16> kFilesystemCommands{
    "root",        "rootnoverify", "kernel",  "initrd",  "module", "modulenounzip",
    "splashimage", "configfile",   "gfxmenu", "cat",     "cmp",    "chainloader",
    "password",    "blocklist",    "find",    "testload"};

/// update-grub of Debian keeps its options in comments of this form.
struct Template {
    std::string_view key;
    std::size_t value_at = 0;
};

std::optional<Template> template_of(std::string_view body) {
    const auto hash = menu_detail::next_word(body, 0);
    if (hash == body.size() || body[hash] != '#') return std::nullopt;
    const auto begin = menu_detail::next_word(body, hash + 1);
    auto end = begin;
    while (end < body.size() && (body[end] == '_' || (body[end] >= 'a' && body[end] <= 'z') ||
                                 core::is_digit(body[end]))) {
        ++end;
    }
    if (end == begin || end == body.size() || body[end] != '=') return std::nullopt;
    return Template{body.substr(begin, end - begin), end + 1};
}

bool is_options_template(std::string_view key) {
    return key.starts_with("kopt") || key.starts_with("xenkopt") || key == "defoptions" ||
           key == "altoptions" || key == "xenhopt";
}

/// Each "(hd0)", also with blanks inside or in capitals, becomes "(hd0,0)".
std::string name_first_partition(std::string_view text) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        if (text[at] == '(') {
            const auto name = menu_detail::next_word(text, at + 1);
            const auto close = menu_detail::next_word(text, std::min(name + 3, text.size()));
            if (close < text.size() && text[close] == ')' &&
                core::lower(text.substr(name, 3)) == "hd0") {
                out += "(hd0,0)";
                at = close + 1;
                continue;
            }
        }
        out += text[at++];
    }
    return out;
}

class Editor {
  public:
    Editor(std::string_view text, const MenuEdit& edit)
        : edit_(edit), menu_(parse_menu(text)), text_(text) {}

    EditedText run() {
        study();
        for (auto& line : text_.lines()) edit_line(line);
        if (edit_.default_entry && *edit_.default_entry < menu_.entries.size() &&
            (default_entry(menu_) != edit_.default_entry || menu_.default_saved)) {
            text_.set_global("default", fmt::format("{}", *edit_.default_entry));
        }
        return text_.take();
    }

  private:
    /// What an edit of a template must know of the whole menu.
    void study() {
        bool any_with_initrd = false;
        bool any_without = false;
        for (const auto& entry : menu_.entries) {
            if (entry.is_multiboot || entry.kernel.empty()) continue;
            if (!entry.initrd.empty()) {
                any_with_initrd = true;
            } else if (last_value(entry.arguments, "root")) {
                any_without = true;
            }
        }
        all_have_initrd_ = any_with_initrd && !any_without;
        for (const auto& line : text_.lines()) {
            const auto found = template_of(line.body);
            if (!found || (!found->key.starts_with("kopt") && found->key != "defoptions")) continue;
            const auto value = std::string_view(line.body).substr(found->value_at);
            if (last_value(value, "console")) templates_name_console_ = true;
            if (found->key == "defoptions") default_options_ += fmt::format(" {}", value);
        }
    }

    void edit_line(MenuLine& line) {
        const std::string before = line.body;
        std::string_view what = "comment";
        std::string_view kept = before;  // the name and what else is not edited
        std::string after;
        if (const auto command = menu_detail::command_of(before)) {
            what = command->name;
            if (what == "title") {
                ++entry_;
            } else {
                kept = kept.substr(0, command->arguments_at);
                after = edited_arguments(before, *command);
            }
        } else if (const auto found = template_of(before)) {
            what = found->key;
            kept = kept.substr(0, found->value_at);
            after = edited_template(*found, std::string_view(before).substr(found->value_at));
        }
        std::string reason;
        const auto rest = std::string_view(before).substr(kept.size());
        if (after != rest) reason = describe_difference(rest, after);
        if (line.continued) {
            reason += fmt::format("{}join {} continued line(s)", reason.empty() ? "" : ", ",
                                  line.line_count);
        }
        if (reason.empty()) return;
        text_.replace(line, std::string(kept) + after,
                      fmt::format("{}: {}", printable(what, 40), reason));
    }

    [[nodiscard]] std::string edited_arguments(std::string_view body,
                                               const Command& command) const {
        std::string out(body.substr(command.arguments_at));
        if (edit_.whole_disk_to_first_partition &&
            std::ranges::find(kFilesystemCommands, command.name) != kFilesystemCommands.end()) {
            out = name_first_partition(out);
        }
        if (command.name != "kernel" || entry_ == 0) return out;
        const MenuEntry& entry = menu_.entries[entry_ - 1];
        const auto file = menu_detail::kernel_file_at(out, 0);
        const auto split = menu_detail::word_end(out, file);
        if (entry.is_multiboot || split == file) return out;

        const bool has_initrd = !entry.initrd.empty();
        const auto arguments = std::string_view(out).substr(split);
        const bool is_linux = has_initrd || last_value(arguments, "root").has_value();
        const auto wanted =
            is_linux ? edit_.arguments_of(entry.kernel) : std::span<const WantedArgument>();
        auto edited = edit_arguments(arguments, edit_, wanted,
                                     is_linux ? WhenNoConsole::add : WhenNoConsole::keep,
                                     WhenNoArgument::add, has_initrd);
        // A kernel line without arguments has no blank behind the kernel's name.
        if (trim(arguments).empty() && edited != arguments) edited.insert(0, " ");
        return out.substr(0, split) + edited;
    }

    [[nodiscard]] std::string edited_template(const Template& found, std::string_view value) const {
        if (found.key == "groot" && edit_.whole_disk_to_first_partition) {
            return name_first_partition(value);
        }
        if (!is_options_template(found.key)) return std::string(value);
        const bool add_consoles = found.key == "kopt" && !templates_name_console_;
        const bool is_kopt = found.key.starts_with("kopt");
        std::vector<WantedArgument> wanted = edit_.later_kernels;
        // What is told to every kernel already is not told twice.
        if (is_kopt) {
            std::erase_if(wanted, [this](const WantedArgument& want) {
                return last_value(default_options_, want.key).has_value();
            });
        }
        return edit_arguments(
            value, edit_, wanted, add_consoles ? WhenNoConsole::add : WhenNoConsole::keep,
            is_kopt ? WhenNoArgument::add : WhenNoArgument::keep, all_have_initrd_);
    }

    const MenuEdit& edit_;
    Menu menu_;
    menu_detail::MenuText text_;
    std::size_t entry_ = 0;  ///< number of titles seen
    bool all_have_initrd_ = false;
    bool templates_name_console_ = false;
    std::string default_options_;  ///< of `# defoptions=` before the edit
};

}  // namespace

EditedText edit_menu(std::string_view text, const MenuEdit& edit) {
    return Editor(text, edit).run();
}

}  // namespace amilift::image
