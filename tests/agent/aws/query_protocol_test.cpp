// SPDX-License-Identifier: Apache-2.0
#include "aws/query_protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::aws {
namespace {

using ::testing::HasSubstr;

TEST(QueryForm, EncodesAsBrowsersAndTheAwsCliDo) {
    QueryForm form("DescribeVolumes", "2016-11-15");
    form.add("A b", "x y+z&=/~é");
    form.add("Size", 42);
    form.add_flag("Flag", false);
    form.add_list("Id", {"one", "two"});
    form.add_list("None", {});
    EXPECT_EQ(form.encoded(),
              "Action=DescribeVolumes&Version=2016-11-15&A+b=x+y%2Bz%26%3D%2F~%C3%A9&Size=42&"
              "Flag=false&Id.1=one&Id.2=two");
    EXPECT_EQ(form.action(), "DescribeVolumes");
}

TEST(QueryForm, BecomesAPost) {
    const auto call = query_call("ec2", QueryForm("X", "1"), Repeat::once);
    EXPECT_EQ(call.service, "ec2");
    EXPECT_EQ(call.operation, "X");
    EXPECT_EQ(call.method, net::Method::post);
    EXPECT_EQ(call.body, "Action=X&Version=1");
    EXPECT_EQ(call.repeat, Repeat::once);
    EXPECT_EQ(call.headers.at(0).value, "application/x-www-form-urlencoded; charset=utf-8");
}

TEST(ParseReply, RefusesWhatIsNotTheReply) {
    pugi::xml_document document;
    const auto garbage = parse_reply("<a><b></a>", "XResponse", document);
    ASSERT_FALSE(garbage);
    EXPECT_EQ(garbage.error().code, core::Errc::corrupt);
    EXPECT_THAT(garbage.error().what, HasSubstr("reply 'XResponse' is not XML"));
    EXPECT_THAT(garbage.error().what, HasSubstr("of 10"));
    const auto other = parse_reply("<YResponse/>", "XResponse", document);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().what, "the reply's root element is 'YResponse', expected 'XResponse'");
    EXPECT_FALSE(parse_reply("", "XResponse", document));
}

TEST(FieldReader, RemembersTheFirstBadField) {
    pugi::xml_document document;
    ASSERT_TRUE(document.load_string(
        "<v><n>12</n><bad>1x</bad><huge>99999999999999999999</huge><t>true</t><f>false</f>"
        "<odd>yes</odd><empty/></v>"));
    const auto v = document.document_element();
    FieldReader read;
    EXPECT_EQ(read.number(v, "n"), 12);
    EXPECT_EQ(read.number(v, "absent"), std::nullopt);
    EXPECT_EQ(read.number(v, "empty"), std::nullopt);
    EXPECT_EQ(read.flag(v, "t"), true);
    EXPECT_EQ(read.flag(v, "f"), false);
    EXPECT_EQ(read.flag(v, "absent"), std::nullopt);
    EXPECT_EQ(read.optional_text(v, "empty"), std::nullopt);
    EXPECT_TRUE(read.check("R"));
    EXPECT_EQ(read.number(v, "bad"), std::nullopt);
    EXPECT_EQ(read.number(v, "huge"), std::nullopt);
    EXPECT_EQ(read.flag(v, "odd"), false);
    EXPECT_EQ(read.required(v, "empty"), "");
    const auto checked = read.check("R");
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().code, core::Errc::corrupt);
    EXPECT_EQ(checked.error().what,
              "reply 'R': field 'bad' of 'v' is '1x', expected a whole number");
}

}  // namespace
}  // namespace amilift::aws
