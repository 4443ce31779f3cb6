// SPDX-License-Identifier: Apache-2.0
#include "core/printable.hpp"

#include <gtest/gtest.h>

#include <random>

namespace amilift::core {
namespace {

TEST(Printable, KeepsText) {
    EXPECT_EQ(printable(""), "");
    EXPECT_EQ(printable("root=LABEL=/ \"x\" ~"), "root=LABEL=/ \"x\" ~");
    EXPECT_EQ(printable("K\xc3\xa4se \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xa7"),
              "K\xc3\xa4se \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x90\xa7");
    EXPECT_EQ(printable("\xc2\xa0"), "\xc2\xa0");  // the first character behind C1
}

TEST(Printable, ShowsControlCharacters) {
    EXPECT_EQ(printable("a\x1b[2Jb\n\t\x7f"), "a\\x1b[2Jb\\x0a\\x09\\x7f");
    EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, ShowsC1HoweverItIsWritten) {
    EXPECT_EQ(printable("\xc2\x9b"
                        "2J"),
              "\\xc2\\x9b2J");
    EXPECT_EQ(printable("\x9b"
                        "2J"),
              "\\x9b2J");
    EXPECT_EQ(printable("\xc2\x80\xc2\x9f"), "\\xc2\\x80\\xc2\\x9f");
}

TEST(Printable, ShowsWhatTurnsTheDirection) {
    EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // U+202E
    EXPECT_EQ(printable("\xe2\x81\xa6"), "\\xe2\\x81\\xa6");  // U+2066
    EXPECT_EQ(printable("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");  // U+2028
}

TEST(Printable, ShowsBytesThatAreNoUtf8) {
    EXPECT_EQ(printable("caf\xe9"), "caf\\xe9");
    EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
    EXPECT_EQ(printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");           // overlong C1
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
    EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
    EXPECT_EQ(printable("\xe6\x97"), "\\xe6\\x97");                    // cut off
}

TEST(Printable, LeavesNoControlByteOfRandomText) {
    std::mt19937 random(11);
    for (int i = 0; i < 2000; ++i) {
        std::string text;
        for (int j = 0; j < 40; ++j) {
            text += static_cast<char>(j % 3 == 0 ? 0xc2 : random());
        }
        const auto shown = printable(text);
        EXPECT_EQ(printable(shown), shown);  // nothing is left to show
        for (std::size_t at = 0; at < shown.size(); ++at) {
            const auto byte = static_cast<unsigned char>(shown[at]);
            EXPECT_TRUE(byte >= 0x20 && byte != 0x7f);
        }
    }
}

}  // namespace
}  // namespace amilift::core
