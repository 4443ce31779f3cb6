// SPDX-License-Identifier: Apache-2.0
#include "image/network_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <utility>

#include "image/os_facts.hpp"

namespace amilift::image {

namespace {

constexpr std::string_view kBlanks = " \t";

std::size_t indent_of(std::string_view body) {
    return std::min(body.find_first_not_of(kBlanks), body.size());
}

bool is_comment(std::string_view body) {
    const auto at = indent_of(body);
    return at == body.size() || body[at] == '#' || body[at] == ';';
}

std::string_view unquoted(std::string_view text) {
    if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
        text.back() == text.front()) {
        text.remove_prefix(1);
        text.remove_suffix(1);
    }
    return text;
}

/// "02:ab:cd:ef:01:23"
bool is_mac(std::string_view text) {
    if (text.size() != 17) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool separator = i % 3 == 2;
        if (separator ? text[i] != ':' && text[i] != '-'
                      : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) {
            return false;
        }
    }
    return true;
}

/// Lines with some of them exchanged, commented out or taken away.
class LineEditor {
  public:
    explicit LineEditor(std::string_view text) : lines_(split_lines(text)) {
        bodies_.resize(lines_.size());
        inserted_.resize(lines_.size());
    }

    [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }
    [[nodiscard]] bool is_changed(std::size_t i) const { return bodies_[i].has_value(); }

    void replace(std::size_t i, std::string body) {
        if (bodies_[i]) return;
        note(i, fmt::format("'{}' -> '{}'", printable(trim(lines_[i].body), 80),
                            printable(trim(body), 80)));
        bodies_[i] = std::move(body);
    }
    void comment_out(std::size_t i) {
        if (bodies_[i]) return;
        const auto at = indent_of(lines_[i].body);
        note(i, fmt::format("comment out '{}'", printable(trim(lines_[i].body), 80)));
        bodies_[i] = fmt::format("{}#{}", lines_[i].body.substr(0, at), lines_[i].body.substr(at));
    }
    void remove(std::size_t i) {
        if (bodies_[i]) return;
        note(i, fmt::format("remove '{}'", printable(trim(lines_[i].body), 120)));
        bodies_[i].emplace();
        removed_.push_back(i);
    }
    /// A line of its own before line `i`.
    void insert(std::size_t i, std::string body) {
        note(i, fmt::format("add '{}'", printable(trim(body), 80)));
        inserted_[i] = std::move(body);
    }

    [[nodiscard]] EditedText take() {
        EditedText out;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            if (inserted_[i]) {
                out.text += *inserted_[i];
                out.text += lines_[i].ending.empty() ? "\n" : lines_[i].ending;
            }
            if (std::ranges::find(removed_, i) != removed_.end()) continue;
            out.text += bodies_[i] ? std::string_view(*bodies_[i]) : lines_[i].body;
            out.text += lines_[i].ending;
        }
        // Not std::stable_sort: clang rejects libstdc++ 12's for its deprecated temporary buffer.
        std::vector<std::size_t> order(changes_.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(changes_[i].line, i); });
        for (const auto i : order) out.changes.push_back(std::move(changes_[i]));
        return out;
    }

  private:
    void note(std::size_t i, std::string text) {
        changes_.push_back({lines_[i].number, std::move(text)});
    }

    std::vector<Line> lines_;
    std::vector<std::optional<std::string>> bodies_;
    std::vector<std::optional<std::string>> inserted_;
    std::vector<std::size_t> removed_;
    std::vector<TextChange> changes_;
};

/// A line KEY=value; blanks around both are left out of them.
struct KeyValue {
    std::string_view key;
    std::string_view value;  ///< without quotes around it and without a remark behind it
    std::size_t value_at = 0;
    std::size_t value_size = 0;  ///< with quotes
};

std::optional<KeyValue> key_value(std::string_view body) {
    if (is_comment(body)) return std::nullopt;
    const auto equals = body.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    KeyValue out;
    out.key = trim(body.substr(0, equals));
    out.value_at = std::min(body.find_first_not_of(kBlanks, equals + 1), body.size());
    auto rest = body.substr(out.value_at);
    if (!rest.empty() && (rest.front() == '"' || rest.front() == '\'')) {
        const auto close = rest.find(rest.front(), 1);
        rest = rest.substr(0, close == std::string_view::npos ? rest.size() : close + 1);
    } else {
        rest = trim(rest.substr(0, rest.find(" #")));
    }
    out.value_size = rest.size();
    out.value = unquoted(rest);
    return out;
}

/// The body with the value exchanged, in the same quotes.
std::string with_value(std::string_view body, const KeyValue& found, std::string_view value) {
    const auto raw = body.substr(found.value_at, found.value_size);
    const bool quoted = raw.size() != found.value.size();
    const auto quote = quoted ? raw.substr(0, 1) : std::string_view();
    return fmt::format("{}{}{}{}{}", body.substr(0, found.value_at), quote, value, quote,
                       body.substr(found.value_at + found.value_size));
}

/// "IPADDR", "IPADDR0", "IPADDR_2"
bool is_numbered(std::string_view key, std::string_view base) {
    if (!key.starts_with(base)) return false;
    key.remove_prefix(base.size());
    return std::ranges::all_of(key, [](char c) { return c == '_' || (c >= '0' && c <= '9'); });
}

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
        if (at > 0 && rule[at - 1] != ',' && kBlanks.find(rule[at - 1]) == std::string_view::npos) {
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
            if (!lower(found->value).starts_with("dhcp")) {
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

EditedText edit_suse_routes(std::string_view text) {
    LineEditor editor(text);
    for (std::size_t i = 0; i < editor.lines().size(); ++i) {
        const auto words = split_words(editor.lines()[i].body);
        if (!words.empty() && (words[0] == "default" || words[0] == "0.0.0.0/0")) {
            editor.comment_out(i);
        }
    }
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

// ------------------------------------------------------------------------------------- netplan

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
            if (at + 1 == body.size() || kBlanks.find(body[at + 1]) != std::string_view::npos) {
                colon = at;
                break;
            }
        }
    }
    if (colon == std::string_view::npos) return std::nullopt;
    out.key = unquoted(trim(body.substr(out.indent, colon - out.indent)));
    out.value_at = std::min(body.find_first_not_of(kBlanks, colon + 1), body.size());
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

void read_netplan_child(const std::vector<Line>& lines, std::size_t i, const YamlKey& key,
                        NetplanEntry& entry) {
    const auto range = range_of(lines, i, key.indent);
    const auto scalar = yaml_scalar(key.value);
    if (key.key == "match") {
        entry.match = range;
        if (key.value.starts_with('{')) {
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
    const auto value = std::min(body.find_first_not_of(kBlanks, colon + 1), body.size());
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
            if (!entry.match_has_more) {
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

// -------------------------------------------------------------- systemd-networkd, NetworkManager

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
        const auto value = lower(ini[*dhcp].assignment->value);
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
