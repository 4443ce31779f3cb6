// SPDX-License-Identifier: Apache-2.0
#include "image/line_editor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

namespace amilift::image {

std::size_t indent_of(std::string_view body) {
    return std::min(body.find_first_not_of(kSpaces), body.size());
}

bool is_comment(std::string_view body) {
    const auto at = indent_of(body);
    return at == body.size() || body[at] == '#' || body[at] == ';';
}

std::string_view unquoted(std::string_view text) {
    if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
        text.back() == text.front()) {
        text.remove_prefix(1);
        text.remove_suffix(1);
    }
    return text;
}

bool is_mac(std::string_view text) {
    if (text.size() != 17) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool separator = i % 3 == 2;
        if (separator ? text[i] != ':' && text[i] != '-'
                      : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) {
            return false;
        }
    }
    return true;
}

bool is_numbered(std::string_view key, std::string_view base) {
    if (!key.starts_with(base)) return false;
    key.remove_prefix(base.size());
    return std::ranges::all_of(key, [](char c) { return c == '_' || (c >= '0' && c <= '9'); });
}

std::optional<KeyValue> key_value(std::string_view body) {
    if (is_comment(body)) return std::nullopt;
    const auto equals = body.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    KeyValue out;
    out.key = trim(body.substr(0, equals));
    out.value_at = std::min(body.find_first_not_of(kSpaces, equals + 1), body.size());
    auto rest = body.substr(out.value_at);
    if (!rest.empty() && (rest.front() == '"' || rest.front() == '\'')) {
        const auto close = rest.find(rest.front(), 1);
        rest = rest.substr(0, close == std::string_view::npos ? rest.size() : close + 1);
    } else {
        rest = trim(rest.substr(0, rest.find(" #")));
    }
    out.value_size = rest.size();
    out.value = unquoted(rest);
    return out;
}

std::string with_value(std::string_view body, const KeyValue& found, std::string_view value) {
    const auto raw = body.substr(found.value_at, found.value_size);
    const bool quoted = raw.size() != found.value.size();
    const auto quote = quoted ? raw.substr(0, 1) : std::string_view();
    return fmt::format("{}{}{}{}{}", body.substr(0, found.value_at), quote, value, quote,
                       body.substr(found.value_at + found.value_size));
}

LineEditor::LineEditor(std::string_view text) : lines_(split_lines(text)) {
    bodies_.resize(lines_.size());
    inserted_.resize(lines_.size());
}

void LineEditor::replace(std::size_t i, std::string body) {
    if (bodies_[i] || body == lines_[i].body) return;
    note(i, fmt::format("'{}' -> '{}'", printable(trim(lines_[i].body), 80),
                        printable(trim(body), 80)));
    bodies_[i] = std::move(body);
}

void LineEditor::comment_out(std::size_t i) {
    if (bodies_[i]) return;
    const auto at = indent_of(lines_[i].body);
    note(i, fmt::format("comment out '{}'", printable(trim(lines_[i].body), 80)));
    bodies_[i] = fmt::format("{}#{}", lines_[i].body.substr(0, at), lines_[i].body.substr(at));
}

void LineEditor::remove(std::size_t i) {
    if (bodies_[i]) return;
    note(i, fmt::format("remove '{}'", printable(trim(lines_[i].body), 120)));
    bodies_[i].emplace();
    removed_.push_back(i);
}

void LineEditor::insert(std::size_t i, std::string body) {
    note(i, fmt::format("add '{}'", printable(trim(body), 80)));
    inserted_[i] = std::move(body);
}

EditedText LineEditor::take() {
    EditedText out;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
        if (inserted_[i]) {
            out.text += *inserted_[i];
            out.text += lines_[i].ending.ends_with('\n') ? lines_[i].ending : "\n";
        }
        if (std::ranges::find(removed_, i) != removed_.end()) continue;
        out.text += bodies_[i] ? std::string_view(*bodies_[i]) : lines_[i].body;
        out.text += lines_[i].ending;
    }
    // Not std::stable_sort: clang rejects libstdc++ 12's for its deprecated temporary buffer.
    std::vector<std::size_t> order(changes_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(changes_[i].line, i); });
    for (const auto i : order) out.changes.push_back(std::move(changes_[i]));
    return out;
}

void LineEditor::note(std::size_t i, std::string text) {
    changes_.push_back({lines_[i].number, std::move(text)});
}

}  // namespace amilift::image
