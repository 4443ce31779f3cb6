// SPDX-License-Identifier: Apache-2.0
// Files of [Section]s: those of systemd-networkd and NetworkManager.
#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"
#include "image/line_editor.hpp"
#include "image/network_files.hpp"

namespace amilift::image {
namespace {

/// One line of a file of [Section]s.
struct IniLine {
    std::string section;
    std::optional<std::size_t> section_begin;  ///< line of its head
    std::optional<KeyValue> assignment;
};

std::vector<IniLine> ini_lines(const std::vector<Line>& lines) {
    std::vector<IniLine> out;
    IniLine now;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto body = trim(lines[i].body);
        now.assignment.reset();
        if (body.starts_with('[') && body.ends_with(']')) {
            now.section = body.substr(1, body.size() - 2);
            now.section_begin = i;
        } else {
            now.assignment = key_value(lines[i].body);
        }
        out.push_back(now);
    }
    return out;
}

std::string ini_value(std::string_view text, std::string_view section, std::string_view key) {
    const auto lines = split_lines(text);
    std::string value;
    for (const auto& line : ini_lines(lines)) {
        if (line.section == section && line.assignment && line.assignment->key == key) {
            value = line.assignment->value;
        }
    }
    return value;
}

bool is_mac_key(std::string_view key) {
    return key == "MACAddress" || key == "PermanentMACAddress";
}

}  // namespace

std::string networkd_interface(std::string_view text, NetworkdFile kind) {
    return ini_value(text, kind == NetworkdFile::network ? "Match" : "Link", "Name");
}

bool networkd_matches_mac(std::string_view text) {
    return !ini_value(text, "Match", "MACAddress").empty() ||
           !ini_value(text, "Match", "PermanentMACAddress").empty();
}

NetworkEdit edit_networkd(std::string_view text, NetworkdFile kind) {
    LineEditor editor(text);
    NetworkEdit out;
    const auto& lines = editor.lines();
    const auto ini = ini_lines(lines);
    bool matches_more = false;
    bool has_address = false;
    std::optional<std::size_t> network_head;
    std::optional<std::size_t> dhcp;
    for (std::size_t i = 0; i < ini.size(); ++i) {
        const auto& line = ini[i];
        if (line.section == "Network" && !network_head) network_head = line.section_begin;
        if (!line.assignment) continue;
        const auto key = line.assignment->key;
        const bool is_set = !line.assignment->value.empty();
        if (line.section == "Match" && !is_mac_key(key)) matches_more = true;
        if (line.section == "Network" && key == "DHCP") dhcp = i;
        if ((line.section == "Network" || line.section == "Address") && key == "Address" &&
            is_set) {
            has_address = true;
            if (!out.static_at) out.static_at = lines[i].number;
        }
    }
    for (std::size_t i = 0; i < ini.size(); ++i) {
        const auto& line = ini[i];
        if (!line.assignment) continue;
        const auto key = line.assignment->key;
        if (line.section == "Match" && is_mac_key(key)) {
            if (matches_more) {
                editor.comment_out(i);
            } else {
                editor.replace(i, kind == NetworkdFile::network ? "Name=e*" : "OriginalName=eth0");
                matches_more = true;
            }
        } else if (line.section == "Link" && key == "MACAddress") {
            editor.comment_out(i);
        } else if (kind == NetworkdFile::network && has_address &&
                   ((line.section == "Network" && (key == "Address" || key == "Gateway")) ||
                    line.section == "Address" || line.section == "Route")) {
            editor.comment_out(i);
            if ((line.section == "Address" || line.section == "Route") &&
                !editor.is_changed(*line.section_begin)) {
                editor.comment_out(*line.section_begin);
            }
        }
    }
    if (has_address && dhcp) {
        const auto value = core::lower(ini[*dhcp].assignment->value);
        if (value == "no" || value == "false" || value == "ipv6" || value == "none" ||
            value.empty()) {
            editor.replace(*dhcp, with_value(lines[*dhcp].body, *ini[*dhcp].assignment, "yes"));
        }
    } else if (has_address && network_head && *network_head + 1 < lines.size()) {
        editor.insert(*network_head + 1, "DHCP=yes");
    } else if (has_address) {
        // [Address] alone: there is no [Network] to ask for DHCP in.
        out.left = "it has an address, but no section [Network]";
    }
    if (!out.left.empty()) {
        out.static_at.reset();
        out.edited = {std::string(text), {}};
        return out;
    }
    out.edited = editor.take();
    return out;
}

std::optional<std::string> keyfile_interface(std::string_view text) {
    const auto type = ini_value(text, "connection", "type");
    if (type != "ethernet" && type != "802-3-ethernet") return std::nullopt;
    return ini_value(text, "connection", "interface-name");
}

NetworkEdit edit_keyfile(std::string_view text) {
    LineEditor editor(text);
    NetworkEdit out;
    const auto& lines = editor.lines();
    const auto ini = ini_lines(lines);
    const bool is_manual = ini_value(text, "ipv4", "method") == "manual";
    for (std::size_t i = 0; i < ini.size(); ++i) {
        const auto& line = ini[i];
        if (!line.assignment) continue;
        const auto key = line.assignment->key;
        if (line.section == "ethernet" || line.section == "802-3-ethernet") {
            if ((key == "mac-address" || key == "cloned-mac-address") &&
                (is_mac(line.assignment->value) ||
                 line.assignment->value.find(';') != std::string_view::npos)) {
                editor.comment_out(i);
            }
        } else if (line.section == "ipv4" && is_manual) {
            if (key == "method") {
                out.static_at = lines[i].number;
                editor.replace(i, with_value(lines[i].body, *line.assignment, "auto"));
            } else if (is_numbered(key, "address") || key == "addresses" || key == "gateway" ||
                       is_numbered(key, "route")) {
                editor.comment_out(i);
            }
        }
    }
    out.edited = editor.take();
    return out;
}

}  // namespace amilift::image
