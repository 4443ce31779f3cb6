// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <expected>
#include <set>

#include "core/text.hpp"
#include "core/yaml_tree.hpp"
#include "image/line_editor.hpp"
#include "image/network_files.hpp"

namespace amilift::image {
namespace {

using core::YamlNode;

/// More than the network cards of any instance. Each entry is a candidate that reads its file anew.
constexpr std::size_t kMostEntries = 100;

// The tree -----------------------------------------------------------------------------------

struct Pair {
    const YamlNode* key = nullptr;
    const YamlNode* value = nullptr;
};

/// The pairs of a mapping whose keys are scalars; none of what is no mapping.
std::vector<Pair> pairs_of(const YamlNode* node) {
    std::vector<Pair> out;
    if (node == nullptr || node->kind != YamlNode::Kind::mapping) return out;
    for (std::size_t i = 0; i + 1 < node->items.size(); i += 2) {
        const auto& key = node->items[i];
        if (key.kind == YamlNode::Kind::scalar) out.push_back({&key, &node->items[i + 1]});
    }
    return out;
}

/// Of two the last one; nullptr if there is none.
const YamlNode* value_of(const YamlNode* mapping, std::string_view key) {
    const YamlNode* found = nullptr;
    for (const auto& pair : pairs_of(mapping)) {
        if (pair.key->value == key) found = pair.value;
    }
    return found;
}

/// Neither null nor empty.
bool holds_something(const YamlNode& node) {
    if (node.kind == YamlNode::Kind::alias) return true;
    if (node.kind != YamlNode::Kind::scalar) return !node.items.empty();
    return core::scalar_type(node) != core::ScalarType::null;
}

bool names_an_address(const YamlNode& key) {
    return key.value == "addresses" || key.value == "gateway4" || key.value == "gateway6";
}

bool is_address(const Pair& pair) {
    return (names_an_address(*pair.key) || pair.key->value == "routes") &&
           holds_something(*pair.value);
}

bool is_static(const YamlNode* settings) {
    return std::ranges::any_of(pairs_of(settings), [](const Pair& pair) {
        return pair.key->value == "addresses" && is_address(pair);
    });
}

bool matches_mac(const YamlNode* settings) {
    return value_of(value_of(settings, "match"), "macaddress") != nullptr;
}

bool is_bound(const YamlNode* settings) {
    return is_static(settings) || matches_mac(settings) ||
           value_of(settings, "macaddress") != nullptr;
}

std::string card_name(const Pair& entry) {
    const auto* name = value_of(entry.value, "set-name");
    if (name != nullptr && !name->value.empty()) return name->value;
    const auto* match = value_of(entry.value, "match");
    if (match == nullptr) return entry.key->value;
    name = value_of(match, "name");
    return name == nullptr ? std::string() : name->value;
}

/// The first address below `node`, in the order of lines, but for those of name servers and of
/// `known`.
const YamlNode* find_address(const YamlNode& node, const YamlNode* known) {
    if (&node == known) return nullptr;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        if (node.kind == YamlNode::Kind::mapping && i % 2 == 1) {
            const auto& key = node.items[i - 1];
            if (key.value == "nameservers") continue;
            if (names_an_address(key) && holds_something(node.items[i])) return &key;
        }
        if (const auto* found = find_address(node.items[i], known)) return found;
    }
    return nullptr;
}

/// An alias, an anchor or a merge key: what a line means is told by another one.
const YamlNode* find_reference(const YamlNode& node) {
    if (node.kind == YamlNode::Kind::alias || node.anchored) return &node;
    if (node.value == "<<" && !node.quoted) return &node;
    for (const auto& item : node.items) {
        if (const auto* found = find_reference(item)) return found;
    }
    return nullptr;
}

// The lines ----------------------------------------------------------------------------------

/// A pair that has its lines for itself: `begin` up to `end`, counted from 0.
struct PairLines {
    Pair pair;
    std::size_t begin = 0;
    std::size_t end = 0;
};
using Block = std::vector<PairLines>;

const PairLines* find(const Block& block, std::string_view key) {
    const auto found = std::ranges::find_if(
        block, [&](const PairLines& lines) { return lines.pair.key->value == key; });
    return found == block.end() ? nullptr : &*found;
}

/// An entry of ethernets: in block style.
struct Entry {
    PairLines lines;
    Block settings;
};

/// Blank, or a remark only. Unlike for is_comment(), ';' begins none.
bool is_remark(std::string_view text) {
    text = trim(text);
    return text.empty() || text.starts_with('#');
}

std::string at_line(const YamlNode& node, std::string_view what) {
    return fmt::format("line {}: {}", node.at.line, what);
}

/// A netplan file as a tree, and where its parts stand. Line ends and a byte order mark are no part
/// of what is read, so lines count as in the file, and columns do but for the first line.
class NetplanFile {
  public:
    explicit NetplanFile(std::string_view text)
        : text_(core::normalized(text)),
          lines_(split_lines(text_)),
          tree_(core::parse_yaml(text_)) {}
    NetplanFile(const NetplanFile&) = delete;
    NetplanFile& operator=(const NetplanFile&) = delete;

    /// Why nothing is edited, whatever is in it; else empty.
    [[nodiscard]] std::string problem() const {
        if (!tree_) return fmt::format("line {}: {}", tree_.error().at.line, tree_.error().what);
        if (const auto* node = find_reference(*tree_)) {
            return at_line(*node, "an alias, an anchor or a merge key");
        }
        if (pairs_of(ethernets()).size() > kMostEntries) {
            return at_line(*ethernets(), fmt::format("more than {} entries", kMostEntries));
        }
        // yaml-cpp takes some of them for blanks.
        for (const auto& line : lines_) {
            const auto blanks = line.body.substr(0, indent_of(line.body));
            if (is_remark(line.body) || blanks.find('\t') == std::string_view::npos) continue;
            return fmt::format("line {}: a tab in the indentation", line.number);
        }
        return {};
    }

    /// nullptr if there is none.
    [[nodiscard]] const YamlNode* root() const { return tree_ ? &*tree_ : nullptr; }
    [[nodiscard]] const YamlNode* ethernets() const {
        return value_of(value_of(root(), "network"), "ethernets");
    }
    [[nodiscard]] std::vector<Pair> entries() const {
        auto out = pairs_of(ethernets());
        if (out.size() > kMostEntries) return {};
        // "renderer: networkd" may stand among them.
        std::erase_if(out, [](const Pair& pair) {
            return pair.value->kind == YamlNode::Kind::scalar && holds_something(*pair.value);
        });
        return out;
    }

    /// Line `i` from 0.
    [[nodiscard]] std::string_view body(std::size_t i) const {
        // A node that is not written, such as the value of "? key" at the end, has its place behind
        // the last line.
        return i < lines_.size() ? std::string_view(lines_[i].body) : std::string_view();
    }
    [[nodiscard]] std::string_view body_of(const YamlNode& node) const {
        return body(node.at.line - 1);
    }
    /// Bytes before it on its line.
    [[nodiscard]] std::size_t column_of(const YamlNode& node) const {
        return node.offset - (std::string_view(text_).substr(0, node.offset).rfind('\n') + 1);
    }

    /// A scalar as it stands in the text, with its quotes; empty if that is not, letter by letter
    /// and on one line, what it reads.
    [[nodiscard]] std::string_view written(const YamlNode& scalar) const {
        const auto& value = scalar.value;
        const std::size_t quote = scalar.quoted ? 1 : 0;
        const auto raw = std::string_view(text_).substr(scalar.offset, value.size() + 2 * quote);
        if (raw.size() != value.size() + 2 * quote || raw.substr(quote, value.size()) != value ||
            value.find('\n') != std::string::npos) {
            return {};
        }
        if (scalar.quoted && unquoted(raw) != value) return {};
        return raw;
    }

    /// Behind the colon of a key of block().
    [[nodiscard]] std::size_t colon_end(const YamlNode& key) const {
        return body_of(key).find(':', column_of(key) + written(key).size()) + 1;
    }

    /// The pairs of a mapping whose last line is before `end`, or why they are not as an edit needs
    /// them: each key first on its line, below the others, and there once.
    [[nodiscard]] std::expected<Block, std::string> block(const YamlNode& mapping,
                                                          std::size_t end) const {
        if (mapping.kind != YamlNode::Kind::mapping) {
            return std::unexpected(at_line(mapping, "no mapping"));
        }
        if (mapping.flow) return std::unexpected(at_line(mapping, "a mapping written in braces"));
        Block out;
        std::set<std::string_view> seen;
        for (std::size_t i = 0; i + 1 < mapping.items.size(); i += 2) {
            const auto& key = mapping.items[i];
            if (!starts_line(key, mapping)) {
                return std::unexpected(at_line(key, "a key that is not the first on its line"));
            }
            if (!seen.insert(key.value).second) {
                return std::unexpected(
                    at_line(key, fmt::format("'{}' is there twice", printable(key.value, 40))));
            }
            if (!out.empty()) out.back().end = key.at.line - 1;
            out.push_back({{&key, &mapping.items[i + 1]}, key.at.line - 1, end});
        }
        return out;
    }

    /// The entry `id` of entries(), or why it is not as an edit needs it.
    [[nodiscard]] std::expected<Entry, std::string> block_entry(std::string_view id) const {
        Entry entry{{{nullptr, root()}, 0, document_end()}, {}};
        for (const std::string_view key :
             {std::string_view("network"), std::string_view("ethernets"), id}) {
            auto level = block(*entry.lines.pair.value, entry.lines.end);
            if (!level) return std::unexpected(std::move(level).error());
            entry.lines = *find(*level, key);
        }
        auto settings = block(*entry.lines.pair.value, entry.lines.end);
        if (!settings) return std::unexpected(std::move(settings).error());
        entry.settings = *std::move(settings);
        return entry;
    }

  private:
    [[nodiscard]] bool starts_line(const YamlNode& key, const YamlNode& mapping) const {
        const auto name = written(key);
        const auto line = body_of(key);
        const auto column = line.find_first_not_of(' ');
        if (name.empty() || column != column_of(key) || column != column_of(mapping)) return false;
        return trim(line.substr(column + name.size())).starts_with(':');
    }

    /// The line "..." that ends the document, or the end of the text.
    [[nodiscard]] std::size_t document_end() const {
        auto i = tree_->at.line - 1;
        while (i < lines_.size() && body(i).substr(0, body(i).find_first_of(kSpaces)) != "...") ++i;
        return i;
    }

    std::string text_;
    std::vector<Line> lines_;
    std::expected<YamlNode, core::Problem> tree_;
};

// The edits ----------------------------------------------------------------------------------

class EntryEditor {
  public:
    EntryEditor(const NetplanFile& file, std::string_view text) : file_(file), editor_(text) {}

    NetworkEdit edit(const Entry& entry) {
        if (const auto* match = find(entry.settings, "match")) loosen_match(*match, entry);
        if (const auto* mac = find(entry.settings, "macaddress")) {
            if (entry.settings.size() > 1 || keep_empty(entry)) comment_out(*mac);
        }
        if (is_static(entry.lines.pair.value)) use_dhcp(entry.settings);
        out_.edited = editor_.take();
        return std::move(out_);
    }

  private:
    void leave(const YamlNode& node, std::string_view why) { out_.left = at_line(node, why); }

    void comment_out(const PairLines& lines) {
        for (auto i = lines.begin; i < lines.end; ++i) {
            if (!is_remark(file_.body(i))) editor_.comment_out(i);
        }
    }

    void loosen_match(const PairLines& match, const Entry& entry) {
        const auto& value = *match.pair.value;
        if (value_of(&value, "macaddress") == nullptr) return;
        if (value.items.size() == 2) {
            const auto* name = find(entry.settings, "set-name");
            const bool is_eth0 = name != nullptr && name->pair.value->value == "eth0";
            match_name({value.items.data(), &value.items[1]}, is_eth0 ? "eth0" : "\"e*\"");
        } else if (value.flow) {
            leave(value, "a match in braces with more than a MAC");
        } else if (auto pairs = file_.block(value, match.end)) {
            comment_out(*find(*pairs, "macaddress"));
        } else {
            out_.left = std::move(pairs).error();
        }
    }

    /// `macaddress: X` becomes `name: Y`; what stands around both words stays.
    void match_name(const Pair& mac, std::string_view name) {
        const auto key = file_.written(*mac.key);
        if (key.empty() || !is_replaceable(mac)) {
            leave(*mac.key, "a MAC address in an unusual notation");
            return;
        }
        const auto body = file_.body_of(*mac.key);
        const auto quote = mac.key->quoted ? key.substr(0, 1) : std::string_view();
        const auto key_at = file_.column_of(*mac.key);
        const auto key_end = key_at + key.size();
        const auto value_at = file_.column_of(*mac.value);
        editor_.replace(mac.key->at.line - 1,
                        fmt::format("{}{}name{}{}{}{}", body.substr(0, key_at), quote, quote,
                                    body.substr(key_end, value_at - key_end), name,
                                    body.substr(value_at + file_.written(*mac.value).size())));
    }

    /// A value on the line of its key, with nothing behind it that could become a part of another.
    [[nodiscard]] bool is_replaceable(const Pair& pair) const {
        const auto value = file_.written(*pair.value);
        if (value.empty() || pair.key->at.line != pair.value->at.line) return false;
        const auto rest =
            file_.body_of(*pair.value).substr(file_.column_of(*pair.value) + value.size());
        return rest.empty() ||
               std::string_view(" \t,}").find(rest.front()) != std::string_view::npos;
    }

    /// Nothing but remarks between the colon and line `end`.
    [[nodiscard]] bool is_bare(const PairLines& lines, std::size_t end) const {
        const auto& key = *lines.pair.key;
        if (!is_remark(file_.body_of(key).substr(file_.colon_end(key)))) return false;
        for (auto i = lines.begin + 1; i < end; ++i) {
            if (!is_remark(file_.body(i))) return false;
        }
        return true;
    }

    void add_value(const PairLines& lines, std::string_view value) {
        const auto& key = *lines.pair.key;
        const auto body = file_.body_of(key);
        const auto at = file_.colon_end(key);
        editor_.replace(lines.begin,
                        fmt::format("{} {}{}", body.substr(0, at), value, body.substr(at)));
    }

    /// An entry that loses its only setting becomes an empty mapping: netplan refuses a null.
    bool keep_empty(const Entry& entry) {
        if (!is_bare(entry.lines, entry.settings.front().begin)) {
            leave(*entry.lines.pair.key, "a mapping in an unusual notation");
            return false;
        }
        add_value(entry.lines, "{}");
        return true;
    }

    void use_dhcp(const Block& settings) {
        const auto first = std::ranges::find_if(
            settings, [](const PairLines& lines) { return is_address(lines.pair); });
        const auto* dhcp = find(settings, "dhcp4");
        if (dhcp == nullptr) {
            editor_.insert(
                first->begin,
                fmt::format("{}dhcp4: true", std::string(file_.column_of(*first->pair.key), ' ')));
        } else if (!turn_on(*dhcp)) {
            leave(*dhcp->pair.key, "'dhcp4' in an unusual notation");
            return;
        }
        out_.static_at = static_cast<int>(first->begin) + 1;
        for (const auto& lines : settings) {
            if (is_address(lines.pair)) comment_out(lines);
        }
    }

    bool turn_on(const PairLines& dhcp) {
        const auto& value = *dhcp.pair.value;
        if (is_replaceable(dhcp.pair)) {
            const auto word = core::lower(value.value);
            // The words of netplan.
            if (word == "true" || word == "yes" || word == "on" || word == "y") return true;
            const auto body = file_.body(dhcp.begin);
            const auto at = file_.column_of(value);
            editor_.replace(dhcp.begin, fmt::format("{}true{}", body.substr(0, at),
                                                    body.substr(at + file_.written(value).size())));
            return true;
        }
        if (holds_something(value) || !is_bare(dhcp, dhcp.end)) return false;
        add_value(dhcp, "true");
        return true;
    }

    const NetplanFile& file_;
    LineEditor editor_;
    NetworkEdit out_;
};

}  // namespace

std::string netplan_problem(std::string_view text) {
    return NetplanFile(text).problem();
}

std::vector<NetplanInterface> netplan_interfaces(std::string_view text) {
    const NetplanFile file(text);
    std::vector<NetplanInterface> out;
    for (const auto& entry : file.entries()) {
        out.push_back({entry.key->value, card_name(entry), matches_mac(entry.value),
                       is_static(entry.value), static_cast<int>(entry.key->at.line)});
    }
    return out;
}

std::optional<int> netplan_address_elsewhere(std::string_view text) {
    const NetplanFile file(text);
    if (file.root() == nullptr) return std::nullopt;
    const auto* found = find_address(*file.root(), file.ethernets());
    if (found == nullptr) return std::nullopt;
    return static_cast<int>(found->at.line);
}

NetworkEdit edit_netplan(std::string_view text, std::string_view id) {
    const NetplanFile file(text);
    NetworkEdit out;
    out.edited.text = text;
    out.left = file.problem();
    if (!out.left.empty()) return out;
    const bool bound = std::ranges::any_of(file.entries(), [&](const Pair& entry) {
        return entry.key->value == id && is_bound(entry.value);
    });
    if (!bound) return out;
    auto entry = file.block_entry(id);
    if (entry) return EntryEditor(file, text).edit(*entry);
    out.left = std::move(entry).error();
    return out;
}

}  // namespace amilift::image
