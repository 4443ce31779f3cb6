// SPDX-License-Identifier: Apache-2.0
#include "image/device_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "image/fstab.hpp"

namespace amilift::image {

namespace {

/// An entry of crypttab: name, device, key file, options. The views point into the line.
struct CryptEntry {
    std::vector<std::string_view> fields;

    [[nodiscard]] std::string_view options() const {
        return fields.size() > 3 ? fields[3] : std::string_view();
    }
};

std::optional<CryptEntry> crypt_entry(std::string_view body) {
    CryptEntry out{split_words(body)};
    if (out.fields.size() < 2 || out.fields[0].starts_with('#')) return std::nullopt;
    const auto remark = std::ranges::find_if(
        out.fields, [](std::string_view field) { return field.starts_with('#'); });
    out.fields.erase(remark, out.fields.end());
    if (out.fields.size() < 2) return std::nullopt;
    return out;
}

bool has_option(std::string_view options, std::string_view wanted) {
    while (!options.empty()) {
        const auto comma = std::min(options.find(','), options.size());
        if (options.substr(0, comma) == wanted) return true;
        options.remove_prefix(std::min(comma + 1, options.size()));
    }
    return false;
}

bool is_unstable(const CryptEntry& entry) {
    return is_unstable_device(entry.fields[1]) && !has_option(entry.options(), "noauto");
}

}  // namespace

std::vector<std::string> unstable_mappings(std::string_view text) {
    std::vector<std::string> out;
    for (const auto& line : split_lines(text)) {
        const auto entry = crypt_entry(line.body);
        if (entry && is_unstable(*entry)) out.emplace_back(entry->fields[0]);
    }
    return out;
}

std::vector<std::string> blocking_mappings(std::string_view text) {
    std::vector<std::string> out;
    for (const auto& line : split_lines(text)) {
        const auto entry = crypt_entry(line.body);
        if (entry && is_unstable(*entry) && !has_option(entry->options(), "nofail")) {
            out.emplace_back(entry->fields[0]);
        }
    }
    return out;
}

EditedText edit_crypttab(std::string_view text) {
    EditedText out;
    for (const auto& line : split_lines(text)) {
        std::string body(line.body);
        const auto entry = crypt_entry(line.body);
        if (entry && is_unstable(*entry) && !has_option(entry->options(), "nofail")) {
            const auto last = entry->fields.size() < 4 ? entry->fields.back() : entry->fields[3];
            const auto end = static_cast<std::size_t>(last.data() - line.body.data()) + last.size();
            std::string_view added = ",nofail";
            if (entry->fields.size() == 3) added = " nofail";
            if (entry->fields.size() == 2) added = " none nofail";
            body.insert(end, added);
            out.changes.push_back(
                {line.number,
                 fmt::format("{}: add nofail ('{}' may not exist after the move)",
                             printable(entry->fields[0], 80), printable(entry->fields[1], 80))});
        }
        out.text += body;
        out.text += line.ending;
    }
    return out;
}

EditedText edit_initramfs_resume(std::string_view text, const std::vector<std::string>& swap_specs,
                                 std::string_view root_uuid) {
    EditedText out;
    for (const auto& line : split_lines(text)) {
        constexpr std::string_view kKey = "RESUME=";
        const auto value = trim(line.body.substr(std::min(kKey.size(), line.body.size())));
        auto device = value;
        if (device.size() >= 2 && device.front() == '"' && device.back() == '"') {
            device.remove_prefix(1);
            device.remove_suffix(1);
        }
        const bool is_lost_uuid = device.starts_with("UUID=") && device.substr(5) != root_uuid &&
                                  std::ranges::find(swap_specs, device) == swap_specs.end();
        const bool is_lost = is_unstable_device(device) || is_lost_uuid ||
                             device.starts_with("PARTUUID=") || device.starts_with("PARTLABEL=");
        if (line.body.starts_with(kKey) && is_lost) {
            out.text += "RESUME=none";
            out.changes.push_back(
                {line.number, fmt::format("'{}' -> 'none' (there is no such swap device)",
                                          printable(value, 80))});
        } else {
            out.text += line.body;
        }
        out.text += line.ending;
    }
    return out;
}

EditedText edit_modprobe(std::string_view text) {
    EditedText out;
    for (const auto& line : split_lines(text)) {
        const auto words = split_words(line.body);
        if (words.size() >= 3 && words[0] == "alias" &&
            (words[2] == "xennet" || words[2] == "xenblk")) {
            out.text += '#';
            out.changes.push_back(
                {line.number, fmt::format("comment out '{}': {} is a driver of XenLinux kernels",
                                          printable(trim(line.body), 80), words[2])});
        }
        out.text += line.body;
        out.text += line.ending;
    }
    return out;
}

}  // namespace amilift::image
