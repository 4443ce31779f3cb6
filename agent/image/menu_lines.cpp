// SPDX-License-Identifier: Apache-2.0
#include "image/menu_lines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace amilift::image::menu_detail {

std::vector<MenuLine> split_menu(std::string_view text) {
    std::vector<MenuLine> lines;
    bool joined = false;
    for (const auto& line : split_lines(text)) {
        if (joined) {
            lines.back().body += line.body;
            lines.back().ending = line.ending;
            ++lines.back().line_count;
        } else {
            lines.push_back(
                {line.number, 1, false, std::string(line.body), std::string(line.ending)});
        }
        joined = line.ending.ends_with('\n') && line.body.ends_with('\\');
        if (!joined) continue;
        lines.back().body.back() = ' ';
        lines.back().continued = true;
    }
    return lines;
}

std::size_t next_word(std::string_view body, std::size_t at) {
    while (at < body.size() && is_blank(body[at])) ++at;
    return at;
}

std::size_t word_end(std::string_view body, std::size_t at) {
    while (at < body.size() && !is_blank(body[at])) ++at;
    return at;
}

std::optional<Command> command_of(std::string_view body) {
    const auto begin = next_word(body, 0);
    if (begin == body.size() || body[begin] == '#') return std::nullopt;
    auto end = begin;
    while (end < body.size() && !is_blank(body[end]) && body[end] != '=') ++end;
    auto arguments = end;
    while (arguments < body.size() && (is_blank(body[arguments]) || body[arguments] == '=')) {
        ++arguments;
    }
    return Command{body.substr(begin, end - begin), arguments};
}

std::size_t kernel_file_at(std::string_view body, std::size_t arguments_at) {
    auto at = next_word(body, arguments_at);
    while (body.substr(at).starts_with("--")) at = next_word(body, word_end(body, at));
    return at;
}

MenuText::MenuText(std::string_view text) : lines_(split_menu(text)) {}

void MenuText::replace(MenuLine& line, std::string body, std::string change) {
    line.body = std::move(body);
    // What stood behind this backslash is gone: it must not join the next line now.
    if (line.body.ends_with('\\')) line.body += ' ';
    note({line.number, std::move(change)});
}

void MenuText::set_global(std::string_view name, std::string_view value) {
    MenuLine* last = nullptr;
    auto title = lines_.begin();
    for (; title != lines_.end(); ++title) {
        const auto command = command_of(title->body);
        if (command && command->name == "title") break;
        if (command && command->name == name) last = &*title;
    }
    if (last != nullptr) {
        const auto at = command_of(last->body)->arguments_at;
        const auto before = std::string(trim(std::string_view(last->body).substr(at)));
        auto head = last->body.substr(0, at);
        if (!head.ends_with('=') && !head.ends_with(' ') && !head.ends_with('\t')) head += ' ';
        replace(*last, head + std::string(value),
                fmt::format("{}: '{}' -> '{}'", name, printable(before, 40), value));
        return;
    }
    const bool at_end = title == lines_.end();
    MenuLine added{at_end ? static_cast<int>(lines_.size()) : title->number, 1, false,
                   fmt::format("{} {}", name, value), "\n"};
    if (!at_end && title->ending.ends_with('\n')) added.ending = title->ending;
    if (at_end && !lines_.empty() && !lines_.back().ending.ends_with('\n')) {
        auto& before = lines_.back();
        if (before.body.ends_with('\\')) before.body += ' ';
        before.ending += '\n';
    }
    note({added.number,
          fmt::format("add '{}'{}", added.body, at_end ? "" : " before the first title")});
    lines_.insert(title, std::move(added));
}

EditedText MenuText::take() {
    EditedText out;
    for (const auto& line : lines_) {
        out.text += line.body;
        out.text += line.ending;
    }
    out.changes = std::move(changes_);
    return out;
}

void MenuText::note(TextChange change) {
    const auto behind = std::ranges::upper_bound(changes_, change.line, {}, &TextChange::line);
    changes_.insert(behind, std::move(change));
}

}  // namespace amilift::image::menu_detail
