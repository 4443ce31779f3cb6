// SPDX-License-Identifier: Apache-2.0
#include "worker/exact_text.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "core/text.hpp"

namespace amilift::worker {
namespace {

using nlohmann::json;

std::string sent(const std::string& text) {
    json document{{"text", text}};
    make_utf8(document);
    return document.dump();
}

std::string received(const std::string& dumped, TextForm form) {
    auto document = json::parse(dumped);
    restore_texts(document, form);
    return document.at("text").get<std::string>();
}

TEST(ExactText, BytesThatAreNoUtf8ArriveAsTheyWere) {
    for (const std::string text : {"caf\xe9", "\xff", "\xe2\x82", "\xc0\xaf", "\xed\xa0\x80",
                                   "a\x80z\xf4\x90\x80\x80", "\xf4\x8f", "\xf4\x8f\xba"}) {
        EXPECT_EQ(received(sent(text), TextForm::exact), text);
    }
    EXPECT_EQ(received(sent("caf\xe9"), TextForm::readable), "caf\xef\xbf\xbd");
}

TEST(ExactText, TextThatIsUtf8StaysAsItIs) {
    for (const std::string text : {"", "caf\xc3\xa9", "\xf4\x8f\xb9\xbf\xf4\x8f\xbc\x80"}) {
        EXPECT_EQ(sent(text), json({{"text", text}}).dump());
        EXPECT_EQ(received(sent(text), TextForm::readable), text);
    }
}

TEST(ExactText, TheCharactersThatStandForBytesArriveToo) {
    for (const std::string text :
         {"\xf4\x8f\xba\x80", "\xf4\x8f\xbb\xbf", "x\xf4\x8f\xba\xa9\xe9"}) {
        EXPECT_NE(sent(text),
                  json({{"text", text}}).dump(-1, ' ', false, json::error_handler_t::replace));
        EXPECT_EQ(received(sent(text), TextForm::exact), text);
    }
}

TEST(ExactText, EveryTextOfADocumentCrosses) {
    json document{{"a", {"\xe9", {{"b", "\xea"}}, 7, nullptr}}, {"c", "\xeb"}};
    const auto before = document;
    make_utf8(document);
    document = json::parse(document.dump());
    restore_texts(document, TextForm::exact);
    EXPECT_EQ(document, before);
}

TEST(ExactText, AnyBytesArriveAsTheyWere) {
    std::mt19937 random(20061121);
    constexpr std::string_view kBytes =
        "\xf4\x8f\xba\xbb\x80\xbf"
        "a\xe9\xc3\xa9";
    for (int round = 0; round < 20000; ++round) {
        std::string text;
        for (auto left = random() % 12; left > 0; --left) {
            text += kBytes[random() % kBytes.size()];
        }
        ASSERT_EQ(received(sent(text), TextForm::exact), text) << ::testing::PrintToString(text);
        ASSERT_FALSE(core::find_invalid_utf8(received(sent(text), TextForm::readable)));
    }
}

}  // namespace
}  // namespace amilift::worker
