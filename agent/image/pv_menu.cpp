// SPDX-License-Identifier: Apache-2.0
#include "image/pv_menu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/text.hpp"
#include "image/menu_lines.hpp"

namespace amilift::image {

namespace {

using core::is_digit;
using menu_detail::Command;
using menu_detail::MenuLine;

constexpr std::array<std::string_view, 5> kFileCommands{"kernel", "initrd", "module",
                                                        "modulenounzip", "configfile"};
/// PV-GRUB has neither a screen nor a serial port.
constexpr std::array<std::string_view, 9> kScreenCommands{
    "splashimage", "gfxmenu",  "serial", "terminal",  "foreground",
    "background",  "terminfo", "color",  "gfxpayload"};

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
    return std::ranges::find(names, name) != names.end();
}

/// Length of a "(hd0,1)" at the begin of `text`; 0 if there is none.
std::size_t device_length(std::string_view text) {
    if (!text.starts_with("(hd") && !text.starts_with("(HD")) return 0;
    const auto close = text.find(')');
    const auto inside = text.substr(3, close == std::string_view::npos ? 0 : close - 3);
    const bool fine = !inside.empty() && std::ranges::all_of(inside, [](char c) {
        return is_digit(c) || c == ',' || (c >= 'a' && c <= 'h');
    });
    return fine ? close + 1 : 0;
}

/// Where the value of "# kopt=..." begins, if the comment is such a template of update-grub.
std::optional<std::size_t> template_value(std::string_view body, std::string_view key) {
    const auto hash = menu_detail::next_word(body, 0);
    if (hash == body.size() || body[hash] != '#') return std::nullopt;
    const auto begin = menu_detail::next_word(body, hash + 1);
    const auto rest = body.substr(begin);
    if (!rest.starts_with(key) || rest.size() == key.size() || rest[key.size()] != '=') {
        return std::nullopt;
    }
    return begin + key.size() + 1;
}

/// Has a command line a double quote that is never closed? What is added behind it would belong to
/// the argument in it.
bool has_open_quote(std::string_view command_line) {
    return std::ranges::count(command_line, '"') % 2 != 0;
}

/// The command line with `argument` behind its last one.
std::string with_argument(std::string_view command_line, std::string_view argument) {
    if (has_open_quote(command_line)) return std::string(command_line);
    const auto end = command_line.find_last_not_of(" \t\r");
    const auto used = end == std::string_view::npos ? 0 : end + 1;
    return fmt::format("{} {}{}", command_line.substr(0, used), argument,
                       used == 0 ? std::string_view() : command_line.substr(used));
}

/// The command line without the arguments that `is_gone` names, nor the blanks before them.
template <class Predicate>
std::string without_arguments(std::string_view command_line, const Predicate& is_gone) {
    std::string out;
    std::size_t copied = 0;
    for (const auto& argument : kernel_arguments(command_line)) {
        if (argument.is_open || !is_gone(argument)) continue;
        out += command_line.substr(copied, argument.at - copied);
        while (out.ends_with(' ') || out.ends_with('\t')) out.pop_back();
        copied = argument.at + argument.text.size();
    }
    out += command_line.substr(copied);
    return out;
}

std::string edit_pv_arguments(std::string_view arguments, const PvMenuEdit& edit, bool has_initrd) {
    auto out =
        with_only_console(without_gone_partitions(arguments, edit, has_initrd), edit.console);
    if (edit.root_argument && has_initrd) {
        out = replace_root_argument(out, edit.old_root_devices, *edit.root_argument);
    }
    return set_arguments(out, edit.wanted);
}

class Editor {
  public:
    Editor(std::string_view text, const PvMenuEdit& edit)
        : edit_(edit), menu_(parse_menu(text)), text_(text) {}

    EditedText run() {
        for (auto& line : text_.lines()) edit_line(line);
        if (edit_.default_entry && *edit_.default_entry < menu_.entries.size() &&
            (default_entry(menu_) != edit_.default_entry || menu_.default_saved)) {
            text_.set_global("default", fmt::format("{}", *edit_.default_entry));
        }
        if (!has_timeout_) text_.set_global("timeout", "0");
        return text_.take();
    }

  private:
    void edit_line(MenuLine& line) {
        const auto before = line.body;
        std::string after = before;
        if (const auto command = menu_detail::command_of(before)) {
            if (command->name == "title") {
                ++entry_;
            } else {
                after = edited_command(before, *command);
            }
        } else if (const auto root = template_value(before, "groot")) {
            after = before.substr(0, *root) + "(hd0)";
        } else if (const auto options = template_value(before, "kopt")) {
            after = before.substr(0, *options) +
                    edited_arguments(std::string_view(before).substr(*options), true);
        }
        if (after == before && !line.continued) return;
        const auto change =
            fmt::format("'{}' -> '{}'", printable(trim(before), 400), printable(trim(after), 400));
        text_.replace(line, std::move(after), change);
    }

    std::string edited_command(const std::string& body, const Command& command) {
        const auto head = body.substr(0, command.arguments_at);
        const auto rest = std::string_view(body).substr(command.arguments_at);
        // A negative one waits for ever.
        if (command.name == "timeout" && entry_ == 0) {
            has_timeout_ = !rest.empty() && is_digit(rest.front());
        }
        if (is_one_of(command.name, kScreenCommands)) return "#" + body;
        if (command.name == "uuid") {
            return body.substr(0, menu_detail::next_word(body, 0)) + "root (hd0)";
        }
        if (command.name == "root" || command.name == "rootnoverify") {
            const auto length = device_length(rest);
            return length == 0 ? body : head + "(hd0)" + std::string(rest.substr(length));
        }
        if (!is_one_of(command.name, kFileCommands)) return body;
        const bool is_kernel = command.name == "kernel";
        const auto at = is_kernel ? menu_detail::kernel_file_at(body, command.arguments_at)
                                  : command.arguments_at;
        const auto end = menu_detail::word_end(body, at);
        const auto* entry = entry_ == 0 ? nullptr : &menu_.entries.at(entry_ - 1);
        auto out = body.substr(0, at) + edited_path(std::string_view(body).substr(at, end - at),
                                                    entry == nullptr ? "" : entry->root);
        const auto arguments = std::string_view(body).substr(end);
        if (!is_kernel || entry == nullptr || end == at) return out + std::string(arguments);
        const bool is_linux = !entry->is_multiboot &&
                              (!entry->initrd.empty() || last_value(arguments, "root").has_value());
        if (!is_linux) return out + std::string(arguments);
        return out + edited_arguments(arguments, !entry->initrd.empty());
    }

    /// `root` is what the entry says of the device before; the menu's own is that of /boot.
    [[nodiscard]] std::string edited_path(std::string_view path, std::string_view root) const {
        std::string out;
        if (const auto length = device_length(path); length > 0) {
            out = "(hd0)";
            root = path.substr(0, length);
            path.remove_prefix(length);
        }
        const bool was_apart =
            !edit_.boot_device.empty() && (device_length(root) == 0 || root == edit_.boot_device);
        // "/boot/vmlinuz" there is by a link "boot -> .", and right here.
        if (was_apart && path.starts_with('/') && !path.starts_with("/boot/")) out += "/boot";
        return out + std::string(path);
    }

    [[nodiscard]] std::string edited_arguments(std::string_view arguments, bool has_initrd) const {
        return edit_pv_arguments(arguments, edit_, has_initrd);
    }

    const PvMenuEdit& edit_;
    Menu menu_;
    menu_detail::MenuText text_;
    std::size_t entry_ = 0;  ///< number of titles seen
    bool has_timeout_ = false;
};

}  // namespace

std::string with_only_console(std::string_view command_line, std::string_view console) {
    bool has = false;
    const auto out = without_arguments(command_line, [&](const KernelArgument& argument) {
        if (argument.key != "console") return false;
        if (argument.value != console || has) return true;
        has = true;
        return false;
    });
    return has ? out : with_argument(out, fmt::format("console={}", console));
}

std::string without_gone_partitions(std::string_view command_line, const PvMenuEdit& edit,
                                    bool has_initrd) {
    std::string out(command_line);
    if (!edit.boot_device.empty()) {
        out = without_arguments(out, [](const KernelArgument& argument) {
            return argument.key == "boot" && (argument.value.starts_with("/dev/") ||
                                              argument.value.find('=') != std::string_view::npos);
        });
    }
    if (!edit.swap_is_gone || last_value(out, "resume_offset")) return out;
    bool has = false;
    out = without_arguments(out, [&](const KernelArgument& argument) {
        has = has || argument.text == "noresume";
        return argument.key == "resume";
    });
    return has_initrd && !has ? with_argument(out, "noresume") : out;
}

EditedText edit_pv_menu(std::string_view text, const PvMenuEdit& edit) {
    return Editor(text, edit).run();
}

std::string make_pv_menu(const std::vector<BootEntry>& entries, const PvMenuEdit& edit) {
    std::string out = "default 0\ntimeout 0\n";
    for (const auto& entry : entries) {
        const bool has_initrd = !entry.initrds.empty();
        const auto arguments =
            edit_pv_arguments(" " + std::string(trim(entry.arguments)), edit, has_initrd);
        out += fmt::format("\ntitle {}\n\troot (hd0)\n\tkernel {} {}\n", printable(entry.title, 80),
                           entry.kernel, trim(arguments));
        if (has_initrd) out += fmt::format("\tinitrd {}\n", entry.initrds.front());
    }
    return out;
}

}  // namespace amilift::image
