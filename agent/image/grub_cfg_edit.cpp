// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "image/grub2_edit.hpp"
#include "image/grub2_edit_detail.hpp"

namespace amilift::image {

namespace {

using grub2_edit_detail::edit_entry;
using grub2_edit_detail::Output;
using grub2_edit_detail::refers_to_kernelopts;
using grub2_edit_detail::skip_blanks;
using grub2_edit_detail::skip_word;

constexpr std::string_view kSeparators = ";|&<>";

/// Of a command of GRUB's script.
struct CommandEnd {
    std::size_t at = 0;
    bool is_open = false;  ///< in quotes that go on in the next line
};

/// Where a command of GRUB's script ends: a separator, or a remark, that no quotes hide; behind a
/// "{" where a block begins (menuentry, submenu, function). Looks at nothing behind that: a line
/// may have as many commands as bytes.
CommandEnd command_end(std::string_view body, std::size_t at, bool has_block) {
    char quote = 0;
    for (; at < body.size(); ++at) {
        const char c = body[at];
        if (quote == '\'') {
            if (c == '\'') quote = 0;
        } else if (c == '\\') {
            ++at;
        } else if (quote == '"') {
            if (c == '"') quote = 0;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (kSeparators.find(c) != std::string_view::npos ||
                   ((c == '#' || c == '}') && at > 0 && is_blank(body[at - 1]))) {
            return {at};
        } else if (has_block && c == '{' && at > 0 && is_blank(body[at - 1]) &&
                   (at + 1 == body.size() || is_blank(body[at + 1]))) {
            return {at + 1};
        }
    }
    return {body.size(), quote != 0};
}

/// A command of GRUB's script in one line; several can share it.
struct ScriptCommand {
    std::string_view word;  ///< its name, or "}"
    std::size_t begin = 0;
    std::size_t end = 0;
    bool is_open = false;  ///< as CommandEnd's
};

/// Stands before a command, and is none.
bool is_prefix_word(std::string_view word) {
    constexpr std::array<std::string_view, 9> kWords{"if", "elif", "then", "else", "while",
                                                     "do", "!",    "{",    "until"};
    return std::ranges::find(kWords, word) != kWords.end();
}

std::vector<ScriptCommand> commands_of(std::string_view body) {
    std::vector<ScriptCommand> out;
    for (auto at = skip_blanks(body, 0); at < body.size(); at = skip_blanks(body, at)) {
        if (body[at] == '#') break;
        if (kSeparators.find(body[at]) != std::string_view::npos) {
            ++at;
            continue;
        }
        if (body[at] == '}') {
            out.push_back({body.substr(at, 1), at, at + 1});
            ++at;
            continue;
        }
        auto word_end = at;
        while (word_end < body.size() && !is_blank(body[word_end]) &&
               kSeparators.find(body[word_end]) == std::string_view::npos) {
            ++word_end;
        }
        const auto word = body.substr(at, word_end - at);
        if (is_prefix_word(word)) {
            at = word_end;
            continue;
        }
        const bool has_block = word == "menuentry" || word == "submenu" || word == "function";
        const auto end = command_end(body, at, has_block);
        out.push_back({word, at, end.at, end.is_open});
        at = std::max(end.at, at + 1);
    }
    return out;
}

class GrubCfgEditor {
  public:
    GrubCfgEditor(std::string_view text, const ArgumentEdit& edit)
        : lines_(split_lines(text)), edit_(edit) {}

    EditedText run() {
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            std::string body(lines_[i].body);
            auto last = i;
            while (is_continued(lines_[last].body) && last + 1 < lines_.size()) {
                body.pop_back();
                body += lines_[++last].body;
            }
            std::string_view changed;
            const auto edited = edited_line(body, last, changed);
            if (edited == body) {
                for (; i < last; ++i) out_.keep(lines_[i]);
                out_.keep(lines_[last]);
                continue;
            }
            auto what =
                fmt::format("{}: {}", core::lower(changed), describe_difference(body, edited));
            if (last > i) what += fmt::format(", join {} continued lines", last - i + 1);
            Line joined = lines_[last];
            joined.number = lines_[i].number;
            out_.replace(joined, edited, std::move(what));
            i = last;
        }
        return out_.take();
    }

  private:
    [[nodiscard]] static bool is_continued(std::string_view body) {
        const auto last = body.find_last_not_of('\\');
        const auto slashes = body.size() - (last == std::string_view::npos ? 0 : last + 1);
        return slashes % 2 != 0;
    }

    [[nodiscard]] static bool is_linux_command(std::string_view word) {
        return word == "linux" || word == "linux16" || word == "linuxefi";
    }

    /// Not initrdfail, which Ubuntu's entries call behind a kernel without one.
    [[nodiscard]] static bool is_initrd_command(std::string_view word) {
        return word == "initrd" || word == "initrd16" || word == "initrdefi";
    }

    /// `changed` receives the name of the first command that is edited; it points into `body`.
    [[nodiscard]] std::string edited_line(std::string_view body, std::size_t index,
                                          std::string_view& changed) const {
        const auto commands = commands_of(body);
        std::string out;
        std::size_t copied = 0;
        for (std::size_t i = 0; i < commands.size(); ++i) {
            const auto& command = commands[i];
            const auto text = body.substr(command.begin, command.end - command.begin);
            std::optional<std::string> edited;
            // Quotes that the edit would close, or take away, give the next lines another meaning.
            if (command.is_open) continue;
            if (command.word == "set") edited = edited_variable(text);
            if (is_linux_command(command.word)) {
                const auto rest = std::span(commands).subspan(i + 1);
                edited = edited_linux(text, command.word.size(), has_initrd(rest, index));
            }
            if (!edited) continue;
            if (changed.empty()) changed = command.word;
            out += body.substr(copied, command.begin - copied);
            out += *edited;
            copied = command.end;
        }
        out += body.substr(copied);
        return out;
    }

    /// `text` is one command, its name as long as that. Absent: it stays.
    [[nodiscard]] std::optional<std::string> edited_linux(std::string_view text,
                                                          std::size_t name_size,
                                                          bool has_initrd) const {
        const auto kernel = skip_blanks(text, name_size);
        const auto begin = skip_word(text, kernel);
        const auto arguments = text.substr(begin);
        auto path = text.substr(kernel, begin - kernel);
        path = path.substr(std::min(path.find('/'), path.size()));
        while (!path.empty() && (path.back() == '"' || path.back() == '\'')) path.remove_suffix(1);
        const bool is_linux =
            last_value(arguments, "root") || refers_to_kernelopts(arguments) || edit_.knows(path);
        if (!is_linux) return std::nullopt;
        const auto edited = edit_entry(arguments, edit_, edit_.arguments_of(path), has_initrd);
        if (edited == arguments) return std::nullopt;
        auto command = fmt::format("{}{}", text.substr(0, begin), edited);
        // Single quotes that went with an argument held what would be a remark, or another command.
        const auto end = command_end(command, 0, false);
        if (end.at != command.size() || end.is_open) return std::nullopt;
        return command;
    }

    /// set kernelopts="root=... ro"
    [[nodiscard]] std::optional<std::string> edited_variable(std::string_view body) const {
        auto at = skip_blanks(body, skip_blanks(body, 0) + 3);
        const auto equals = body.find('=', at);
        if (equals == std::string_view::npos) return std::nullopt;
        const auto name = body.substr(at, equals - at);
        if (name != "kernelopts" && name != "default_kernelopts") return std::nullopt;
        const auto begin = equals + 2;
        if (begin > body.size() || body[equals + 1] != '"') return std::nullopt;
        const auto end = body.find('"', begin);
        if (end == std::string_view::npos) return std::nullopt;
        const auto value = body.substr(begin, end - begin);
        // "$kernelopts x": the rest of it is elsewhere.
        if (value.find('$') != std::string_view::npos) return std::nullopt;
        const auto edited = edit_arguments(value, edit_, edit_.later_kernels, WhenNoConsole::add,
                                           WhenNoArgument::add, true);
        if (edited == value) return std::nullopt;
        return fmt::format("{}{}{}", body.substr(0, begin), edited, body.substr(end));
    }

    /// Does an initrd follow before the entry ends? `rest` are the commands behind that of the
    /// kernel in its line, which is the one at `index`.
    [[nodiscard]] bool has_initrd(std::span<const ScriptCommand> rest, std::size_t index) const {
        const auto answer = initrd_among(rest);
        if (answer) return *answer;
        for (auto i = index + 1; i < lines_.size(); ++i) {
            const auto more = initrd_among(commands_of(lines_[i].body));
            if (more) return *more;
        }
        return false;
    }

    /// Absent: neither an initrd nor the end of the entry is among them.
    [[nodiscard]] static std::optional<bool> initrd_among(std::span<const ScriptCommand> commands) {
        for (const auto& command : commands) {
            if (is_initrd_command(command.word)) return true;
            if (command.word == "}" || command.word == "menuentry" ||
                is_linux_command(command.word)) {
                return false;
            }
        }
        return std::nullopt;
    }

    std::vector<Line> lines_;
    const ArgumentEdit& edit_;
    Output out_;
};

}  // namespace

EditedText edit_grub_cfg(std::string_view text, const ArgumentEdit& edit) {
    return GrubCfgEditor(text, edit).run();
}

}  // namespace amilift::image
