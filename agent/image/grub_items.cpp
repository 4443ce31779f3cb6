// SPDX-License-Identifier: Apache-2.0
#include "image/grub_items.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "image/text_lines.hpp"

namespace amilift::image::grub_script {
namespace {

std::string doubled(std::string_view text) {
    std::string out;
    for (const char c : text) out += c == '>' ? ">>" : std::string(1, c);
    return out;
}
std::optional<std::string_view> rest_of(std::string_view name, std::string_view text) {
    const auto size = doubled(text).size();
    if (name.size() <= size || name[size] != '>') return std::nullopt;
    if (name.size() > size + 1 && name[size + 1] == '>') return std::nullopt;
    return name.substr(size + 1);
}

/// Is `text` all of `name`, or all of it before a single '>'? A '>' of its own is doubled.
bool leads(std::string_view text, std::string_view name) {
    return name == doubled(text) ||
           (name.starts_with(doubled(text)) && rest_of(name, text).has_value());
}
/// The part of a choice behind the item's own name or number: "1>2" leaves "2".
std::string_view below(std::string_view name, const MenuItem& item) {
    for (const auto& text : {item.id, item.title}) {
        if (const auto rest = rest_of(name, text); rest && !text.empty()) return *rest;
    }
    const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
    return digits > 0 && digits < name.size() && name[digits] == '>' ? name.substr(digits + 1)
                                                                     : std::string_view{};
}

}  // namespace

std::optional<std::size_t> find_item(const std::vector<MenuItem>& items, std::string_view name) {
    const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits > 0 && (digits == name.size() || name[digits] == '>')) {
        const std::string text(name.substr(0, digits));
        std::size_t number = 0;
        const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool is_there = end.ec == std::errc() && number < items.size();
        return is_there ? std::optional(number) : std::nullopt;
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (!items[i].id.empty() && leads(items[i].id, name)) return i;
        if (leads(items[i].title, name)) return i;
    }
    return std::nullopt;
}

std::optional<std::size_t> follow(const std::vector<MenuItem>& top, std::string_view name) {
    const auto* items = &top;
    while (!items->empty()) {
        const auto& item = (*items)[find_item(*items, name).value_or(0)];
        if (item.entry) return item.entry;
        name = below(name, item);
        items = &item.items;
    }
    return std::nullopt;
}

void name_choices(const std::vector<MenuItem>& items, const std::string& above,
                  std::vector<BootEntry>& entries) {
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto& item = items[i];
        const auto& name = item.id.empty() ? item.title : item.id;
        const bool is_plain = std::ranges::all_of(name, [](char c) {
            return c >= ' ' && c <= '~' &&
                   std::string_view("\"'`$\\>#;").find(c) == std::string_view::npos;
        });
        const bool is_name = is_plain && name == trim(name) && find_item(items, name) == i;
        const auto choice = above + (is_name ? name : fmt::format("{}", i));
        if (item.entry) entries[*item.entry].choice = choice;
        name_choices(item.items, choice + ">", entries);
    }
}

}  // namespace amilift::image::grub_script
