// SPDX-License-Identifier: Apache-2.0
#include "image/text_lines.hpp"

#include <gtest/gtest.h>

namespace amilift::image {
namespace {

TEST(TextLines, SplitsWithoutLosingAByte) {
    for (const std::string_view text :
         {"", "a", "a\n", "\n", "a\r\nb", "a\r\r\n\n\rb\r", "\n\n\n"}) {
        std::string again;
        int number = 0;
        for (const auto& line : split_lines(text)) {
            EXPECT_EQ(line.number, ++number);
            EXPECT_EQ(line.body.find('\n'), std::string_view::npos);
            again += line.body;
            again += line.ending;
        }
        EXPECT_EQ(again, text);
    }
}

TEST(TextLines, PutsCarriageReturnsIntoTheEnding) {
    const auto lines = split_lines("a\r\nb\n");
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].body, "a");
    EXPECT_EQ(lines[0].ending, "\r\n");
    EXPECT_EQ(lines[1].ending, "\n");
}

TEST(TextLines, MakesTextPrintable) {
    EXPECT_EQ(printable("a\x1b[2J\tb"), "a\\x1b[2J\\x09b");
    EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(TextLines, DescribesOneChangeOnOneLine) {
    EXPECT_EQ(describe_edit("/etc/x", {{3, "a -> b"}}), "edit /etc/x: line 3: a -> b");
    EXPECT_EQ(describe_edit("/etc/x", {{3, "a -> b"}, {4, "c"}}),
              "edit /etc/x:\n    line 3: a -> b\n    line 4: c");
}

TEST(TextLines, SplitsWordsAndTrims) {
    EXPECT_EQ(split_words(" a\tb  c\r"), (std::vector<std::string_view>{"a", "b", "c"}));
    EXPECT_TRUE(split_words(" \t").empty());
    EXPECT_EQ(trim(" \ta b\r"), "a b");
    EXPECT_EQ(trim("  "), "");
}

}  // namespace
}  // namespace amilift::image
