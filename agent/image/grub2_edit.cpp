// SPDX-License-Identifier: Apache-2.0
#include "image/grub2_edit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace amilift::image {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kBlanks = " \t\r\v\f";
constexpr std::string_view kCmdline = "GRUB_CMDLINE_LINUX";

bool is_blank(char c) {
    return kBlanks.find(c) != std::string_view::npos;
}

bool is_name_byte(char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
    return std::min(text.find_first_not_of(kBlanks, at), text.size());
}

std::size_t skip_word(std::string_view text, std::size_t at) {
    return std::min(text.find_first_of(kBlanks, at), text.size());
}

/// Arguments of an entry can be kept in this variable, for all entries at once.
bool refers_to_kernelopts(std::string_view arguments) {
    return arguments.find("kernelopts") != std::string_view::npos;
}

/// `arguments` are what stands behind a kernel's name, with the blank before them.
std::string edit_entry(std::string_view arguments, const ArgumentEdit& edit,
                       std::span<const WantedArgument> wanted, bool has_initrd) {
    const bool shared = refers_to_kernelopts(arguments);
    auto out =
        edit_arguments(arguments, edit, wanted, shared ? WhenNoConsole::keep : WhenNoConsole::add,
                       shared ? WhenNoArgument::keep : WhenNoArgument::add, has_initrd);
    if (out != arguments && !out.empty() && !is_blank(out.front())) out.insert(0, " ");
    return out;
}

/// Where a command of GRUB's script ends: a separator, or a remark, that no quotes hide.
std::size_t command_end(std::string_view body, std::size_t at) {
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
        } else if (c == ';' || c == '|' || c == '&' || c == '<' || c == '>' ||
                   ((c == '#' || c == '}') && at > 0 && is_blank(body[at - 1]))) {
            return at;
        }
    }
    return body.size();
}

/// A command of GRUB's script in one line; several can share it.
struct ScriptCommand {
    std::string_view word;  ///< its name, or "}"
    std::size_t begin = 0;
    std::size_t end = 0;
};

/// Behind the "{" that ends the line of a menuentry, submenu or function; npos: there is none.
std::size_t block_begin(std::string_view body, std::size_t at) {
    const auto end = command_end(body, at);
    char quote = 0;
    for (; at < end; ++at) {
        const char c = body[at];
        if (quote != 0) {
            if (c == quote) quote = 0;
            if (c == '\\' && quote == '"') ++at;
        } else if (c == '\\') {
            ++at;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '{' && at > 0 && is_blank(body[at - 1]) &&
                   (at + 1 == body.size() || is_blank(body[at + 1]))) {
            return at + 1;
        }
    }
    return std::string_view::npos;
}

/// Stands before a command, and is none.
bool is_prefix_word(std::string_view word) {
    constexpr std::array<std::string_view, 9> kWords{"if", "elif", "then", "else", "while",
                                                     "do", "!",    "{",    "until"};
    return std::ranges::find(kWords, word) != kWords.end();
}

std::vector<ScriptCommand> commands_of(std::string_view body) {
    std::vector<ScriptCommand> out;
    constexpr std::string_view kSeparators = ";|&<>";
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
        const auto word_end = std::min(body.find(';', at), skip_word(body, at));
        const auto word = body.substr(at, word_end - at);
        if (is_prefix_word(word)) {
            at = word_end;
            continue;
        }
        const bool has_block = word == "menuentry" || word == "submenu" || word == "function";
        const auto block = has_block ? block_begin(body, at) : std::string_view::npos;
        const auto end = block == std::string_view::npos ? command_end(body, at) : block;
        out.push_back({word, at, end});
        at = std::max(end, at + 1);
    }
    return out;
}

/// Copies the text line by line, with a few bodies exchanged.
class Output {
  public:
    void keep(const Line& line) {
        result_.text += line.body;
        result_.text += line.ending;
    }
    void replace(const Line& line, std::string_view body, std::string what) {
        result_.text += body;
        result_.text += line.ending;
        result_.changes.push_back({line.number, std::move(what)});
    }
    /// A line behind all others.
    void append(int number, std::string_view body) {
        if (!result_.text.empty() && !result_.text.ends_with('\n')) result_.text += '\n';
        result_.text += body;
        result_.text += '\n';
        result_.changes.push_back({number, fmt::format("add '{}'", printable(body, 400))});
    }
    [[nodiscard]] EditedText take() { return std::move(result_); }

  private:
    EditedText result_;
};

class GrubCfgEditor {
  public:
    GrubCfgEditor(std::string_view text, const ArgumentEdit& edit)
        : lines_(split_lines(text)), edit_(edit) {}

    EditedText run() {
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            std::string body(lines_[i].body);
            auto last = i;
            while (is_continued(body) && last + 1 < lines_.size()) {
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
            auto what = fmt::format("{}: {}", lower(changed), describe_difference(body, edited));
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
        return fmt::format("{}{}", text.substr(0, begin), edited);
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

/// GRUB_CMDLINE_LINUX...=value in a file of shell assignments.
struct Assignment {
    std::string_view name;
    std::size_t value_at = 0;  ///< of the bytes inside quotes, if there are any
    std::size_t value_size = 0;
    char quote = 0;          ///< 0: a bare word
    bool is_simple = false;  ///< one quoted string or one bare word, and then at most a remark
};

bool is_end_of_assignment(std::string_view rest) {
    const auto at = skip_blanks(rest, 0);
    return at == rest.size() || (at > 0 && rest[at] == '#');
}

std::optional<Assignment> assignment_of(std::string_view body) {
    auto at = skip_blanks(body, 0);
    if (body.substr(at).starts_with("export ")) at = skip_blanks(body, at + 7);
    const auto begin = at;
    while (at < body.size() && is_name_byte(body[at])) ++at;
    Assignment out;
    out.name = body.substr(begin, at - begin);
    if (!out.name.starts_with(kCmdline)) return std::nullopt;
    if (body.substr(at).starts_with("+=")) {
        out.value_at = at + 2;
        out.value_size = body.size() - out.value_at;
        return out;
    }
    if (at == body.size() || body[at] != '=') return std::nullopt;
    ++at;
    out.value_at = at;
    out.value_size = body.size() - at;
    if (at < body.size() && (body[at] == '"' || body[at] == '\'')) {
        const char quote = body[at];
        auto end = at + 1;
        while (end < body.size() && body[end] != quote) {
            if (quote == '"' && (body[end] == '\\' || body[end] == '`')) {
                if (body[end] == '`') return out;
                ++end;
            }
            ++end;
        }
        if (end >= body.size() || !is_end_of_assignment(body.substr(end + 1))) return out;
        out.quote = quote;
        ++out.value_at;
        out.value_size = end - out.value_at;
        out.is_simple = body.substr(out.value_at, out.value_size).find("$(") == std::string::npos;
        return out;
    }
    const auto end = skip_word(body, at);
    const auto word = body.substr(at, end - at);
    if (word.find_first_of("\"'\\$`;&|<>()") != std::string_view::npos ||
        !is_end_of_assignment(body.substr(end))) {
        return out;
    }
    out.value_size = word.size();
    out.is_simple = true;
    return out;
}

/// Does the value take over what the variable held before?
bool refers_to(std::string_view value, std::string_view name) {
    for (auto at = value.find('$'); at != std::string_view::npos; at = value.find('$', at + 1)) {
        auto rest = value.substr(at + 1);
        if (rest.starts_with('{')) rest.remove_prefix(1);
        if (!rest.starts_with(name)) continue;
        rest.remove_prefix(name.size());
        if (rest.empty() || !is_name_byte(rest.front())) return true;
    }
    return false;
}

/// What a kernel gets of the files of /etc/default/grub, as far as one can tell without a shell.
std::string told_to_kernels(std::string_view text) {
    std::string all;
    std::string common;
    for (const auto& line : split_lines(text)) {
        const auto found = assignment_of(line.body);
        if (!found) continue;
        const auto value = line.body.substr(found->value_at, found->value_size);
        if (found->name == kCmdline) {
            if (found->is_simple && !refers_to(value, kCmdline)) common.clear();
            common += fmt::format(" {}", value);
        } else if (found->name == "GRUB_CMDLINE_LINUX_DEFAULT") {
            all += fmt::format(" {}", value);
        }
    }
    return common + all;
}

class DefaultGrubEditor {
  public:
    DefaultGrubEditor(std::string_view text, const ArgumentEdit& edit, std::string_view elsewhere,
                      WhenNoArgument when_none)
        : text_(text), edit_(edit), elsewhere_(elsewhere), when_none_(when_none) {}

    EditedText run() {
        const auto lines = split_lines(text_);
        std::size_t last = lines.size();
        bool last_is_simple = false;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const auto found = assignment_of(lines[i].body);
            if (!found || found->name != kCmdline) continue;
            last = i;
            last_is_simple = found->is_simple;
        }
        const auto missing = missing_words();
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const bool add = i == last && last_is_simple;
            edit_line(lines[i], add ? missing : std::string());
        }
        if (!missing.empty() && !last_is_simple) {
            const auto before =
                last == lines.size() ? std::string() : fmt::format("${} ", kCmdline);
            out_.append(static_cast<int>(lines.size()) + 1,
                        fmt::format("{}=\"{}{}\"", kCmdline, before, missing));
        }
        return out_.take();
    }

  private:
    /// "console=tty0 net.ifnames=0": what no file of the set tells a kernel yet.
    [[nodiscard]] std::string missing_words() const {
        std::string out;
        if (when_none_ == WhenNoArgument::keep) return out;
        const auto told = fmt::format("{} {}", told_to_kernels(text_), told_to_kernels(elsewhere_));
        if (told.find("console=") == std::string::npos) {
            for (const auto& console : edit_.consoles) {
                out += fmt::format("{}console={}", out.empty() ? "" : " ", console);
            }
        }
        for (const auto& want : edit_.later_kernels) {
            if (told.find(want.key + "=") != std::string::npos) continue;
            out += fmt::format("{}{}={}", out.empty() ? "" : " ", want.key, want.value);
        }
        return out;
    }

    void edit_line(const Line& line, const std::string& missing) {
        const auto found = assignment_of(line.body);
        // Of _XEN_REPLACE, hvc0 is what the kernel above a hypervisor of its own talks to.
        const bool is_for_xen = found && found->name.find("_XEN") != std::string_view::npos;
        if (!found || !found->is_simple || is_for_xen) return out_.keep(line);
        const auto value = line.body.substr(found->value_at, found->value_size);
        auto edited = edit_arguments(value, edit_, edit_.later_kernels, WhenNoConsole::keep,
                                     WhenNoArgument::keep, true);
        if (!missing.empty()) {
            const auto used = edited.find_last_not_of(kBlanks);
            const auto at = used == std::string::npos ? 0 : used + 1;
            edited.insert(at, fmt::format("{}{}", at == 0 ? "" : " ", missing));
        }
        if (edited == value) return out_.keep(line);
        const bool needs_quotes =
            found->quote == 0 && edited.find_first_of(kBlanks) != std::string::npos;
        const std::string_view quote = needs_quotes ? "\"" : "";
        out_.replace(line,
                     fmt::format("{}{}{}{}{}", line.body.substr(0, found->value_at), quote, edited,
                                 quote, line.body.substr(found->value_at + found->value_size)),
                     fmt::format("{}: {}", found->name, describe_difference(value, edited)));
    }

    std::string_view text_;
    const ArgumentEdit& edit_;
    std::string_view elsewhere_;
    WhenNoArgument when_none_;
    Output out_;
};

/// A line "key value" of a boot loader specification entry.
struct BlsLine {
    std::string_view key;
    std::size_t value_at = 0;
};

std::optional<BlsLine> bls_line(std::string_view body) {
    const auto begin = skip_blanks(body, 0);
    if (begin == body.size() || body[begin] == '#') return std::nullopt;
    const auto end = skip_word(body, begin);
    return BlsLine{body.substr(begin, end - begin), end};
}

constexpr std::size_t kEnvironmentBytes = 1024;
constexpr std::string_view kEnvironmentHead = "# GRUB Environment Block\n";

}  // namespace

EditedText edit_grub_cfg(std::string_view text, const ArgumentEdit& edit) {
    return GrubCfgEditor(text, edit).run();
}

bool assigns_grub_cmdline(std::string_view text) {
    return std::ranges::any_of(split_lines(text), [](const Line& line) {
        const auto found = assignment_of(line.body);
        return found && found->name == kCmdline;
    });
}

EditedText edit_default_grub(std::string_view text, const ArgumentEdit& edit,
                             std::string_view elsewhere, WhenNoArgument when_none) {
    return DefaultGrubEditor(text, edit, elsewhere, when_none).run();
}

EditedText edit_bls_entry(std::string_view text, const ArgumentEdit& edit) {
    const auto lines = split_lines(text);
    std::string_view kernel;
    std::string all_options;
    std::size_t last = lines.size();
    bool has_initrd = false;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto found = bls_line(lines[i].body);
        if (!found) continue;
        const auto value = lines[i].body.substr(found->value_at);
        if (found->key == "linux") kernel = trim(value);
        if (found->key == "initrd") has_initrd = true;
        if (found->key != "options") continue;
        all_options += value;
        last = i;
    }
    Output out;
    if (kernel.empty()) return {std::string(text), {}};
    const auto wanted = edit.arguments_of(kernel);
    const bool shared = refers_to_kernelopts(all_options);
    const bool has_console = last_value(all_options, "console").has_value();
    std::vector<WantedArgument> missing;
    for (const auto& want : wanted) {
        if (!last_value(all_options, want.key)) missing.push_back(want);
    }
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto found = bls_line(lines[i].body);
        if (!found || found->key != "options") {
            out.keep(lines[i]);
            continue;
        }
        const auto value = lines[i].body.substr(found->value_at);
        const bool add = i == last && !shared;
        auto edited = edit_arguments(value, edit, wanted,
                                     add && !has_console ? WhenNoConsole::add : WhenNoConsole::keep,
                                     WhenNoArgument::keep, has_initrd);
        if (add) edited = set_arguments(edited, missing);
        if (edited == value) {
            out.keep(lines[i]);
            continue;
        }
        if (!edited.empty() && !is_blank(edited.front())) edited.insert(0, " ");
        out.replace(lines[i], fmt::format("{}{}", lines[i].body.substr(0, found->value_at), edited),
                    fmt::format("options: {}", describe_difference(value, edited)));
    }
    if (last == lines.size()) {
        const auto options =
            edit_arguments({}, edit, missing, WhenNoConsole::add, WhenNoArgument::add, has_initrd);
        if (!options.empty()) {
            out.append(static_cast<int>(lines.size()) + 1, fmt::format("options {}", options));
        }
    }
    return out.take();
}

EditedText edit_kernel_cmdline(std::string_view text, const ArgumentEdit& edit) {
    Output out;
    for (const auto& line : split_lines(text)) {
        const auto first = trim(line.body);
        if (first.empty() || first.front() == '#') {
            out.keep(line);
            continue;
        }
        const auto edited = edit_arguments(line.body, edit, edit.later_kernels, WhenNoConsole::add,
                                           WhenNoArgument::add, true);
        if (edited == line.body) {
            out.keep(line);
        } else {
            out.replace(line, edited, describe_difference(line.body, edited));
        }
    }
    return out.take();
}

EditedText edit_sysconfig_bootloader(std::string_view text, const ArgumentEdit& edit) {
    Output out;
    for (const auto& line : split_lines(text)) {
        const auto equals = line.body.find("_APPEND=\"");
        const auto begin = equals == std::string_view::npos ? 0 : line.body.find('"') + 1;
        const auto end = line.body.find('"', begin);
        const bool is_ours = begin > 0 && end != std::string_view::npos &&
                             std::ranges::all_of(line.body.substr(0, equals), is_name_byte) &&
                             !line.body.starts_with("XEN_");
        const auto value = line.body.substr(begin, is_ours ? end - begin : 0);
        // An empty one is switched off: the installer fills what it uses.
        const auto edited = trim(value).empty()
                                ? std::string(value)
                                : edit_arguments(value, edit, edit.later_kernels,
                                                 WhenNoConsole::add, WhenNoArgument::add, true);
        if (edited == value) {
            out.keep(line);
        } else {
            out.replace(
                line,
                fmt::format("{}{}{}", line.body.substr(0, begin), edited, line.body.substr(end)),
                fmt::format("{}APPEND: {}", line.body.substr(0, equals + 1),
                            describe_difference(value, edited)));
        }
    }
    return out.take();
}

Result<EditedText> edit_grubenv(std::string_view block, const ArgumentEdit& edit) {
    if (block.size() != kEnvironmentBytes || !block.starts_with(kEnvironmentHead)) {
        return fail(Errc::corrupt,
                    fmt::format("the file has {} bytes, expected a GRUB environment block of {}",
                                block.size(), kEnvironmentBytes),
                    "make it again with grub-editenv", "grubenv-damaged");
    }
    const auto last = block.find_last_not_of('#');
    const auto variables = block.substr(0, last == std::string_view::npos ? 0 : last + 1);
    Output out;
    for (const auto& line : split_lines(variables)) {
        constexpr std::string_view kName = "kernelopts=";
        if (!line.body.starts_with(kName)) {
            out.keep(line);
            continue;
        }
        const auto value = line.body.substr(kName.size());
        const auto edited = edit_arguments(value, edit, edit.later_kernels, WhenNoConsole::add,
                                           WhenNoArgument::add, true);
        if (edited == value) {
            out.keep(line);
        } else {
            out.replace(line, fmt::format("{}{}", kName, edited),
                        fmt::format("kernelopts: {}", describe_difference(value, edited)));
        }
    }
    auto result = out.take();
    if (result.changes.empty()) return EditedText{std::string(block), {}};
    if (result.text.size() > kEnvironmentBytes) {
        return fail(Errc::refused,
                    fmt::format("kernelopts would make the environment block {} bytes long, "
                                "expected at most {}",
                                result.text.size(), kEnvironmentBytes),
                    "remove arguments from it with grub2-editenv in the source image",
                    "grubenv-full");
    }
    result.text.resize(kEnvironmentBytes, '#');
    return result;
}

EditedText edit_extlinux(std::string_view text, const ArgumentEdit& edit) {
    const auto lines = split_lines(text);
    // Of a label, `kernel` or `linux` may stand before or behind `append`.
    struct Label {
        std::string_view kernel;
        bool has_initrd = false;
        bool has_append = false;
    };
    std::vector<Label> labels(1);  // the first is what stands above all labels
    std::vector<std::size_t> label_of(lines.size(), 0);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (const auto found = bls_line(lines[i].body)) {
            const auto key = lower(found->key);
            const auto value = trim(lines[i].body.substr(found->value_at));
            if (key == "label") labels.emplace_back();
            if (key == "kernel" || key == "linux") labels.back().kernel = value;
            if (key == "initrd") labels.back().has_initrd = true;
            if (key == "append") {
                labels.back().has_append = true;
                if (last_value(value, "initrd")) labels.back().has_initrd = true;
            }
        }
        label_of[i] = labels.size() - 1;
    }
    // The `append` above all labels is that of the labels without one.
    bool is_shared = false;
    for (const auto& label : labels) {
        if (label.has_append || !edit.knows(label.kernel)) continue;
        is_shared = true;
        if (label.has_initrd) labels.front().has_initrd = true;
    }
    Output out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto found = bls_line(lines[i].body);
        const bool is_global = label_of[i] == 0;
        const auto& label = labels[label_of[i]];
        const auto value = found ? lines[i].body.substr(found->value_at) : std::string_view();
        const bool is_linux = last_value(value, "root") || edit.knows(label.kernel) ||
                              (is_global && (is_shared || last_value(value, "console")));
        // "append -": the label has no arguments, not even those above all labels.
        if (!found || lower(found->key) != "append" || !is_linux || trim(value) == "-") {
            out.keep(lines[i]);
            continue;
        }
        const auto wanted = is_global ? std::span<const WantedArgument>(edit.later_kernels)
                                      : edit.arguments_of(label.kernel);
        const auto edited = edit_entry(value, edit, wanted, label.has_initrd);
        if (edited == value) {
            out.keep(lines[i]);
        } else {
            out.replace(lines[i],
                        fmt::format("{}{}", lines[i].body.substr(0, found->value_at), edited),
                        fmt::format("append: {}", describe_difference(value, edited)));
        }
    }
    return out.take();
}

}  // namespace amilift::image
