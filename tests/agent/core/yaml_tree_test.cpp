// SPDX-License-Identifier: Apache-2.0
#include "core/yaml_tree.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>

namespace amilift::core {
namespace {

std::string problem_of(std::string_view text) {
    const auto tree = parse_yaml(text);
    if (tree) return "no problem";
    return fmt::format("{}:{}: {}", tree.error().at.line, tree.error().at.column,
                       tree.error().what);
}

TEST(YamlTree, KeepsPositionsInCharacters) {
    const auto tree = parse_yaml("# c\n\"ä\": {b: [1, 'x']}\n");
    ASSERT_TRUE(tree);
    ASSERT_EQ(tree->kind, YamlNode::Kind::mapping);
    ASSERT_EQ(tree->items.size(), 2U);
    EXPECT_EQ(tree->items[0].value, "ä");
    EXPECT_TRUE(tree->items[0].quoted);
    EXPECT_EQ(tree->items[0].at, (Position{2, 1}));
    const auto& list = tree->items[1].items[1];
    ASSERT_EQ(list.kind, YamlNode::Kind::sequence);
    EXPECT_TRUE(list.flow);
    EXPECT_FALSE(tree->flow);
    EXPECT_EQ(list.offset, 14U);
    EXPECT_EQ(list.items[0].at, (Position{2, 11}));
    EXPECT_FALSE(list.items[0].quoted);
    EXPECT_TRUE(list.items[1].quoted);
}

TEST(YamlTree, KeepsDuplicatesAliasesAndTags) {
    const auto tree = parse_yaml("a: &x 1\na: *x\nb: !!str 2\n");
    ASSERT_TRUE(tree);
    ASSERT_EQ(tree->items.size(), 6U);
    EXPECT_TRUE(tree->items[1].anchored);
    EXPECT_FALSE(tree->items[5].anchored);
    EXPECT_EQ(tree->items[3].kind, YamlNode::Kind::alias);
    EXPECT_TRUE(tree->items[5].tagged);
}

TEST(YamlTree, EmptyTextIsNull) {
    const auto tree = parse_yaml("\n# nothing\n");
    ASSERT_TRUE(tree);
    EXPECT_EQ(scalar_type(*tree), ScalarType::null);
}

TEST(YamlTree, MissingValueIsAtItsKey) {
    const auto tree = parse_yaml("a: 1\nb:\n\n\nc: 2\n");
    ASSERT_TRUE(tree);
    EXPECT_EQ(tree->items[3].at, (Position{2, 1}));
}

TEST(YamlTree, SaysWhereTheTextIsWrong) {
    EXPECT_EQ(problem_of("a: b\n---\nc: d\n"),
              "2:1: a second YAML document begins here, expected one document in all");
    EXPECT_EQ(problem_of("a: b\n...\nc: d\n"),
              "3:1: a second YAML document begins here, expected one document in all");
    EXPECT_EQ(problem_of("a:\n  b: 1\n\tc: 2\n"), "3:1: a tab in the indentation, expected spaces");
    EXPECT_EQ(problem_of("ä: \x80\n"), "1:4: byte 0x80 is not UTF-8; save the file as UTF-8");
    EXPECT_EQ(problem_of("a: b\rc: d"), "1:5: control character 0x0d, expected text");
    EXPECT_EQ(problem_of(std::string_view("a: \0", 4)),
              "1:4: control character 0x00, expected text");
    EXPECT_EQ(problem_of("a: \"b\n"), "1:4: the text that begins with \" here has no closing \"");
    EXPECT_EQ(problem_of("a: 'b''\n"), "1:4: the text that begins with ' here has no closing '");
    EXPECT_EQ(problem_of("a: \"b\\\""),
              "1:8: not valid YAML: a text in quotes has no closing quote");
    EXPECT_EQ(problem_of("a: @b"),
              "1:4: not valid YAML: a value cannot begin like this; put it in quotes");
}

TEST(YamlTree, ClosedQuotesAndTabsBetweenTokensPass) {
    EXPECT_EQ(problem_of("a: \"b\\\"c\""), "no problem");
    EXPECT_EQ(problem_of("a: \"b\\\\\""), "no problem");
    EXPECT_EQ(problem_of("a: 'it''s'"), "no problem");
    EXPECT_EQ(problem_of("a: ''"), "no problem");
    EXPECT_EQ(problem_of("a:\tb\n"), "no problem");
    EXPECT_EQ(problem_of("a: |\n  it's \"open\n"), "no problem");
    EXPECT_EQ(problem_of("a: >-\n  'x\n"), "no problem");
}

TEST(YamlTree, LimitsAreExact) {
    const auto nest = [](std::size_t levels) {
        return std::string(levels, '[') + std::string(levels, ']');
    };
    EXPECT_EQ(problem_of(nest(kMaxYamlDepth)), "no problem");
    EXPECT_EQ(problem_of(nest(kMaxYamlDepth + 1)), "1:33: nested more than 32 levels deep");

    std::string items;
    for (std::size_t i = 0; i + 1 < kMaxYamlNodes; ++i) items += "-\n";
    EXPECT_EQ(problem_of(items), "no problem");
    EXPECT_EQ(problem_of(items + "-\n"), "10001:1: more than 10000 values, keys and lists");

    const std::string comment(kMaxYamlBytes, '#');
    EXPECT_EQ(problem_of(comment), "no problem");
    EXPECT_EQ(problem_of(comment + "#"),
              "1:1: the document has 65537 bytes, expected at most 65536 (64 KiB)");
}

TEST(YamlTree, HostilePatternsAreQuick) {
    const auto start = std::chrono::steady_clock::now();
    for (const std::string_view pattern :
         {"[",     "{",        "- ",   "? ",   "[{",    "a: ",  "&a ",   "!a ",   "*a ",
          "\"",    "'",        "|\n",  "{a: ", "? - ",  "%a\n", "---\n", "...\n", "[a, ",
          "-",     "x ",       "!<",   "\\",   "\"\\",  ",",    ":",     "]",     "}",
          "a:\n ", "&a [*a, ", "<<: ", "\t",   " \n\t", "#",    "'' "}) {
        std::string text;
        while (text.size() + pattern.size() <= kMaxYamlBytes) text += pattern;
        (void)parse_yaml(text);
        (void)parse_yaml("a: " + text.substr(0, 1000));
    }
    // Milliseconds each; sanitizers and a busy machine get room.
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(ScalarType, KnowsWhatYamlReadersMakeOfPlainText) {
    const auto type = [](std::string_view text) {
        YamlNode node;
        node.value = text;
        return scalar_type(node);
    };
    for (const auto* text : {"", "~", "null", "Null", "NULL"}) {
        EXPECT_EQ(type(text), ScalarType::null) << text;
    }
    for (const auto* text : {"true", "False", "yes", "NO", "on", "Off", "y", "N"}) {
        EXPECT_EQ(type(text), ScalarType::boolean) << text;
    }
    for (const auto* text :
         {"0",     "-12",  "+7",   "0777",     "0o17",         "0x1F",    "0b101",
          "1_000", "1.5",  ".5",   "5.",       "1e3",          "-1.5E-3", ".inf",
          "-.INF", ".NaN", "1:30", "12:30:45", "190:20:30.15", "0899"}) {
        EXPECT_EQ(type(text), ScalarType::number) << text;
    }
    for (const auto* text : {"2026-11-21", "2026-11-21T09:30:00Z", "2026-1-2 9:30:00.5 +1"}) {
        EXPECT_EQ(type(text), ScalarType::timestamp) << text;
    }
    for (const auto* text :
         {"abc",     "ami-0abc1234", "1.2.3",       "10.0.0.1",    "2011-web", "2026-11",
          "2h",      "e5",           "_",           ".",           "-",        "+",
          "0x",      "0b2",          "1e",          "1:",          ":1",       "1:a",
          "trueish", "nullable",     "2026-11-21x", "2026-11-21T", "12-30",    "0o8",
          "..5",     "1.5.",         "-0x",         "1e5e5"}) {
        EXPECT_EQ(type(text), ScalarType::text) << text;
    }
    YamlNode node;
    node.quoted = true;
    node.value = "yes";
    EXPECT_EQ(scalar_type(node), ScalarType::text);
}

}  // namespace
}  // namespace amilift::core
