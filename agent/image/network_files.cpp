// SPDX-License-Identifier: Apache-2.0
#include "image/network_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/text.hpp"
#include "image/line_editor.hpp"
#include "image/os_facts.hpp"

namespace amilift::image {
namespace {

bool is_address_key(std::string_view key) {
    constexpr std::array<std::string_view, 8> kBases{"IPADDR",    "NETMASK",      "PREFIX",
                                                     "PREFIXLEN", "GATEWAY",      "NETWORK",
                                                     "BROADCAST", "REMOTE_IPADDR"};
    return key == "IPV6ADDR" || key == "IPV6ADDR_SECONDARIES" || key == "IPV6_DEFAULTGW" ||
           std::ranges::any_of(kBases,
                               [&](std::string_view base) { return is_numbered(key, base); });
}

}  // namespace

// ---------------------------------------------------------------------------------------- udev

namespace {

/// Does the rule say which name the card with one MAC address gets?
bool names_by_mac(std::string_view rule) {
    if (is_comment(rule)) return false;
    bool has_name = false;
    for (auto at = rule.find("NAME"); at != std::string_view::npos;
         at = rule.find("NAME", at + 1)) {
        // Not ID_NAME or ENV{IFNAME}.
        if (at > 0 && rule[at - 1] != ',' && kSpaces.find(rule[at - 1]) == std::string_view::npos) {
            continue;
        }
        auto rest = rule.substr(at + 4);
        rest.remove_prefix(indent_of(rest));
        const bool assigns = rest.starts_with("=\"") || rest.starts_with(":=\"") ||
                             rest.starts_with("= \"") || rest.starts_with("+=\"");
        has_name = has_name || assigns;
    }
    if (!has_name) return false;
    for (const std::string_view word : {"address}", "MATCHADDR}"}) {
        for (auto at = rule.find(word); at != std::string_view::npos;
             at = rule.find(word, at + 1)) {
            const auto open = rule.find('"', at);
            if (open == std::string_view::npos) break;
            const auto close = rule.find('"', open + 1);
            if (close == std::string_view::npos) break;
            if (is_mac(rule.substr(open + 1, close - open - 1))) return true;
        }
    }
    return false;
}

}  // namespace

EditedText edit_udev_names(std::string_view text) {
    LineEditor editor(text);
    const auto& lines = editor.lines();
    for (std::size_t i = 0; i < lines.size(); ++i) {
        std::string rule(lines[i].body);
        auto last = i;
        while (rule.ends_with('\\') && last + 1 < lines.size() && !is_comment(lines[i].body)) {
            rule.back() = ' ';
            rule += lines[++last].body;
        }
        if (names_by_mac(rule)) {
            for (auto k = i; k <= last; ++k) editor.remove(k);
        }
        i = last;
    }
    return editor.take();
}

// --------------------------------------------------------------------------------------- ifcfg

NetworkEdit edit_ifcfg(std::string_view text) {
    LineEditor editor(text);
    NetworkEdit out;
    std::optional<std::size_t> protocol;
    std::optional<std::size_t> first_address;
    bool is_part = false;
    for (std::size_t i = 0; i < editor.lines().size(); ++i) {
        const auto found = key_value(editor.lines()[i].body);
        if (!found) continue;
        if (found->key == "HWADDR" || found->key == "MACADDR" || found->key == "LLADDR") {
            editor.remove(i);
        } else if (found->key == "BOOTPROTO") {
            protocol = i;
        } else if (is_address_key(found->key) && !found->value.empty()) {
            if (!first_address) first_address = i;
        } else if (found->key == "BRIDGE" || found->key == "MASTER" ||
                   found->key == "TEAM_MASTER" || found->key == "BONDING_MASTER") {
            is_part = is_part || !found->value.empty();
        }
    }
    if (first_address && is_part) {
        out.left = "it is part of a bridge or a bond";
    } else if (first_address) {
        const auto& lines = editor.lines();
        out.static_at = lines[*first_address].number;
        if (protocol) {
            const auto body = lines[*protocol].body;
            const auto found = key_value(body);
            if (!core::lower(found->value).starts_with("dhcp")) {
                editor.replace(*protocol, with_value(body, *found, "dhcp"));
            }
        } else {
            editor.insert(*first_address, "BOOTPROTO=dhcp");
        }
        for (auto i = *first_address; i < lines.size(); ++i) {
            const auto found = key_value(lines[i].body);
            if (found && is_address_key(found->key) && !found->value.empty()) {
                editor.comment_out(i);
            }
        }
    }
    out.edited = editor.take();
    return out;
}

std::string ifcfg_interface(std::string_view text, std::string_view file_name) {
    auto device = assignment(text, "DEVICE");
    if (!device.empty()) return device;
    constexpr std::string_view kPrefix = "ifcfg-";
    if (file_name.starts_with(kPrefix)) file_name.remove_prefix(kPrefix.size());
    return std::string(file_name);
}

EditedText edit_sysconfig_network(std::string_view text) {
    LineEditor editor(text);
    for (std::size_t i = 0; i < editor.lines().size(); ++i) {
        const auto found = key_value(editor.lines()[i].body);
        if (found && (found->key == "GATEWAY" || found->key == "IPV6_DEFAULTGW") &&
            !found->value.empty()) {
            editor.comment_out(i);
        }
    }
    return editor.take();
}

namespace {

/// One of ADDRESS3=, NETMASK3= and GATEWAY3=, which are a route together.
struct RouteKey {
    std::string_view base;
    int number = 0;
};

std::optional<RouteKey> route_key(std::string_view key) {
    for (const std::string_view base : {"ADDRESS", "NETMASK", "GATEWAY"}) {
        if (!key.starts_with(base)) continue;
        const std::string digits(key.substr(base.size()));
        int number = 0;
        const auto* const end = digits.data() + digits.size();
        const auto read = std::from_chars(digits.data(), end, number);
        if (digits.empty() || read.ec != std::errc() || read.ptr != end || number < 0) continue;
        return RouteKey{base, number};
    }
    return std::nullopt;
}

/// "default via 10.0.0.1", "default 10.0.0.1 - eth0", "0.0.0.0 10.0.0.1 0.0.0.0 eth0".
bool is_default_route(const std::vector<std::string_view>& words) {
    if (words.empty()) return false;
    if (words[0] == "default" || words[0] == "0.0.0.0/0" || words[0] == "0/0") return true;
    return words[0] == "0.0.0.0" && words.size() > 2 && words[2] == "0.0.0.0";
}

/// The scripts read ADDRESS0, ADDRESS1 and so on, and stop where one is missing: the last route
/// takes the number of the one that goes.
void remove_numbered_default(LineEditor& editor) {
    const auto& lines = editor.lines();
    std::optional<int> gone;
    int last = -1;
    for (const auto& line : lines) {
        const auto found = key_value(line.body);
        const auto key = found ? route_key(found->key) : std::nullopt;
        if (!key) continue;
        last = std::max(last, key->number);
        if (key->base == "ADDRESS" && found->value == "0.0.0.0" && !gone) gone = key->number;
    }
    if (!gone) return;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto found = key_value(lines[i].body);
        const auto key = found ? route_key(found->key) : std::nullopt;
        if (!key) continue;
        if (key->number == *gone) {
            editor.comment_out(i);
        } else if (key->number == last) {
            const auto rest = lines[i].body.substr(found->value_at);
            editor.replace(i, fmt::format("{}{}={}", key->base, *gone, rest));
        }
    }
}

}  // namespace

EditedText edit_routes(std::string_view text) {
    LineEditor editor(text);
    for (std::size_t i = 0; i < editor.lines().size(); ++i) {
        if (is_default_route(split_words(editor.lines()[i].body))) editor.comment_out(i);
    }
    remove_numbered_default(editor);
    return editor.take();
}

// ------------------------------------------------------------------------------------ ifupdown

namespace {

/// Keywords of interfaces(5) that begin a stanza.
bool begins_stanza(std::string_view word) {
    constexpr std::array<std::string_view, 9> kWords{"iface",    "mapping",          "auto",
                                                     "source",   "source-directory", "rename",
                                                     "template", "no-auto-down",     "no-scripts"};
    return std::ranges::find(kWords, word) != kWords.end() || word.starts_with("allow-");
}

bool is_interfaces_address(std::string_view word) {
    constexpr std::array<std::string_view, 7> kWords{
        "address", "netmask", "network", "broadcast", "gateway", "pointopoint", "hwaddress"};
    return std::ranges::find(kWords, word) != kWords.end();
}

}  // namespace

NetworkEdit edit_interfaces(std::string_view text, std::string_view interface) {
    LineEditor editor(text);
    NetworkEdit out;
    enum class Stanza { other, dhcp, was_static } stanza = Stanza::other;
    const auto& lines = editor.lines();
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto first = i;
        // A line that goes on belongs to its first.
        while (lines[i].body.ends_with('\\') && i + 1 < lines.size() &&
               !is_comment(lines[first].body)) {
            ++i;
        }
        const auto body = lines[first].body;
        const auto words = split_words(body);
        if (words.empty() || words[0].starts_with('#')) continue;
        if (begins_stanza(words[0])) {
            stanza = Stanza::other;
            if (words[0] != "iface" || words.size() < 4 || words[1] != interface) continue;
            if (words[2] == "inet6" && words[3] == "static") {
                out.left = fmt::format("line {}: a static IPv6 address", lines[first].number);
            }
            if (words[2] != "inet") continue;
            if (words[3] == "dhcp") stanza = Stanza::dhcp;
            if (words[3] != "static") continue;
            stanza = Stanza::was_static;
            out.static_at = lines[first].number;
            const auto at = static_cast<std::size_t>(words[3].data() - body.data());
            editor.replace(first, fmt::format("{}dhcp{}", body.substr(0, at),
                                              body.substr(at + words[3].size())));
        } else if (stanza != Stanza::other && is_interfaces_address(words[0])) {
            for (auto k = first; k <= i; ++k) editor.comment_out(k);
        }
    }
    out.edited = editor.take();
    return out;
}

std::vector<std::string> interfaces_names(std::string_view text) {
    std::vector<std::string> out;
    for (const auto& line : split_lines(text)) {
        const auto words = split_words(line.body);
        if (words.size() < 2 || words[0] != "iface" || words[1] == "lo") continue;
        if (std::ranges::find(out, words[1]) == out.end()) out.emplace_back(words[1]);
    }
    return out;
}

std::vector<InterfacesSource> interfaces_sources(std::string_view text) {
    std::vector<InterfacesSource> out;
    for (const auto& line : split_lines(text)) {
        const auto words = split_words(line.body);
        if (words.size() < 2) continue;
        if (words[0] != "source" && words[0] != "source-directory") continue;
        out.push_back({std::string(words[1]), words[0] == "source-directory"});
    }
    return out;
}

}  // namespace amilift::image
