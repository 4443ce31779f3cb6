// SPDX-License-Identifier: Apache-2.0
#include "image/grub_environment.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "image/text_lines.hpp"

namespace amilift::image::grub_script {
namespace {

/// Bytes of words that may be made.
constexpr std::size_t kWorkLimit = std::size_t{32} << 20;
constexpr std::size_t kVariableBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxVariables = 1024;

/// What stands outside of quotes is cut at blanks.
void split(std::string_view value, std::string& text, bool& is_word,
           std::vector<std::string>& out) {
    for (const char c : value) {
        if (c == ' ' || c == '\t' || c == '\n') {
            if (is_word) out.push_back(std::move(text));
            text.clear();
            is_word = false;
        } else {
            text += c;
            is_word = true;
        }
    }
}

}  // namespace

bool Environment::spend(std::size_t bytes) {
    spent_ += bytes + 1;
    if (spent_ > kWorkLimit) is_spent_ = true;
    return !is_spent_;
}

const std::string& Environment::get(std::string_view name) const {
    static const std::string empty;
    const auto found = variables_.values.find(name);
    return found == variables_.values.end() ? empty : found->second;
}

void Environment::set(const std::string& name, std::string_view value) {
    if (value.size() > kVariableBytes || variables_.values.size() >= kMaxVariables ||
        !spend(value.size())) {
        is_spent_ = true;
        return;
    }
    variables_.values[name] = std::string(value);
}

void Environment::assign(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos) return;
    set(std::string(assignment.substr(0, equals)), assignment.substr(equals + 1));
}

void Environment::export_all() {
    for (const auto& [name, value] : variables_.values) variables_.exported.insert(name);
}

void Environment::keep_exported() {
    std::erase_if(variables_.values, [this](const auto& variable) {
        return !variables_.exported.contains(variable.first);
    });
}

Variables Environment::save() {
    std::size_t bytes = 0;
    for (const auto& [name, value] : variables_.values) bytes += name.size() + value.size();
    return spend(bytes) ? variables_ : Variables{};
}

void Environment::expand(const Word& word, std::vector<std::string>& out) {
    std::string text;
    bool is_word = false;
    for (const auto& piece : word) {
        const auto value = piece.is_variable ? value_of(piece.text) : piece.text;
        if (!spend(value.size())) return;
        if (piece.is_variable && !piece.is_quoted) {
            split(value, text, is_word, out);
            continue;
        }
        text += value;
        is_word = is_word || piece.is_quoted || !value.empty();
    }
    if (is_word) out.push_back(std::move(text));
}

std::vector<std::string> Environment::expand_line(std::string_view line) const {
    std::vector<std::string> out;
    for (const auto word : split_words(line)) {
        if (!word.starts_with('$')) {
            out.emplace_back(word);
            continue;
        }
        auto name = word.substr(1);
        if (name.starts_with('{') && name.ends_with('}')) {
            name.remove_prefix(1);
            name.remove_suffix(1);
        }
        for (const auto part : split_words(get(name))) out.emplace_back(part);
    }
    return out;
}

std::string Environment::value_of(const std::string& name) const {
    if (name == "?") return status_ ? "0" : "1";
    if (arguments_.empty()) return get(name);
    const auto& arguments = arguments_.back();
    if (name.size() == 1 && name[0] >= '1' && name[0] <= '9') {
        const auto index = static_cast<std::size_t>(name[0] - '1');
        return index < arguments.size() ? arguments[index] : std::string();
    }
    if (name == "#") return std::to_string(arguments.size());
    if (name == "@" || name == "*") return fmt::format("{}", fmt::join(arguments, " "));
    return get(name);
}

}  // namespace amilift::image::grub_script
