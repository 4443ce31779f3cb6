// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/text.hpp"
#include "image/kernel_arguments.hpp"
#include "modules/console.hpp"

namespace amilift::modules {

namespace {

using image::split_lines;
using image::split_words;
using image::trim;

bool is_digits(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, core::is_digit);
}

/// "hvc0" or "/dev/hvc0" -> "hvc0"
std::string_view device_name(std::string_view word) {
    if (word.starts_with("/dev/")) word.remove_prefix(5);
    return word;
}

bool is_pv_device(std::string_view word) {
    return image::is_pv_console(device_name(word)) && word.find(',') == std::string_view::npos;
}

/// A line "id:runlevels:action:process" of inittab that starts something.
struct InittabLine {
    std::size_t process_at = 0;
};

std::optional<InittabLine> inittab_line(std::string_view body) {
    if (trim(body).empty() || trim(body).front() == '#') return std::nullopt;
    std::array<std::size_t, 3> colons{};
    std::size_t from = 0;
    for (auto& colon : colons) {
        colon = body.find(':', from);
        if (colon == std::string_view::npos) return std::nullopt;
        from = colon + 1;
    }
    const auto action = trim(body.substr(colons[1] + 1, colons[2] - colons[1] - 1));
    if (action == "off" || action == "initdefault") return std::nullopt;
    return InittabLine{from};
}

/// The words of a getty's command with the PV console and its speed exchanged.
std::string moved_process(std::string_view process, const SerialPort& port) {
    std::string out;
    std::size_t copied = 0;
    for (const auto word : split_words(process)) {
        const auto at = static_cast<std::size_t>(word.data() - process.data());
        std::string with;
        if (is_pv_device(word)) {
            with = word.starts_with("/dev/") ? "/dev/" + port.device : port.device;
        } else if (!port.speed.empty() && is_digits(word.substr(0, word.find(','))) &&
                   word.size() >= 3) {
            with = port.speed;
        } else {
            continue;
        }
        out += process.substr(copied, at - copied);
        out += with;
        copied = at + word.size();
    }
    out += process.substr(copied);
    return out;
}

bool names_device(std::string_view process, std::string_view device) {
    return std::ranges::any_of(split_words(process),
                               [&](std::string_view word) { return device_name(word) == device; });
}

}  // namespace

std::optional<SerialPort> serial_port(const std::vector<std::string>& consoles) {
    std::optional<SerialPort> port;
    for (const auto& console : consoles) {
        const auto device = image::console_device(console);
        if (!device.starts_with("ttyS") || !is_digits(device.substr(4))) continue;
        SerialPort found{std::string(device), ""};
        for (auto rest = std::string_view(console).substr(device.size());
             rest.size() > 1 && core::is_digit(rest[1]); rest.remove_prefix(1)) {
            found.speed += rest[1];
        }
        port = std::move(found);
    }
    return port;
}

image::EditedText edit_inittab(std::string_view text, const SerialPort& port) {
    const auto lines = split_lines(text);
    bool served = std::ranges::any_of(lines, [&](const image::Line& line) {
        const auto parsed = inittab_line(line.body);
        return parsed && names_device(line.body.substr(parsed->process_at), port.device);
    });
    image::EditedText result;
    for (const auto& line : lines) {
        const auto parsed = inittab_line(line.body);
        const auto process = parsed ? line.body.substr(parsed->process_at) : std::string_view();
        const auto words = split_words(process);
        const auto pv = std::ranges::find_if(words, is_pv_device);
        if (pv == words.end()) {
            result.text += line.body;
        } else if (served) {
            result.text += "#";
            result.text += line.body;
            result.changes.push_back(
                {line.number, fmt::format("comment out the login on {}: {} has one already",
                                          device_name(*pv), port.device)});
        } else {
            const auto moved = moved_process(process, port);
            result.text += line.body.substr(0, parsed->process_at);
            result.text += moved;
            result.changes.push_back(
                {line.number, fmt::format("'{}' -> '{}'", image::printable(trim(process)),
                                          image::printable(trim(moved)))});
            served = true;
        }
        result.text += line.ending;
    }
    return result;
}

image::EditedText edit_active_consoles(std::string_view text, const SerialPort& port,
                                       PvConsoleItem item) {
    image::EditedText result;
    for (const auto& line : split_lines(text)) {
        std::string body(line.body);
        if (trim(line.body).starts_with("ACTIVE_CONSOLES=")) {
            const auto begin = line.body.find('=') + 1;
            std::string value;
            std::size_t copied = 0;
            const auto old = line.body.substr(begin);
            bool has_port = old.find(port.device) != std::string_view::npos;
            for (std::size_t at = 0; at < old.size();) {
                const auto end = std::min(old.find_first_of(" \t\"'", at), old.size());
                if (is_pv_device(old.substr(at, end - at))) {
                    value += old.substr(copied, at - copied);
                    copied = end;
                    if (item == PvConsoleItem::replace && !has_port) {
                        value += "/dev/" + port.device;
                        has_port = true;
                    } else if (value.ends_with(' ')) {
                        value.pop_back();
                    } else if (copied < old.size() && old[copied] == ' ') {
                        ++copied;
                    }
                }
                at = end + 1;
            }
            value += old.substr(copied);
            if (value != old) {
                result.changes.push_back(
                    {line.number, fmt::format("ACTIVE_CONSOLES: '{}' -> '{}'",
                                              image::printable(old), image::printable(value))});
                body = std::string(line.body.substr(0, begin)) + value;
            }
        }
        result.text += body;
        result.text += line.ending;
    }
    return result;
}

image::EditedText edit_securetty(std::string_view text, const SerialPort& port) {
    image::EditedText result{std::string(text), {}};
    const auto lines = split_lines(text);
    for (const auto& line : lines) {
        if (trim(line.body) == port.device) return result;
    }
    if (!text.empty() && !text.ends_with('\n')) result.text += '\n';
    result.text += port.device + "\n";
    result.changes.push_back({static_cast<int>(lines.size()) + 1,
                              fmt::format("add '{}' (root may log in on it)", port.device)});
    return result;
}

}  // namespace amilift::modules
