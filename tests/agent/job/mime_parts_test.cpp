// SPDX-License-Identifier: Apache-2.0
#include "job/mime_parts.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus.hpp"

namespace amilift::job {
namespace {

std::string sample(const std::string& name) {
    return read_whole("tests/data/user-data/" + name + ".bin");
}

TEST(MimeParts, SplitsAMessage) {
    const auto parts = split_mime(sample("mime"), "user-data");
    ASSERT_TRUE(parts) << parts.error().what;
    ASSERT_EQ(parts->size(), 2U);
    EXPECT_EQ((*parts)[0].type, "text/x-shellscript");
    EXPECT_EQ((*parts)[0].name, "setup.sh");
    EXPECT_EQ((*parts)[1].type, "text/x-amilift");
    EXPECT_EQ((*parts)[1].place, "2");
    EXPECT_EQ((*parts)[1].content, "#amilift\nsource:\n  ami: ami-0abc1234\n");
}

TEST(MimeParts, UndoesTransferEncodings) {
    const auto base64 = split_mime(sample("mime-utf-8"), "x");
    ASSERT_TRUE(base64);
    EXPECT_NE((*base64)[0].content.find("Käse"), std::string::npos);
    const auto printable = split_mime(sample("mime-quoted-printable"), "x");
    ASSERT_TRUE(printable);
    EXPECT_EQ((*printable)[0].content, "source:\n  ami: ami-0abc1234\n");
    const auto binary = split_mime(sample("mime-binary-neighbour"), "x");
    ASSERT_TRUE(binary);
    EXPECT_EQ((*binary)[0].content.size(), 256U);
}

TEST(MimeParts, KnowsAMessageByItsHeader) {
    EXPECT_TRUE(looks_like_mime("Content-Type: text/plain\n\nx"));
    EXPECT_TRUE(looks_like_mime("\n\nmime-version: 1.0\n"));
    EXPECT_TRUE(looks_like_mime("From x\nSubject: a\n b\nMIME-Version: 1.0\n"));
    EXPECT_FALSE(looks_like_mime("source:\n  ami: x\n"));
    EXPECT_FALSE(looks_like_mime("Subject: a\n\nContent-Type: text/plain\n"));
    EXPECT_FALSE(looks_like_mime("#cloud-config\nContent-Type: x\n"));
    EXPECT_FALSE(looks_like_mime("From x"));
    EXPECT_FALSE(looks_like_mime(""));
}

std::string nested(std::size_t levels) {
    std::string text = "MIME-Version: 1.0\n";
    for (std::size_t i = 0; i < levels; ++i) {
        text += fmt::format("Content-Type: multipart/mixed; boundary=b{}x\n\n--b{}x\n", i, i);
    }
    text += "Content-Type: text/plain\n\nhello\n";
    for (std::size_t i = levels; i-- > 0;) text += fmt::format("--b{}x--\n", i);
    return text;
}

TEST(MimeParts, DepthIsBounded) {
    const auto deepest = split_mime(nested(kMaxMimeDepth), "x");
    ASSERT_TRUE(deepest) << deepest.error().what;
    ASSERT_EQ(deepest->size(), 1U);
    EXPECT_EQ((*deepest)[0].place, "1.1.1.1.1.1.1.1");
    EXPECT_FALSE(split_mime(nested(kMaxMimeDepth + 1), "x"));
    EXPECT_FALSE(split_mime(nested(50'000), "x"));
}

TEST(MimeParts, CountIsBounded) {
    const auto message = [](std::size_t parts, std::string_view header) {
        std::string text = "Content-Type: multipart/mixed; boundary=b\n\n";
        for (std::size_t i = 0; i < parts; ++i) text += fmt::format("--b\n{}\nx\n", header);
        return text + "--b--\n";
    };
    EXPECT_TRUE(split_mime(message(kMaxMimeParts, "Content-Type: text/plain\n"), "x"));
    EXPECT_FALSE(split_mime(message(kMaxMimeParts + 1, "Content-Type: text/plain\n"), "x"));
    EXPECT_FALSE(split_mime(message(kMaxMimeParts + 1, ""), "x"));
    EXPECT_FALSE(split_mime(message(500'000, ""), "x"));
}

TEST(MimeParts, ACutMessageIsNoMessage) {
    const auto whole = sample("mime");
    const auto end = whole.rfind("--==amilift==--");
    ASSERT_NE(end, std::string::npos);
    for (std::size_t i = whole.find("\n\n"); i < end; ++i) {
        EXPECT_FALSE(split_mime(whole.substr(0, i), "x")) << i;
    }
    // A closing delimiter that is only quoted somewhere closes nothing.
    EXPECT_FALSE(
        split_mime("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nends with --b--\n", "x"));
}

}  // namespace
}  // namespace amilift::job
