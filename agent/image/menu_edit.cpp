// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

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
                                 (body[end] >= '0' && body[end] <= '9'))) {
        ++end;
    }
    if (end == begin || end == body.size() || body[end] != '=') return std::nullopt;
    return Template{body.substr(begin, end - begin), end + 1};
}

bool is_options_template(std::string_view key) {
    return key.starts_with("kopt") || key.starts_with("xenkopt") || key == "defoptions" ||
           key == "altoptions" || key == "xenhopt";
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Each "(hd0)", also with blanks inside or in capitals, becomes "(hd0,0)".
std::string name_first_partition(std::string_view text) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        if (text[at] == '(') {
            const auto name = menu_detail::next_word(text, at + 1);
            const auto close = menu_detail::next_word(text, std::min(name + 3, text.size()));
            if (close < text.size() && text[close] == ')' && lower(text[name]) == 'h' &&
                lower(text[name + 1]) == 'd' && text[name + 2] == '0') {
                out += "(hd0,0)";
                at = close + 1;
                continue;
            }
        }
        out += text[at++];
    }
    return out;
}

/// What differs between two lines, without the words that both begin and end with.
std::string difference(std::string_view before, std::string_view after) {
    auto old_words = split_words(before);
    auto new_words = split_words(after);
    while (!old_words.empty() && !new_words.empty() && old_words.back() == new_words.back()) {
        old_words.pop_back();
        new_words.pop_back();
    }
    std::size_t same = 0;
    while (same < old_words.size() && same < new_words.size() &&
           old_words[same] == new_words[same]) {
        ++same;
    }
    const auto joined = [same](const std::vector<std::string_view>& words) {
        return fmt::format(
            "{}", fmt::join(words.begin() + static_cast<std::ptrdiff_t>(same), words.end(), " "));
    };
    const auto removed = printable(joined(old_words), 400);
    const auto added = printable(joined(new_words), 400);
    if (removed.empty()) return fmt::format("add '{}'", added);
    if (added.empty()) return fmt::format("remove '{}'", removed);
    return fmt::format("'{}' -> '{}'", removed, added);
}

class Editor {
  public:
    Editor(std::string_view text, const MenuEdit& edit)
        : edit_(edit), menu_(parse_menu(text)), lines_(menu_detail::split_menu(text)) {}

    MenuResult run() {
        study();
        for (auto& line : lines_) edit_line(line);
        set_default();
        MenuResult result;
        for (const auto& line : lines_) {
            result.text += line.body;
            result.text += line.ending;
        }
        result.changes = std::move(changes_);
        return result;
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
        for (const auto& line : lines_) {
            const auto found = template_of(line.body);
            if (!found || (!found->key.starts_with("kopt") && found->key != "defoptions")) continue;
            if (last_value(std::string_view(line.body).substr(found->value_at), "console")) {
                templates_name_console_ = true;
            }
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
        if (after != rest) reason = difference(rest, after);
        if (line.continued) {
            reason += fmt::format("{}join {} continued line(s)", reason.empty() ? "" : ", ",
                                  line.line_count);
        }
        if (reason.empty()) return;
        changes_.push_back({line.number, fmt::format("{}: {}", printable(what, 40), reason)});
        line.body = std::string(kept) + after;
        // What stood behind this backslash is gone: it must not join the next line now.
        if (line.body.ends_with('\\') && !line.ending.empty()) line.body += ' ';
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

        std::string arguments = out.substr(split);
        const bool is_linux = !entry.initrd.empty() || last_value(arguments, "root").has_value();
        arguments = with_consoles(arguments, is_linux ? WhenNoConsole::add : WhenNoConsole::keep);
        if (edit_.root_argument && !entry.initrd.empty()) {
            arguments =
                replace_root_argument(arguments, edit_.old_root_devices, *edit_.root_argument);
        }
        return out.substr(0, split) + arguments;
    }

    /// `arguments` begin with the blank behind the kernel's name, if there are any.
    [[nodiscard]] std::string with_consoles(std::string_view arguments, WhenNoConsole when) const {
        if (trim(arguments).empty() && when == WhenNoConsole::add && !edit_.consoles.empty()) {
            return " " + replace_pv_consoles({}, edit_.consoles, when) + std::string(arguments);
        }
        return replace_pv_consoles(arguments, edit_.consoles, when);
    }

    [[nodiscard]] std::string edited_template(const Template& found, std::string_view value) const {
        if (found.key == "groot" && edit_.whole_disk_to_first_partition) {
            return name_first_partition(value);
        }
        if (!is_options_template(found.key)) return std::string(value);
        const bool add = found.key == "kopt" && !templates_name_console_;
        auto out = replace_pv_consoles(value, edit_.consoles,
                                       add ? WhenNoConsole::add : WhenNoConsole::keep);
        if (edit_.root_argument && all_have_initrd_) {
            out = replace_root_argument(out, edit_.old_root_devices, *edit_.root_argument);
        }
        return out;
    }

    void set_default() {
        if (!edit_.default_entry || *edit_.default_entry >= menu_.entries.size()) return;
        if (default_entry(menu_) == edit_.default_entry && !menu_.default_saved) return;
        const auto wanted = fmt::format("{}", *edit_.default_entry);
        MenuLine* last_default = nullptr;
        std::size_t first_title = 0;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            const auto command = menu_detail::command_of(lines_[i].body);
            if (command && command->name == "title") {
                first_title = i;
                break;
            }
            if (command && command->name == "default") last_default = &lines_[i];
        }
        if (last_default != nullptr) {
            auto& body = last_default->body;
            const auto at = menu_detail::command_of(body)->arguments_at;
            const auto value = std::string(trim(std::string_view(body).substr(at)));
            const bool bare = at == body.size() && !body.ends_with('=') && !body.ends_with(' ');
            body = body.substr(0, at) + (bare ? " " : "") + wanted;
            add_in_order({last_default->number,
                          fmt::format("default: '{}' -> '{}'", printable(value, 40), wanted)});
            return;
        }
        const auto& title = lines_[first_title];
        MenuLine line{title.number, 1, false, "default " + wanted, title.ending};
        if (line.ending.empty()) line.ending = "\n";
        add_in_order(
            {title.number, fmt::format("add 'default {}' before the first title", wanted)});
        lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(first_title), std::move(line));
    }

    /// The lines are edited from top to bottom, and the default last.
    void add_in_order(TextChange change) {
        const auto behind = std::ranges::upper_bound(changes_, change.line, {}, &TextChange::line);
        changes_.insert(behind, std::move(change));
    }

    const MenuEdit& edit_;
    Menu menu_;
    std::vector<MenuLine> lines_;
    std::vector<TextChange> changes_;
    std::size_t entry_ = 0;  ///< number of titles seen
    bool all_have_initrd_ = false;
    bool templates_name_console_ = false;
};

}  // namespace

MenuResult edit_menu(std::string_view text, const MenuEdit& edit) {
    return Editor(text, edit).run();
}

}  // namespace amilift::image
