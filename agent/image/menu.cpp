// SPDX-License-Identifier: Apache-2.0
#include "image/menu.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "image/menu_lines.hpp"

namespace amilift::image {

namespace {

using menu_detail::next_word;
using menu_detail::word_end;

/// A number as GRUB 2 reads it at the begin of a word: 0x1f, 017 and 15; what follows is ignored.
std::optional<std::size_t> number_of(std::string_view text) {
    unsigned base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        base = 8;
    }
    std::size_t value = 0;
    bool any = false;
    for (const char c : text) {
        unsigned digit = 99;
        if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
        if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
        if (c >= 'A' && c <= 'F') digit = static_cast<unsigned>(c - 'A') + 10;
        if (digit >= base) break;
        if (value > (std::numeric_limits<std::uint32_t>::max() - digit) / base) return std::nullopt;
        value = value * base + digit;
        any = true;
    }
    if (!any) return std::nullopt;
    return value;
}

/// "(hd0,1)/boot/x" -> {"(hd0,1)", "/boot/x"}; without a prefix the device is empty.
std::pair<std::string, std::string> split_device(std::string_view file) {
    const auto close = file.starts_with('(') ? file.find(')') : std::string_view::npos;
    if (close == std::string_view::npos) return {"", std::string(file)};
    return {std::string(file.substr(0, close + 1)), std::string(file.substr(close + 1))};
}

void read_entry_line(MenuEntry& entry, std::string_view body, const menu_detail::Command& command,
                     int number) {
    const auto first = next_word(body, command.arguments_at);
    const auto word = body.substr(first, word_end(body, first) - first);
    if (command.name == "root" || command.name == "rootnoverify") {
        entry.root = word;
    } else if (command.name == "kernel") {
        const auto at = menu_detail::kernel_file_at(body, command.arguments_at);
        const auto end = word_end(body, at);
        std::tie(entry.kernel_device, entry.kernel) = split_device(body.substr(at, end - at));
        entry.arguments = trim(body.substr(end));
        entry.kernel_line = number;
    } else if (command.name == "initrd") {
        std::tie(entry.initrd_device, entry.initrd) = split_device(word);
        entry.initrd_line = number;
    } else if (command.name == "module" || command.name == "modulenounzip") {
        entry.is_multiboot = true;
    }
}

}  // namespace

Menu parse_menu(std::string_view text) {
    Menu menu;
    std::string_view default_text;
    const auto lines = menu_detail::split_menu(text);
    for (const auto& line : lines) {
        const std::string_view body = line.body;
        const auto command = menu_detail::command_of(body);
        if (!command) continue;
        const auto arguments = trim(body.substr(command->arguments_at));
        if (command->name == "title") {
            MenuEntry entry;
            entry.title = arguments;
            entry.line = line.number;
            menu.entries.push_back(std::move(entry));
        } else if (!menu.entries.empty()) {
            read_entry_line(menu.entries.back(), body, *command, line.number);
        } else if (command->name == "default") {
            default_text = arguments;
        } else if (command->name == "fallback") {
            menu.fallback.clear();
            for (const auto word : split_words(arguments)) {
                if (const auto number = number_of(word)) menu.fallback.push_back(*number);
            }
        } else if (command->name == "timeout") {
            const auto seconds = number_of(arguments).value_or(0);
            constexpr std::size_t kMost = std::numeric_limits<int>::max();
            menu.timeout_seconds = static_cast<int>(std::min(seconds, kMost));
        } else if (command->name == "password") {
            menu.has_password = true;
        }
    }
    if (default_text == "saved") {
        menu.default_saved = true;
    } else if (const auto number = number_of(default_text)) {
        menu.default_entry = number;
    } else if (!default_text.empty()) {
        const auto named = std::ranges::find(menu.entries, default_text, &MenuEntry::title);
        if (named != menu.entries.end()) {
            menu.default_entry = static_cast<std::size_t>(named - menu.entries.begin());
        }
    }
    return menu;
}

std::optional<std::size_t> default_entry(const Menu& menu) {
    if (menu.entries.empty()) return std::nullopt;
    const auto wanted = menu.default_entry.value_or(0);
    return wanted < menu.entries.size() ? wanted : 0;
}

}  // namespace amilift::image
