// SPDX-License-Identifier: Apache-2.0
#include "image/grub_commands.hpp"

#include <regex.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "image/text_lines.hpp"

namespace amilift::image::grub_script {
namespace {

using core::Result;

constexpr int kMaxDepth = 32;
constexpr std::size_t kArgumentBytes = std::size_t{16} << 10;

class Test {
  public:
    Test(const std::vector<std::string>& words, const StatusOf& status_of)
        : words_(words), status_of_(status_of) {}
    Result<bool> run() { return either(0); }

  private:
    [[nodiscard]] bool more() const { return at_ < words_.size(); }
    [[nodiscard]] bool is(std::string_view word) const { return more() && words_[at_] == word; }

    Result<bool> either(int depth) {
        AMILIFT_TRY(auto value, both(depth));
        while (is("-o")) {
            ++at_;
            AMILIFT_TRY(const auto right, both(depth));
            value = value || right;
        }
        return value;
    }
    Result<bool> both(int depth) {
        AMILIFT_TRY(auto value, one(depth));
        while (is("-a")) {
            ++at_;
            AMILIFT_TRY(const auto right, one(depth));
            value = value && right;
        }
        return value;
    }
    Result<bool> one(int depth) {
        if (!more() || depth > kMaxDepth) return false;
        if (is("!") && at_ + 1 < words_.size()) {
            ++at_;
            AMILIFT_TRY(const auto value, one(depth + 1));
            return !value;
        }
        if (is("(")) {
            ++at_;
            AMILIFT_TRY(const auto value, either(depth + 1));
            if (is(")")) ++at_;
            return value;
        }
        if (at_ + 2 < words_.size()) {
            if (const auto value = compare(words_[at_], words_[at_ + 1], words_[at_ + 2])) {
                at_ += 3;
                return *value;
            }
        }
        const auto& word = words_[at_++];
        if (word.size() == 2 && word[0] == '-' && more()) return ask(word[1], words_[at_++]);
        return !word.empty();
    }
    Result<bool> ask(char what, const std::string& operand) {
        if (what == 'z') return operand.empty();
        if (what == 'n') return !operand.empty();
        AMILIFT_TRY(const auto status, status_of_(operand));
        if (what == 'd') return status.kind == FileKind::directory;
        if (what == 'e') return status.kind != FileKind::missing;
        if (what == 's') return status.kind != FileKind::missing && status.size_bytes > 0;
        return what == 'f' && status.kind == FileKind::regular;
    }
    static std::optional<bool> compare(const std::string& a, std::string_view how,
                                       const std::string& b) {
        if (how == "=" || how == "==") return a == b;
        if (how == "!=") return a != b;
        if (how == "<") return a < b;
        if (how == ">") return a > b;
        if (how == "<=") return a <= b;
        if (how == ">=") return a >= b;
        const auto x = std::strtoll(a.c_str(), nullptr, 0);
        const auto y = std::strtoll(b.c_str(), nullptr, 0);
        if (how == "-eq") return x == y;
        if (how == "-ne") return x != y;
        if (how == "-lt") return x < y;
        if (how == "-le") return x <= y;
        if (how == "-gt") return x > y;
        if (how == "-ge") return x >= y;
        return std::nullopt;
    }

    const std::vector<std::string>& words_;
    const StatusOf& status_of_;
    std::size_t at_ = 1;
};

}  // namespace

core::Result<bool> run_test(const std::vector<std::string>& words, const StatusOf& status_of) {
    return Test(words, status_of).run();
}

Search parse_search(const std::vector<std::string>& words) {
    Search search;
    if (words[0].starts_with("search.")) {
        if (words[0] == "search.fs_uuid") search.what = SearchFor::uuid;
        if (words[0] == "search.file") search.what = SearchFor::file;
        if (words.size() > 1) search.name = words[1];
        search.variable = words.size() > 2 ? words[2] : "root";
        return search;
    }
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (word == "--fs-uuid" || word == "-u") {
            search.what = SearchFor::uuid;
        } else if (word == "--label" || word == "-l" || word == "--fs-label") {
            search.what = SearchFor::label;
        } else if (word == "--file" || word == "-f") {
            search.what = SearchFor::file;
        } else if (word == "--set" || word == "-s") {
            search.variable = "root";
        } else if (word.starts_with("--set=")) {
            search.variable = words[i].substr(6);
        } else if ((word.starts_with("--hint") && word.find('=') == std::string_view::npos) ||
                   word == "-h") {
            ++i;
        } else if (!word.starts_with('-') && search.name.empty()) {
            search.name = words[i];
        }
    }
    return search;
}

namespace {

/// May it be compiled and run in little time and memory? A back reference makes the search
/// exponential, a repeated group the compiled expression: regcomp(3) copies what is repeated, with
/// the copies inside of it.
bool is_cheap(std::string_view expression) {
    constexpr std::size_t kMaxBytes = 128;
    if (expression.size() > kMaxBytes) return false;
    bool is_escaped = false;
    char before = 0;
    for (const char c : expression) {
        if (c == '{' || (is_escaped && c >= '0' && c <= '9')) return false;
        const bool repeats = !is_escaped && (c == '+' || c == '*' || c == '?');
        if (repeats && std::string_view(")+*?").find(before) != std::string_view::npos) {
            return false;
        }
        // "\\)" is a letter.
        before = is_escaped ? 'x' : c;
        is_escaped = c == '\\' && !is_escaped;
    }
    return true;
}

}  // namespace

Match run_regexp(const std::vector<std::string>& words) {
    constexpr std::size_t kMaxTextBytes = 1024;
    constexpr std::size_t kMaxGroups = 10;
    std::vector<std::string> wanted;
    std::size_t at = 1;
    for (; at < words.size() && words[at].starts_with("-"); ++at) {
        if (words[at].starts_with("--set=")) {
            wanted.push_back(words[at].substr(6));
        } else if ((words[at] == "--set" || words[at] == "-s") && at + 1 < words.size()) {
            wanted.push_back(words[++at]);
        } else {
            return {};
        }
    }
    if (at + 2 != words.size()) return {};
    const auto& expression = words[at];
    const auto& text = words[at + 1];
    if (!is_cheap(expression) || text.size() > kMaxTextBytes) return {};
    regex_t compiled;
    if (::regcomp(&compiled, expression.c_str(), REG_EXTENDED) != 0) return {};
    std::array<regmatch_t, kMaxGroups> groups{};
    Match match;
    match.matches = ::regexec(&compiled, text.c_str(), groups.size(), groups.data(), 0) == 0;
    ::regfree(&compiled);
    if (!match.matches) return match;
    for (const auto& variable : wanted) {
        std::size_t number = 1;
        auto name = variable;
        if (const auto colon = variable.find(':'); colon != std::string::npos) {
            const auto* const end = variable.data() + colon;
            const auto read = std::from_chars(variable.data(), end, number);
            if (read.ec != std::errc() || read.ptr != end || number >= groups.size()) return {};
            name = variable.substr(colon + 1);
        }
        const auto& group = groups.at(number);
        if (group.rm_so < 0) continue;
        match.variables.emplace_back(
            std::move(name), text.substr(static_cast<std::size_t>(group.rm_so),
                                         static_cast<std::size_t>(group.rm_eo - group.rm_so)));
    }
    return match;
}

namespace {

/// Has the line a sign of GRUB's full syntax, outside of quotes and of "${name}"?
bool has_script_syntax(std::string_view line) {
    char quote = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (quote != 0) {
            if (c == quote) quote = 0;
        } else if (c == '\\') {
            ++i;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '$' && i + 1 < line.size() && line[i + 1] == '{') {
            i = std::min(line.find('}', i), line.size());
        } else if (std::string_view(";|&<>{}").find(c) != std::string_view::npos) {
            return true;
        }
    }
    return false;
}

}  // namespace

std::string rescue_commands(std::string_view text) {
    constexpr std::array<std::string_view, 16> kReserved{
        "if", "then", "elif",     "else",      "fi",      "for", "while", "until",
        "do", "done", "function", "menuentry", "submenu", "{",   "}",     "[["};
    std::string out;
    for (const auto& line : split_lines(text)) {
        const auto words = split_words(line.body);
        // Such a word is a command that it does not have, and a separator a part of a word.
        const bool is_known = !words.empty() &&
                              std::ranges::find(kReserved, words[0]) == kReserved.end() &&
                              !has_script_syntax(line.body);
        if (is_known) out += line.body;
        out += '\n';
    }
    return out;
}

ItemOptions parse_item(const std::vector<std::string>& words) {
    ItemOptions item;
    bool has_title = false;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (word == "--class" || word == "--users" || word == "--hotkey" || word == "--source") {
            ++i;
        } else if (word == "--id" && i + 1 < words.size()) {
            item.id = words[++i];
        } else if (word.starts_with("--id=")) {
            item.id = words[i].substr(5);
        } else if (!word.starts_with("--") && !has_title) {
            item.title = words[i];
            has_title = true;
        }
    }
    return item;
}

void append_argument(std::string& arguments, const std::string& word) {
    if (arguments.size() + word.size() > kArgumentBytes) return;
    if (!arguments.empty()) arguments += ' ';
    const bool quote = word.find(' ') != std::string::npos;
    if (quote) arguments += '"';
    arguments += word;
    if (quote) arguments += '"';
}

LoadEnv parse_load_env(const std::vector<std::string>& words, std::string default_file) {
    LoadEnv out{.file = std::move(default_file), .names = {}};
    for (std::size_t i = 1; i < words.size(); ++i) {
        if ((words[i] == "-f" || words[i] == "--file") && i + 1 < words.size()) {
            out.file = words[++i];
        } else if (words[i].starts_with("--file=")) {
            out.file = words[i].substr(7);
        } else if (!words[i].starts_with('-')) {
            out.names.push_back(words[i]);
        }
    }
    return out;
}

std::optional<std::vector<std::pair<std::string, std::string>>> read_environment_block(
    std::string_view text) {
    if (!text.starts_with("# GRUB Environment Block\n")) return std::nullopt;
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& line : split_lines(text)) {
        const auto equals = line.body.find('=');
        if (line.body.starts_with('#') || equals == std::string_view::npos) continue;
        std::string value;
        for (std::size_t i = equals + 1; i < line.body.size(); ++i) {
            if (line.body[i] == '\\' && i + 1 < line.body.size()) ++i;
            value += line.body[i];
        }
        out.emplace_back(line.body.substr(0, equals), std::move(value));
    }
    return out;
}

}  // namespace amilift::image::grub_script
