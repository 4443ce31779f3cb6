// SPDX-License-Identifier: Apache-2.0
#include "image/text_lines.hpp"

#include <fmt/format.h>

#include "core/printable.hpp"

namespace amilift::image {

std::vector<Line> split_lines(std::string_view text) {
    std::vector<Line> lines;
    int number = 0;
    while (!text.empty()) {
        const auto newline = text.find('\n');
        const auto size = newline == std::string_view::npos ? text.size() : newline + 1;
        auto body_size = newline == std::string_view::npos ? text.size() : newline;
        while (body_size > 0 && text[body_size - 1] == '\r') --body_size;
        lines.push_back(
            {++number, text.substr(0, body_size), text.substr(body_size, size - body_size)});
        text.remove_prefix(size);
    }
    return lines;
}

std::string printable(std::string_view text, std::size_t limit) {
    auto out = core::printable(text.substr(0, limit));
    if (text.size() > limit) out += "...";
    return out;
}

std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> words;
    std::size_t at = text.find_first_not_of(kBlanks);
    while (at != std::string_view::npos) {
        const auto end = std::min(text.find_first_of(kBlanks, at), text.size());
        words.push_back(text.substr(at, end - at));
        at = text.find_first_not_of(kBlanks, end);
    }
    return words;
}

std::string_view trim(std::string_view text) {
    const auto begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string describe_difference(std::string_view before, std::string_view after) {
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

std::string describe_edit(std::string_view path, const std::vector<TextChange>& changes) {
    std::string out = fmt::format("edit {}:", printable(path));
    for (const auto& change : changes) {
        out += fmt::format("{}line {}: {}", changes.size() == 1 ? " " : "\n    ", change.line,
                           change.text);
    }
    return out;
}

}  // namespace amilift::image
