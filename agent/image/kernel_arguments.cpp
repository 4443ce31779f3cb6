// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "core/text.hpp"
#include "image/fstab.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

std::string_view unquoted(std::string_view text) {
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
        text.remove_prefix(1);
        text.remove_suffix(1);
    }
    return text;
}

std::string console_words(const std::vector<std::string>& consoles) {
    std::string out;
    for (const auto& console : consoles) {
        out += fmt::format("{}console={}", out.empty() ? "" : " ", console);
    }
    return out;
}

/// `words` behind the last argument of the kernel itself.
std::string with_words(std::string_view command_line, std::string_view words) {
    // Behind a quote that is never closed, all would belong to the argument in it.
    if (words.empty() || std::ranges::count(command_line, '"') % 2 != 0) {
        return std::string(command_line);
    }
    std::size_t end = command_line.size();
    for (const auto& argument : kernel_arguments(command_line)) {
        if (argument.text != "--") continue;
        end = argument.at;
        break;
    }
    const auto last = command_line.substr(0, end).find_last_not_of(kBlanks);
    if (last == std::string_view::npos && end < command_line.size()) {
        return fmt::format("{}{} {}", command_line.substr(0, end), words, command_line.substr(end));
    }
    const auto used = last == std::string_view::npos ? 0 : last + 1;
    return fmt::format("{}{}{}{}", command_line.substr(0, used), used == 0 ? "" : " ", words,
                       command_line.substr(used));
}

/// A number as the kernel reads it: 0x1f, 017 and 15.
bool is_number_up_to(std::string_view text, std::uint32_t largest) {
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.front() == '0') {
        base = 8;
    }
    std::uint32_t value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return read.ec == std::errc() && read.ptr == text.data() + text.size() && value <= largest;
}

std::string_view file_name(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::vector<KernelArgument> kernel_arguments(std::string_view command_line) {
    std::vector<KernelArgument> out;
    std::size_t at = 0;
    while (at < command_line.size()) {
        if (is_blank(command_line[at])) {
            ++at;
            continue;
        }
        auto end = at;
        bool in_quotes = false;
        while (end < command_line.size() && (in_quotes || !is_blank(command_line[end]))) {
            if (command_line[end] == '"') in_quotes = !in_quotes;
            ++end;
        }
        KernelArgument argument;
        argument.at = at;
        argument.text = command_line.substr(at, end - at);
        argument.is_open = in_quotes;
        const auto whole = unquoted(argument.text);
        const auto equals = whole.find('=');
        argument.key = whole.substr(0, equals);
        if (equals != std::string_view::npos) argument.value = unquoted(whole.substr(equals + 1));
        out.push_back(argument);
        at = end;
    }
    return out;
}

bool is_same_argument(std::string_view a, std::string_view b) {
    return std::ranges::equal(
        a, b, [](char x, char y) { return (x == '-' ? '_' : x) == (y == '-' ? '_' : y); });
}

std::string_view console_device(std::string_view value) {
    return value.substr(0, value.find(','));
}

bool is_pv_console(std::string_view value) {
    auto device = console_device(value);
    if (!device.starts_with("hvc") && !device.starts_with("xvc")) return false;
    device.remove_prefix(3);
    return !device.empty() && std::ranges::all_of(device, core::is_digit);
}

std::string replace_pv_consoles(std::string_view command_line,
                                const std::vector<std::string>& consoles, WhenNoConsole when_none) {
    const auto arguments = kernel_arguments(command_line);
    std::vector<std::string_view> kept;
    bool any = false;
    bool any_pv = false;
    for (const auto& argument : arguments) {
        if (argument.key != "console") continue;
        any = true;
        if (is_pv_console(argument.value) && !argument.is_open) {
            any_pv = true;
        } else {
            kept.push_back(console_device(argument.value));
        }
    }
    if (!any_pv) {
        if (any || when_none == WhenNoConsole::keep || consoles.empty()) {
            return std::string(command_line);
        }
        return with_words(command_line, console_words(consoles));
    }

    std::vector<std::string> missing;
    for (const auto& console : consoles) {
        if (std::ranges::find(kept, console_device(console)) == kept.end()) {
            missing.push_back(console);
        }
    }
    std::string out;
    std::size_t copied = 0;
    bool placed = missing.empty();
    for (const auto& argument : arguments) {
        if (argument.key != "console" || !is_pv_console(argument.value) || argument.is_open) {
            continue;
        }
        out += command_line.substr(copied, argument.at - copied);
        copied = argument.at + argument.text.size();
        if (!placed) {
            out += console_words(missing);
            placed = true;
            continue;
        }
        const auto used = out.find_last_not_of(kBlanks);
        if (used != std::string::npos) {
            out.resize(used + 1);
            continue;
        }
        // The first argument: what separates the line from the kernel's name stays.
        copied = std::min(command_line.find_first_not_of(kBlanks, copied), command_line.size());
        if (copied == command_line.size()) out.clear();
    }
    out += command_line.substr(copied);
    return out;
}

std::string replace_root_argument(std::string_view command_line,
                                  const std::vector<std::string>& old_devices,
                                  std::string_view replacement) {
    std::string out;
    std::size_t copied = 0;
    for (const auto& argument : kernel_arguments(command_line)) {
        if (argument.key != "root" || argument.is_open ||
            std::ranges::find(old_devices, argument.value) == old_devices.end()) {
            continue;
        }
        out += command_line.substr(copied, argument.at - copied);
        out += fmt::format("root={}", replacement);
        copied = argument.at + argument.text.size();
    }
    out += command_line.substr(copied);
    return out;
}

std::string set_arguments(std::string_view command_line, std::span<const WantedArgument> wanted,
                          WhenNoArgument when_none) {
    std::string out(command_line);
    for (const auto& want : wanted) {
        const auto wanted_text = fmt::format("{}={}", want.key, want.value);
        std::string mended;
        std::size_t copied = 0;
        bool is_there = false;
        for (const auto& argument : kernel_arguments(out)) {
            if (!is_same_argument(argument.key, want.key)) continue;
            is_there = true;
            if (argument.is_open) continue;
            if (!want.largest || is_number_up_to(argument.value, *want.largest)) continue;
            mended += std::string_view(out).substr(copied, argument.at - copied);
            mended += wanted_text;
            copied = argument.at + argument.text.size();
        }
        mended += std::string_view(out).substr(copied);
        out = std::move(mended);
        if (!is_there && when_none == WhenNoArgument::add) out = with_words(out, wanted_text);
    }
    return out;
}

std::string remove_device_resume(std::string_view command_line) {
    const bool is_swap_file = last_value(command_line, "resume_offset").has_value();
    std::string out;
    std::size_t copied = 0;
    for (const auto& argument : kernel_arguments(command_line)) {
        if (argument.key != "resume" || argument.is_open) continue;
        const bool is_partition =
            argument.value.starts_with("PARTUUID=") || argument.value.starts_with("PARTLABEL=");
        if (!is_unstable_device(argument.value) && (!is_partition || is_swap_file)) continue;
        out += command_line.substr(copied, argument.at - copied);
        copied = argument.at + argument.text.size();
        const auto used = out.find_last_not_of(kBlanks);
        if (used != std::string::npos) {
            out.resize(used + 1);
        } else {
            copied = std::min(command_line.find_first_not_of(kBlanks, copied), command_line.size());
        }
    }
    out += command_line.substr(copied);
    return out;
}

const KernelArguments* ArgumentEdit::find(std::string_view kernel) const {
    auto found = std::ranges::find(kernels, kernel, &KernelArguments::kernel);
    if (found == kernels.end()) {
        found = std::ranges::find(kernels, file_name(kernel), [](const KernelArguments& known) {
            return file_name(known.kernel);
        });
    }
    return found == kernels.end() ? nullptr : &*found;
}

std::span<const WantedArgument> ArgumentEdit::arguments_of(std::string_view kernel) const {
    const auto* known = find(kernel);
    if (known == nullptr) return {};
    return known->arguments;
}

std::string edit_arguments(std::string_view arguments, const ArgumentEdit& edit,
                           std::span<const WantedArgument> wanted, WhenNoConsole consoles,
                           WhenNoArgument when_none, bool has_initrd) {
    auto out = replace_pv_consoles(arguments, edit.consoles, consoles);
    if (edit.root_argument && has_initrd) {
        out = replace_root_argument(out, edit.old_root_devices, *edit.root_argument);
    }
    return set_arguments(remove_device_resume(out), wanted, when_none);
}

std::optional<std::string> last_value(std::string_view command_line, std::string_view key) {
    std::optional<std::string> out;
    for (const auto& argument : kernel_arguments(command_line)) {
        if (argument.key == key) out = argument.value;
    }
    return out;
}

}  // namespace amilift::image
