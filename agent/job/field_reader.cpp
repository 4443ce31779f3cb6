// SPDX-License-Identifier: Apache-2.0
#include "job/field_reader.hpp"

#include <algorithm>
#include <map>

namespace amilift::job {

using core::in_quotes;
using core::is_control;
using core::Position;
using core::scalar_type;
using core::ScalarType;
using core::YamlNode;

std::string describe(const YamlNode& node) {
    switch (node.kind) {
        case YamlNode::Kind::sequence:
            return "a list";
        case YamlNode::Kind::mapping:
            return "a mapping";
        case YamlNode::Kind::alias:
            return "an alias";
        case YamlNode::Kind::scalar:
            break;
    }
    switch (scalar_type(node)) {
        case ScalarType::null:
            return "empty";
        case ScalarType::boolean:
            return fmt::format("the truth value {}", in_quotes(node.value));
        case ScalarType::number:
            return fmt::format("the number {}", in_quotes(node.value));
        case ScalarType::timestamp:
            return fmt::format("the date {}", in_quotes(node.value));
        case ScalarType::text:
            break;
    }
    return fmt::format("the text {}", in_quotes(node.value));
}

bool FieldReader::is(const YamlNode& node, YamlNode::Kind kind, std::string_view path,
                     std::string_view expected) {
    const auto subject =
        path.empty() ? std::string("the document") : fmt::format("{}", in_quotes(path));
    if (node.kind == YamlNode::Kind::alias) {
        add(node, fmt::format("{} is an alias (*name), which a job cannot have: write the value "
                              "itself",
                              subject));
        return false;
    }
    if (node.tagged) {
        add(node, fmt::format("{} has a YAML tag (!...), which a job cannot have; a text goes in "
                              "quotes",
                              subject));
        return false;
    }
    if (node.kind == YamlNode::Kind::scalar && scalar_type(node) == ScalarType::null) {
        add(node, fmt::format("{} has no value, expected {}; an optional key can be left out",
                              subject, expected));
        return false;
    }
    if (node.kind != kind) {
        add(node, fmt::format("{} is {}, expected {}", subject, describe(node), expected));
        return false;
    }
    return true;
}

std::vector<std::pair<const YamlNode*, const YamlNode*>> FieldReader::members(
    const YamlNode& node, std::string_view path) {
    std::vector<std::pair<const YamlNode*, const YamlNode*>> out;
    std::map<std::string_view, Position> seen;
    for (std::size_t i = 0; i + 1 < node.items.size(); i += 2) {
        const auto& key = node.items[i];
        if (key.kind != YamlNode::Kind::scalar || key.tagged ||
            scalar_type(key) != ScalarType::text) {
            add(key, fmt::format("a key{} is {}, expected a text{}",
                                 path.empty() ? "" : fmt::format(" of '{}'", path),
                                 key.tagged ? "tagged" : describe(key),
                                 key.kind == YamlNode::Kind::scalar ? ": put it in quotes" : ""));
            continue;
        }
        const auto [first, is_new] = seen.emplace(key.value, key.at);
        if (!is_new) {
            add(key, fmt::format("key {} is here a second time, the first is at {}:{}",
                                 in_quotes(key.value), first->second.line, first->second.column));
            continue;
        }
        out.emplace_back(&key, &node.items[i + 1]);
    }
    return out;
}

bool FieldReader::read_text(const YamlNode& node, std::string_view path, std::string& out) {
    if (!is(node, YamlNode::Kind::scalar, path,
            node.kind == YamlNode::Kind::mapping ? "a text (one that begins with '{' goes in "
                                                   "quotes)"
                                                 : "a text")) {
        return false;
    }
    if (scalar_type(node) != ScalarType::text) {
        add(node,
            fmt::format("'{}' is {}, expected a text: put it in quotes", path, describe(node)));
        return false;
    }
    // A quoted YAML scalar can make a control character out of an escape.
    if (std::ranges::any_of(node.value, is_control)) {
        add(node, fmt::format("'{}' is {}, expected a text without control characters", path,
                              in_quotes(node.value)));
        return false;
    }
    out = node.value;
    return true;
}

void FieldReader::read_text(const YamlNode& node, std::string_view path, const TextRule& rule,
                            std::string& out) {
    std::string text;
    if (!read_text(node, path, text)) return;
    if (!rule.accepts(text)) {
        add(node, fmt::format("'{}' is {}, expected {}", path, in_quotes(text), rule.expected));
        return;
    }
    out = std::move(text);
}

void FieldReader::read_template(const YamlNode& node, std::string_view path,
                                core::Result<> (*check)(std::string_view), std::string& out) {
    if (!read_text(node, path, out)) return;
    if (auto ok = check(out); !ok) {
        add(node, fmt::format("'{}': {}", path, ok.error().message()));
    } else if (out.find_first_of("\n\t") != std::string::npos) {
        add(node, fmt::format("'{}' has a tab or more than one line, expected one line", path));
    }
}

void FieldReader::read_boolean(const YamlNode& node, std::string_view path, bool& out) {
    if (!is(node, YamlNode::Kind::scalar, path, "true or false")) return;
    if (node.quoted || (node.value != "true" && node.value != "false")) {
        add(node, fmt::format("'{}' is {}, expected true or false", path, describe(node)));
        return;
    }
    out = node.value == "true";
}

}  // namespace amilift::job
