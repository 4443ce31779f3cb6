// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/line_editor.hpp"
#include "image/network_files.hpp"

namespace amilift::image {
namespace {

struct YamlKey {
    std::size_t indent = 0;
    std::string_view key;
    std::string_view value;    ///< trimmed, with quotes, with a remark
    std::size_t value_at = 0;  ///< body.size() if there is none
};

/// "key: value" of block style; absent for comments, list items and what is no mapping.
std::optional<YamlKey> yaml_key(std::string_view body) {
    YamlKey out;
    out.indent = std::min(body.find_first_not_of(' '), body.size());
    if (out.indent == body.size() || body[out.indent] == '#' || body[out.indent] == '-' ||
        body[out.indent] == '\t') {
        return std::nullopt;
    }
    std::size_t colon = std::string_view::npos;
    if (body[out.indent] == '"' || body[out.indent] == '\'') {
        const auto close = body.find(body[out.indent], out.indent + 1);
        if (close == std::string_view::npos) return std::nullopt;
        colon = body.find(':', close);
    } else {
        for (auto at = body.find(':', out.indent); at != std::string_view::npos;
             at = body.find(':', at + 1)) {
            if (at + 1 == body.size() || kSpaces.find(body[at + 1]) != std::string_view::npos) {
                colon = at;
                break;
            }
        }
    }
    if (colon == std::string_view::npos) return std::nullopt;
    out.key = unquoted(trim(body.substr(out.indent, colon - out.indent)));
    out.value_at = std::min(body.find_first_not_of(kSpaces, colon + 1), body.size());
    out.value = trim(body.substr(out.value_at));
    return out;
}

/// Without remark and quotes.
std::string_view yaml_scalar(std::string_view value) {
    if (!value.empty() && (value.front() == '"' || value.front() == '\'')) {
        const auto close = value.find(value.front(), 1);
        if (close != std::string_view::npos) return value.substr(1, close - 1);
    }
    if (value.starts_with('#')) return {};
    return trim(value.substr(0, value.find(" #")));
}

/// The lines of one key: itself and what is indented below it.
struct YamlRange {
    std::size_t begin = 0;
    std::size_t end = 0;
};

struct NetplanEntry {
    NetplanInterface known;
    YamlRange range;
    std::size_t child_indent = 0;
    bool has_flow = false;
    std::optional<YamlRange> match;
    std::optional<std::size_t> match_mac;  ///< line of the MAC to match
    bool match_has_more = false;           ///< a name or a driver besides the MAC
    bool match_is_odd = false;             ///< braces that are not one simple mapping
    std::optional<std::size_t> set_mac;
    std::optional<std::size_t> dhcp4;
    std::vector<YamlRange> addresses;  ///< addresses, gateways and routes
    std::string set_name;
};

YamlRange range_of(const std::vector<Line>& lines, std::size_t begin, std::size_t indent) {
    YamlRange range{begin, begin + 1};
    for (auto i = begin + 1; i < lines.size(); ++i) {
        const auto at = indent_of(lines[i].body);
        if (at == lines[i].body.size() || lines[i].body[at] == '#') continue;
        // The items of a list may stand as far left as their key.
        if (at < indent || (at == indent && lines[i].body[at] != '-')) break;
        range.end = i + 1;
    }
    return range;
}

/// "{a: b}" on one line, and nothing but a remark behind it.
bool is_one_mapping(std::string_view value) {
    const auto close = value.find('}');
    if (close == std::string_view::npos || value.find('{', 1) != std::string_view::npos) {
        return false;
    }
    const auto rest = trim(value.substr(close + 1));
    return rest.empty() || rest.starts_with('#');
}

void read_netplan_child(const std::vector<Line>& lines, std::size_t i, const YamlKey& key,
                        NetplanEntry& entry) {
    const auto range = range_of(lines, i, key.indent);
    const auto scalar = yaml_scalar(key.value);
    if (key.key == "match") {
        // Of two the last one counts.
        entry.match = range;
        entry.match_mac.reset();
        entry.match_has_more = false;
        entry.match_is_odd = false;
        if (key.value.starts_with('{')) {
            entry.match_is_odd = !is_one_mapping(key.value);
            if (key.value.find("macaddress") != std::string_view::npos) entry.match_mac = i;
            entry.match_has_more = key.value.find(',') != std::string_view::npos;
            if (const auto at = key.value.find("name:"); at != std::string_view::npos) {
                const auto rest = trim(key.value.substr(at + 5));
                entry.known.name = unquoted(trim(rest.substr(0, rest.find_first_of(",}"))));
            }
        }
        for (auto k = range.begin + 1; k < range.end; ++k) {
            const auto child = yaml_key(lines[k].body);
            if (!child) continue;
            if (child->key == "macaddress") {
                entry.match_mac = k;
            } else {
                entry.match_has_more = true;
                if (child->key == "name") entry.known.name = yaml_scalar(child->value);
            }
        }
    } else if (key.key == "set-name") {
        entry.set_name = scalar;
    } else if (key.key == "macaddress") {
        entry.set_mac = i;
    } else if (key.key == "dhcp4") {
        entry.dhcp4 = i;
    } else if (key.key == "addresses" || key.key == "gateway4" || key.key == "gateway6" ||
               key.key == "routes") {
        if (scalar != "[]") entry.addresses.push_back(range);
        if (key.key == "addresses" && scalar != "[]") entry.known.is_static = true;
    }
}

std::vector<NetplanEntry> netplan_entries(const std::vector<Line>& lines) {
    std::vector<NetplanEntry> out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto ethernets = yaml_key(lines[i].body);
        if (!ethernets || ethernets->key != "ethernets") continue;
        const auto block = range_of(lines, i, ethernets->indent);
        std::optional<std::size_t> entry_indent;
        for (auto k = block.begin + 1; k < block.end; ++k) {
            const auto key = yaml_key(lines[k].body);
            if (!key || key->indent <= ethernets->indent) continue;
            if (!entry_indent) entry_indent = key->indent;
            if (key->indent != *entry_indent) continue;
            NetplanEntry entry;
            entry.known.id = key->key;
            entry.known.line = lines[k].number;
            entry.range = range_of(lines, k, key->indent);
            entry.has_flow = key->value.starts_with('{');
            for (auto n = entry.range.begin + 1; n < entry.range.end; ++n) {
                const auto child = yaml_key(lines[n].body);
                if (!child || child->indent <= key->indent) continue;
                if (entry.child_indent == 0) entry.child_indent = child->indent;
                if (child->indent == entry.child_indent) {
                    read_netplan_child(lines, n, *child, entry);
                }
            }
            entry.known.by_mac = entry.match_mac.has_value();
            if (!entry.set_name.empty()) {
                entry.known.name = entry.set_name;
            } else if (!entry.match) {
                entry.known.name = entry.known.id;
            }
            out.push_back(std::move(entry));
        }
        i = block.end - 1;
    }
    return out;
}

/// `macaddress: X` in a line becomes `name: Y`; what stands around it stays.
std::string mac_to_name(std::string_view body, std::string_view name) {
    const auto at = body.find("macaddress");
    const auto colon = body.find(':', at);
    if (at == std::string_view::npos || colon == std::string_view::npos) return std::string(body);
    auto begin = at;
    if (begin > 0 && (body[begin - 1] == '"' || body[begin - 1] == '\'')) --begin;
    const auto value = std::min(body.find_first_not_of(kSpaces, colon + 1), body.size());
    auto end = body.size();
    if (value < body.size() && (body[value] == '"' || body[value] == '\'')) {
        const auto close = body.find(body[value], value + 1);
        if (close != std::string_view::npos) end = close + 1;
    } else {
        end = std::min(body.find_first_of(" \t,}", value), body.size());
    }
    return fmt::format("{}name: {}{}", body.substr(0, begin), name, body.substr(end));
}

}  // namespace

std::vector<NetplanInterface> netplan_interfaces(std::string_view text) {
    std::vector<NetplanInterface> out;
    for (auto& entry : netplan_entries(split_lines(text))) out.push_back(std::move(entry.known));
    return out;
}

std::optional<int> netplan_address_elsewhere(std::string_view text) {
    const auto lines = split_lines(text);
    std::vector<bool> known(lines.size());
    for (const auto& entry : netplan_entries(lines)) {
        for (auto i = entry.range.begin; i < entry.range.end; ++i) known[i] = true;
    }
    std::size_t servers_indent = std::string_view::npos;  ///< inside of nameservers:
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto body = lines[i].body;
        if (is_comment(body)) continue;
        if (indent_of(body) <= servers_indent) servers_indent = std::string_view::npos;
        const auto key = yaml_key(body);
        if (key && key->key == "nameservers") servers_indent = key->indent;
        if (known[i] || servers_indent != std::string_view::npos) continue;
        const bool flow = body.find('{') != std::string_view::npos &&
                          body.find("nameservers") == std::string_view::npos;
        const bool names_one =
            key && (key->key == "addresses" || key->key == "gateway4" || key->key == "gateway6");
        const bool holds_one = flow && (body.find("addresses") != std::string_view::npos ||
                                        body.find("gateway4") != std::string_view::npos);
        if (names_one || holds_one) return lines[i].number;
    }
    return std::nullopt;
}

NetworkEdit edit_netplan(std::string_view text, std::string_view id) {
    LineEditor editor(text);
    NetworkEdit out;
    for (const auto& entry : netplan_entries(editor.lines())) {
        if (entry.known.id != id) continue;
        const auto& lines = editor.lines();
        if (entry.has_flow) {
            out.left = fmt::format("line {}: '{}' is written in braces", entry.known.line,
                                   printable(entry.known.id, 40));
            continue;
        }
        if (entry.match_mac) {
            const auto body = lines[*entry.match_mac].body;
            const bool in_braces = entry.match->begin == *entry.match_mac;
            if (entry.match_is_odd) {
                out.left = fmt::format("line {}: a match in braces that are not one mapping",
                                       lines[*entry.match_mac].number);
            } else if (!entry.match_has_more) {
                editor.replace(*entry.match_mac,
                               mac_to_name(body, entry.set_name == "eth0" ? "eth0" : "\"e*\""));
            } else if (in_braces) {
                out.left = fmt::format("line {}: a match in braces with more than a MAC",
                                       lines[*entry.match_mac].number);
            } else {
                editor.comment_out(*entry.match_mac);
            }
        }
        if (entry.set_mac) editor.comment_out(*entry.set_mac);
        if (!entry.known.is_static) continue;
        out.static_at = lines[entry.addresses.front().begin].number;
        if (entry.dhcp4) {
            const auto key = yaml_key(lines[*entry.dhcp4].body);
            const auto scalar = yaml_scalar(key->value);
            const auto word = lower(scalar);
            if (word != "true" && word != "yes" && word != "on") {
                const auto body = lines[*entry.dhcp4].body;
                editor.replace(*entry.dhcp4,
                               fmt::format("{}{}true{}", body.substr(0, key->value_at),
                                           key->value_at == body.size() ? " " : "",
                                           body.substr(key->value_at + scalar.size())));
            }
        } else {
            editor.insert(entry.addresses.front().begin,
                          std::string(entry.child_indent, ' ') + "dhcp4: true");
        }
        for (const auto& range : entry.addresses) {
            for (auto i = range.begin; i < range.end; ++i) {
                if (!is_comment(lines[i].body)) editor.comment_out(i);
            }
        }
    }
    out.edited = editor.take();
    return out;
}

}  // namespace amilift::image
