// SPDX-License-Identifier: Apache-2.0
#include "job/encoding.hpp"

#include <gtest/gtest.h>

#include "corpus.hpp"

namespace amilift::job {
namespace {

using core::Errc;

std::string sample(const std::string& name) {
    return read_whole("tests/data/user-data/" + name + ".bin");
}

TEST(Gunzip, JoinsMembers) {
    const auto text = gunzip(sample("gzip-two-members"), 1000, "x");
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, "#amilift\nsource:\n  ami: ami-0abc1234\nid: two\n");
}

TEST(Gunzip, TakesExactlyTheLimitAndNotMore) {
    const auto packed = sample("gzip");
    const auto whole = gunzip(packed, 1000, "x");
    ASSERT_TRUE(whole);
    EXPECT_TRUE(gunzip(packed, whole->size(), "x"));
    const auto more = gunzip(packed, whole->size() - 1, "the part");
    ASSERT_FALSE(more);
    EXPECT_EQ(whole->size(), 37U);
    EXPECT_EQ(more.error().what, "the part unpacks to more than 36 bytes");
}

TEST(Gunzip, NoticesEveryCutAndEveryChangedByteOfDataAndChecksum) {
    const auto packed = sample("gzip");
    for (std::size_t i = 0; i < packed.size(); ++i) {
        const auto cut = gunzip(packed.substr(0, i), 1000, "x");
        ASSERT_FALSE(cut) << i;
        EXPECT_EQ(cut.error().code, Errc::invalid_input);
    }
    const std::string whole = gunzip(packed, 1000, "x").value();
    for (std::size_t i = 10; i < packed.size(); ++i) {
        auto changed = packed;
        changed[i] = static_cast<char>(changed[i] ^ 0x10);
        EXPECT_FALSE(gunzip(changed, 1000, "x")) << "byte " << i;
    }
}

TEST(Gunzip, RefusesOtherData) {
    EXPECT_FALSE(gunzip("", 10, "x"));
    EXPECT_FALSE(gunzip("plain text", 10, "x"));
}

TEST(Base64, DecodesTheVectorsOfRfc4648) {
    EXPECT_EQ(decode_base64("Zg=="), "f");
    EXPECT_EQ(decode_base64("Zm8="), "fo");
    EXPECT_EQ(decode_base64("Zm9v"), "foo");
    EXPECT_EQ(decode_base64("Zm9vYg=="), "foob");
    EXPECT_EQ(decode_base64("Zm9v\nYmE=\r\n"), "fooba");
    EXPECT_EQ(decode_base64("+/+/"), "\xFB\xFF\xBF");
}

TEST(Base64, RefusesEverythingElse) {
    for (const auto* bad : {"", "   ", "Zg", "Zg=", "Zg===", "Z===", "====", "=Zg=", "Zg==Zg==",
                            "Zm8=Zm8=", "Zm9v=", "Zm-_", "Zm9v!", "Zm=9"}) {
        EXPECT_EQ(decode_base64(bad), std::nullopt) << bad;
    }
}

}  // namespace
}  // namespace amilift::job
