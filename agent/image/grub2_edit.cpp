// SPDX-License-Identifier: Apache-2.0
#include "image/grub2_edit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/text.hpp"
#include "image/grub2_edit_detail.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::fail;
using core::Result;

using grub2_edit_detail::edit_entry;
using grub2_edit_detail::Output;
using grub2_edit_detail::refers_to_kernelopts;
using grub2_edit_detail::skip_blanks;
using grub2_edit_detail::skip_word;

constexpr std::string_view kCmdline = "GRUB_CMDLINE_LINUX";

bool is_name_byte(char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

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
            const auto key = core::lower(found->key);
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
        if (!found || core::lower(found->key) != "append" || !is_linux || trim(value) == "-") {
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
