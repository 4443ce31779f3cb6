// SPDX-License-Identifier: Apache-2.0
#include "image/bls.hpp"

#include <algorithm>
#include <cctype>

#include "core/text.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

constexpr std::size_t kMaxFiles = 512;

using core::is_digit;

bool is_letter(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

/// The next run of digits or of letters; empty at the end.
std::string_view next_run(std::string_view& rest) {
    while (!rest.empty() && !is_digit(rest.front()) && !is_letter(rest.front())) {
        rest.remove_prefix(1);
    }
    if (rest.empty()) return {};
    const bool digits = is_digit(rest.front());
    std::size_t end = 0;
    while (end < rest.size() && (digits ? is_digit(rest[end]) : is_letter(rest[end]))) ++end;
    const auto run = rest.substr(0, end);
    rest.remove_prefix(end);
    return run;
}

}  // namespace

bool is_newer_version(std::string_view a, std::string_view b) {
    while (true) {
        auto left = next_run(a);
        auto right = next_run(b);
        if (left.empty() || right.empty()) return !left.empty();
        const bool number = is_digit(left.front());
        if (number != is_digit(right.front())) return number;
        if (number) {
            while (left.size() > 1 && left.front() == '0') left.remove_prefix(1);
            while (right.size() > 1 && right.front() == '0') right.remove_prefix(1);
            if (left.size() != right.size()) return left.size() > right.size();
        }
        if (left != right) return left > right;
    }
}

std::vector<std::string> bls_files(std::vector<std::string> names) {
    std::erase_if(names, [](const std::string& name) { return !name.ends_with(".conf"); });
    std::ranges::sort(names, [](const std::string& a, const std::string& b) {
        if (is_newer_version(a, b)) return true;
        return !is_newer_version(b, a) && a > b;
    });
    if (names.size() > kMaxFiles) names.resize(kMaxFiles);
    return names;
}

BlsEntry parse_bls_entry(std::string_view id, std::string_view text) {
    BlsEntry entry;
    entry.id = std::string(id);
    for (const auto& line : split_lines(text)) {
        const auto body = trim(line.body);
        const auto end = body.find_first_of(" \t");
        if (body.starts_with('#') || end == std::string_view::npos) continue;
        const auto key = body.substr(0, end);
        const auto value = trim(body.substr(end));
        if (key == "title") {
            entry.title = std::string(value);
        } else if (key == "linux") {
            entry.kernel = std::string(value);
            entry.kernel_line = line.number;
        } else if (key == "initrd") {
            for (const auto word : split_words(value)) entry.initrds.emplace_back(word);
            if (entry.initrd_line == 0) entry.initrd_line = line.number;
        } else if (key == "options") {
            if (!entry.options.empty()) entry.options += ' ';
            entry.options += value;
        }
    }
    if (entry.title.empty()) entry.title = entry.id;
    return entry;
}

}  // namespace amilift::image
