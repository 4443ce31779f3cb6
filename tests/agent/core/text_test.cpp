// SPDX-License-Identifier: Apache-2.0
#include "core/text.hpp"

#include <gtest/gtest.h>

#include <array>

namespace amilift::core {
namespace {

TEST(Text, QuotesAndEscapes) {
    EXPECT_EQ(in_quotes("abc"), "'abc'");
    EXPECT_EQ(in_quotes("it's\n\t\r\x07"), "'it\\'s\\n\\t\\r\\x07'");
    EXPECT_EQ(in_quotes("Käse"), "'Käse'");
}

TEST(Text, QuotesAtMostSixtyCharactersAndNoHalfOnes) {
    EXPECT_EQ(in_quotes(std::string(60, 'a')), "'" + std::string(60, 'a') + "'");
    EXPECT_EQ(in_quotes(std::string(61, 'a')), "'" + std::string(60, 'a') + "...'");
    std::string umlauts;
    for (int i = 0; i < 61; ++i) umlauts += "ä";
    EXPECT_EQ(in_quotes(umlauts), "'" + umlauts.substr(0, 120) + "...'");
}

TEST(Text, CountsCodePoints) {
    EXPECT_EQ(count_characters(""), 0U);
    EXPECT_EQ(count_characters("Käse → 日本"), 9U);
}

struct Utf8Case {
    std::string_view name;
    std::string_view bytes;
    std::optional<std::size_t> bad;
};

TEST(Text, FindsInvalidUtf8) {
    static constexpr std::array kCases{
        Utf8Case{"ascii", "abc", std::nullopt},
        Utf8Case{"two bytes", "a\xC3\xA4", std::nullopt},
        Utf8Case{"highest code point", "\xF4\x8F\xBF\xBF", std::nullopt},
        Utf8Case{"above the highest", "\xF4\x90\x80\x80", 0},
        Utf8Case{"lonely continuation", "ab\x80", 2},
        Utf8Case{"overlong slash", "\xC0\xAF", 0},
        Utf8Case{"overlong three", "\xE0\x80\xAF", 0},
        Utf8Case{"overlong four", "\xF0\x80\x80\xAF", 0},
        Utf8Case{"surrogate", "x\xED\xA0\x80", 1},
        Utf8Case{"cut off", "xy\xE6\x97", 2},
        Utf8Case{"bad third byte", "\xE6\x97z", 0},
        Utf8Case{"never used", "\xFF", 0},
    };
    for (const auto& c : kCases) EXPECT_EQ(find_invalid_utf8(c.bytes), c.bad) << c.name;
}

TEST(Text, NormalizesByteOrderMarkAndLineEnds) {
    EXPECT_EQ(normalized("\xEF\xBB\xBFone\r\ntwo\r\n"), "one\ntwo\n");
    EXPECT_EQ(normalized("lonely\rreturn\r"), "lonely\rreturn\r");
    EXPECT_EQ(normalized("later \xEF\xBB\xBF"), "later \xEF\xBB\xBF");
}

TEST(Text, LowersAsciiAlone) {
    EXPECT_EQ(lower("UUID=AZ-09 Ärger\xC3\x84"), "uuid=az-09 Ärger\xC3\x84");
    EXPECT_EQ(lower(""), "");
}

TEST(Text, TrimsBlanksAndLineEnds) {
    EXPECT_EQ(trimmed(" \t a b\r\n"), "a b");
    EXPECT_EQ(trimmed("a"), "a");
    EXPECT_EQ(trimmed(" \r\n"), "");
}

TEST(Text, DigitsAreThoseOfAscii) {
    for (const char c : std::string_view("0123456789")) EXPECT_TRUE(is_digit(c)) << c;
    for (const char c : std::string_view("/:aF\xB2 ")) EXPECT_FALSE(is_digit(c)) << c;
}

TEST(Text, FirstLineSkipsBlankLinesAndKeepsIndentation) {
    EXPECT_EQ(first_line(""), "");
    EXPECT_EQ(first_line(" \n\t\r\n"), "");
    EXPECT_EQ(first_line("\n \n#amilift \t\r\nx"), "#amilift");
    EXPECT_EQ(first_line("\n  #amilift\n"), "  #amilift");
}

TEST(Text, NearestFindsTypingMistakes) {
    static constexpr std::array<std::string_view, 3> kKeys{"target", "source", "finish"};
    EXPECT_EQ(nearest("traget", kKeys), "target");
    EXPECT_EQ(nearest("Source", kKeys), "source");
    EXPECT_EQ(nearest("sorce", kKeys), "source");
    EXPECT_EQ(nearest("finished", kKeys), "finish");
    EXPECT_EQ(nearest("colour", kKeys), "");
    EXPECT_EQ(nearest("", kKeys), "");
    EXPECT_EQ(nearest(std::string(10'000, 's'), kKeys), "");
}

}  // namespace
}  // namespace amilift::core
