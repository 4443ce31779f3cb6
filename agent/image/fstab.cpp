// SPDX-License-Identifier: Apache-2.0
#include "image/fstab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/text.hpp"

namespace amilift::image {

namespace {

/// A field and where it stands in its line.
struct Field {
    std::size_t at = 0;
    std::string_view text;
};

/// At most six: what follows fs_passno is no field.
std::vector<Field> fields_of(std::string_view body) {
    std::vector<Field> fields;
    std::size_t at = body.find_first_not_of(" \t");
    while (at != std::string_view::npos && fields.size() < 6) {
        const auto end = std::min(body.find_first_of(" \t", at), body.size());
        fields.push_back({at, body.substr(at, end - at)});
        at = body.find_first_not_of(" \t", end);
    }
    return fields;
}

std::vector<Field> entry_fields(std::string_view body) {
    auto fields = fields_of(body);
    if (fields.size() < 2 || fields[0].text.starts_with('#')) return {};
    // "dev dir type opts # remark": the remark is no fs_freq.
    const auto remark = std::ranges::find_if(
        fields, [](const Field& field) { return field.text.starts_with('#'); });
    fields.erase(remark, fields.end());
    if (fields.size() < 2) return {};
    return fields;
}

bool is_octal(char c) {
    return c >= '0' && c <= '7';
}

bool has_option(std::string_view options, std::string_view wanted) {
    while (!options.empty()) {
        const auto comma = options.find(',');
        if (options.substr(0, comma) == wanted) return true;
        if (comma == std::string_view::npos) return false;
        options.remove_prefix(comma + 1);
    }
    return false;
}

/// Why the root's line must change; absent: it may stay.
std::optional<std::string> wrong_root_spec(std::string_view spec, std::string_view type,
                                           const FstabEdit& edit) {
    constexpr std::array<std::string_view, 7> kNotOnDisk{"overlay", "overlayfs", "aufs", "tmpfs",
                                                         "rootfs",  "nfs",       "nfs4"};
    if (std::ranges::find(kNotOnDisk, type) != kNotOnDisk.end()) return std::nullopt;
    if (spec == edit.root_spec) return std::nullopt;
    if (const auto label = tag_value(spec, "LABEL")) {
        if (*label == edit.root_label) return std::nullopt;
        return fmt::format("the root filesystem's label is '{}'", printable(edit.root_label, 80));
    }
    if (const auto uuid = tag_value(spec, "UUID")) {
        if (core::lower(*uuid) == core::lower(edit.root_uuid)) return std::nullopt;
        return fmt::format("the root filesystem's UUID is {}", printable(edit.root_uuid, 80));
    }
    if (!spec.starts_with("/dev/") &&
        (tag_value(spec, "PARTUUID") || tag_value(spec, "PARTLABEL"))) {
        if (edit.keeps_partitions) return std::nullopt;
        return "there is a new partition table";
    }
    if (spec.starts_with("/dev/")) return "a device name is not the same on every instance type";
    return std::nullopt;
}

/// systemd.mount(5); swapon ignores it.
constexpr std::string_view kDeviceTimeout = "x-systemd.device-timeout";

class Editor {
  public:
    Editor(std::string_view text, const FstabEdit& edit) : edit_(edit), text_(text) {
        const auto entries = parse_fstab(text);
        for (const auto& entry : entries) {
            if (entry.file == "/" && entry.spec.starts_with("/dev/")) root_device_ = entry.spec;
        }
        // What is the root by another name, and so will have its label, counts: a second edit must
        // not see more than the first one.
        root_label_is_shared_ = std::ranges::any_of(entries, [&](const FstabEntry& entry) {
            return entry.file != "/" && (tag_value(entry.spec, "LABEL") == edit.root_label ||
                                         is_root_device(entry.spec));
        });
    }

    EditedText run() {
        for (const auto& line : split_lines(text_)) {
            body_ = line.body;
            number_ = line.number;
            // The fields point into the text before the edit, which stays while body_ changes.
            if (const auto fields = entry_fields(line.body); !fields.empty()) edit_entry(fields);
            result_.text += body_;
            result_.text += line.ending;
        }
        return std::move(result_);
    }

  private:
    void edit_entry(const std::vector<Field>& fields) {
        const std::string spec(fields[0].text);
        const std::string file = decode_octal(fields[1].text);
        const std::string type(fields.size() > 2 ? fields[2].text : "");
        const std::string options(fields.size() > 3 ? fields[3].text : "");
        if (edit_.root_spec.empty() && (file == "/" || is_root_device(spec))) return;
        if (file == "/") {
            auto why = wrong_root_spec(spec, type, edit_);
            if (!why && (root_label_is_shared_ || edit_.is_label_shared) &&
                tag_value(spec, "LABEL") && spec != edit_.root_spec) {
                why = "another volume has this label too";
            }
            if (why) {
                note(fmt::format("'{}' -> '{}' ({})", printable(spec), edit_.root_spec, *why));
                replace(fields[0], edit_.root_spec);
            }
            return;
        }
        if (has_option(options, "bind") || has_option(options, "rbind")) return;
        if (is_root_device(spec)) {
            note(fmt::format("'{}' -> '{}' (the same device as the root)", printable(spec),
                             edit_.root_spec));
            replace(fields[0], edit_.root_spec);
            return;
        }
        const auto other = std::ranges::find(edit_.other_devices, spec,
                                             &std::pair<std::string, std::string>::first);
        if (other != edit_.other_devices.end()) {
            note(fmt::format("'{}' -> '{}' (a device name is not the same on every instance type)",
                             printable(spec), other->second));
            replace(fields[0], other->second);
            return;
        }
        if ((is_unstable_device(spec) || is_missing_mapping(spec)) &&
            !has_option(options, "noauto")) {
            make_optional(fields, spec, file, options);
        }
    }

    /// Only the name that "/" itself has: /dev/xvde1 may be the root of RHEL 6, or a data disk.
    [[nodiscard]] bool is_root_device(const std::string& spec) const {
        return !root_device_.empty() && spec == root_device_ &&
               std::ranges::find(edit_.root_devices, spec) != edit_.root_devices.end();
    }

    [[nodiscard]] bool is_missing_mapping(std::string_view spec) const {
        constexpr std::string_view kMapper = "/dev/mapper/";
        return spec.starts_with(kMapper) &&
               std::ranges::find(edit_.missing_mappings, spec.substr(kMapper.size())) !=
                   edit_.missing_mappings.end();
    }

    void make_optional(const std::vector<Field>& fields, const std::string& spec,
                       const std::string& file, const std::string& options) {
        std::vector<std::string> done;
        const bool check = edit_.missing_device == MissingDevice::nofail_without_check ||
                           edit_.missing_device == MissingDevice::without_check;
        // From right to left, so that the offsets of the fields stay true.
        if (check && fields.size() == 6 && is_pass_number(fields[5].text) &&
            fields[5].text.find_first_not_of('0') != std::string_view::npos) {
            replace(fields[5], "0");
            done.emplace_back("no check at boot");
        }
        const std::string_view option =
            edit_.missing_device == MissingDevice::nobootwait ? "nobootwait" : "nofail";
        std::string added;
        if (edit_.missing_device != MissingDevice::without_check && !has_option(options, option)) {
            added = option;
        }
        // swap.target, and so the whole boot, is ordered after a swap that is only wanted too:
        // systemd would wait its default of 90 s for the device.
        if (edit_.missing_device == MissingDevice::nofail && fields.size() >= 3 &&
            fields[2].text == "swap" && options.find(kDeviceTimeout) == std::string::npos) {
            added += fmt::format("{}{}=5s", added.empty() ? "" : ",", kDeviceTimeout);
        }
        if (!added.empty() && fields.size() >= 3) {
            if (fields.size() == 3) {
                const auto end = fields[2].at + fields[2].text.size();
                body_.insert(end, fmt::format(" defaults,{}", added));
            } else {
                body_.insert(fields[3].at + fields[3].text.size(), fmt::format(",{}", added));
            }
            done.insert(done.begin(), fmt::format("add {}", added));
        }
        if (done.empty()) return;
        note(fmt::format("{}: {} ('{}' may not exist after the move)", printable(file),
                         fmt::join(done, ", "), printable(spec)));
    }

    [[nodiscard]] static bool is_pass_number(std::string_view text) {
        return std::ranges::all_of(text, core::is_digit);
    }

    void replace(const Field& field, std::string_view with) {
        body_.replace(field.at, field.text.size(), with);
    }

    void note(std::string text) { result_.changes.push_back({number_, std::move(text)}); }

    const FstabEdit& edit_;
    std::string_view text_;
    std::string root_device_;
    bool root_label_is_shared_ = false;
    std::string body_;
    int number_ = 0;
    EditedText result_;
};

}  // namespace

bool is_unstable_device(std::string_view spec) {
    constexpr std::array<std::string_view, 7> kPrefixes{
        "/dev/sd",   "/dev/xvd",        "/dev/hd",          "/dev/vd",
        "/dev/nvme", "/dev/disk/by-id", "/dev/disk/by-path"};
    return std::ranges::any_of(kPrefixes,
                               [&](std::string_view prefix) { return spec.starts_with(prefix); });
}

std::string decode_octal(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' && is_octal(text[i + 1]) &&
            is_octal(text[i + 2]) && is_octal(text[i + 3])) {
            out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                     (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

std::string decode_hex(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto digit = [&](std::size_t at) {
            const char c = text[at];
            if (c >= '0' && c <= '9') return c - '0';
            if (c >= 'a' && c <= 'f') return c - 'a' + 10;
            if (c >= 'A' && c <= 'F') return c - 'A' + 10;
            return -1;
        };
        if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] == 'x' && digit(i + 2) >= 0 &&
            digit(i + 3) >= 0) {
            out += static_cast<char>(digit(i + 2) * 16 + digit(i + 3));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

std::optional<std::string> tag_value(std::string_view spec, std::string_view tag) {
    const auto link = fmt::format("/dev/disk/by-{}/", core::lower(tag));
    if (spec.starts_with(link)) return decode_hex(spec.substr(link.size()));
    if (spec.size() <= tag.size() || core::lower(spec.substr(0, tag.size())) != core::lower(tag) ||
        spec[tag.size()] != '=') {
        return std::nullopt;
    }
    auto value = spec.substr(tag.size() + 1);
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
        value.back() == value.front()) {
        value.remove_prefix(1);
        value.remove_suffix(1);
    }
    return decode_octal(value);
}

std::vector<FstabEntry> parse_fstab(std::string_view text) {
    std::vector<FstabEntry> entries;
    for (const auto& line : split_lines(text)) {
        const auto fields = entry_fields(line.body);
        if (fields.empty()) continue;
        FstabEntry entry;
        entry.line = line.number;
        entry.spec = fields[0].text;
        entry.file = decode_octal(fields[1].text);
        if (fields.size() > 2) entry.type = fields[2].text;
        if (fields.size() > 3) entry.options = fields[3].text;
        if (fields.size() > 5 && fields[5].text.size() == 1 && fields[5].text[0] >= '0' &&
            fields[5].text[0] <= '9') {
            entry.pass = fields[5].text[0] - '0';
        }
        entries.push_back(std::move(entry));
    }
    return entries;
}

EditedText edit_fstab(std::string_view text, const FstabEdit& edit) {
    return Editor(text, edit).run();
}

}  // namespace amilift::image
