// SPDX-License-Identifier: Apache-2.0
#include "job/template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::job {
namespace {

using core::Errc;
using std::chrono::sys_days;
using testing::HasSubstr;

TemplateValues values(std::string source_name = "web server (2011)") {
    const auto started = sys_days{std::chrono::year{2026} / 11 / 21} + std::chrono::hours{9} +
                         std::chrono::minutes{5} + std::chrono::seconds{7};
    return {std::move(source_name), "ami-0abc1234", "web-2011", started};
}

std::string name_of(std::string_view text, const TemplateValues& v, unsigned copy = 1) {
    const auto fitted = fit_image_name(text, v, copy);
    return fitted ? fitted->name : "error: " + fitted.error().message();
}

TEST(Template, FillsInEveryPlaceholder) {
    EXPECT_EQ(expand_text("{source.name}|{source.ami}|{date}|{time}|{job.id}", values(), "f"),
              "web server (2011)|ami-0abc1234|2026-11-21|090507|web-2011");
}

TEST(Template, DoubledBracesAreBraces) {
    EXPECT_EQ(expand_text("{{date}} {{{date}}}", values(), "f"), "{date} {2026-11-21}");
}

TEST(Template, ValuesAreNotExpandedAgain) {
    EXPECT_EQ(expand_text("{source.name}", values("{date}"), "f"), "{date}");
}

TEST(Template, UnknownPlaceholderListsTheValidOnes) {
    const auto bad = expand_text("{sorce.name}", values(), "target.tags.Name");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Errc::invalid_input);
    EXPECT_EQ(bad.error().what,
              "target.tags.Name: unknown placeholder '{sorce.name}' in '{sorce.name}' (did you "
              "mean '{source.name}'?); valid ones: {source.name}, {source.ami}, {date}, {time}, "
              "{job.id}");
}

TEST(Template, BracesWithoutPartnerAreErrors) {
    for (const auto* text : {"{", "}", "a{date", "a}b", "{date}}", "{{date}"}) {
        EXPECT_FALSE(expand_text(text, values(), "f")) << text;
        EXPECT_FALSE(check_text_template(text)) << text;
    }
}

TEST(Template, ExpandedTextThatIsTooLongIsAnErrorAndNotCut) {
    EXPECT_TRUE(expand_text("{source.name}", values(std::string(255, 'x')), "f"));
    const auto bad =
        expand_text("{source.name}", values(std::string(256, 'x')), "target.description");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().what,
              "target.description: '{source.name}' has 256 characters when its placeholders are "
              "filled in, expected at most 255");
}

TEST(ImageName, KeepsALegalName) {
    const auto fitted = fit_image_name("{source.name}-hvm-{date}", values());
    ASSERT_TRUE(fitted);
    EXPECT_EQ(fitted->name, "web server (2011)-hvm-2026-11-21");
    EXPECT_EQ(fitted->note, "");
    EXPECT_EQ(expand_image_name("{source.name}-hvm-{date}", values()), fitted->name);
}

TEST(ImageName, CutsOnlyTheSourceNameToFit) {
    const auto fitted = fit_image_name("{source.name}-hvm-{date}",
                                       values(std::string(110, 'x') + " " + std::string(17, 'y')));
    ASSERT_TRUE(fitted);
    // 128 - strlen("-hvm-2026-11-21") = 113: two 'y' stay.
    EXPECT_EQ(fitted->name, std::string(110, 'x') + " yy-hvm-2026-11-21");
    EXPECT_EQ(fitted->name.size(), 128U);
    EXPECT_THAT(fitted->note, HasSubstr("its last 15 characters are left out"));
}

TEST(ImageName, LeavesNoSeparatorAtTheCut) {
    EXPECT_EQ(name_of("{source.name}-hvm-{date}", values(std::string(110, 'x') + " - zzzzzzz")),
              std::string(110, 'x') + "-hvm-2026-11-21");
}

TEST(ImageName, CutsEachUseOfTheSourceName) {
    const auto name = name_of("{source.name}{source.name}", values(std::string(100, 'x')));
    EXPECT_EQ(name, std::string(128, 'x'));
}

TEST(ImageName, MakesRoomForTheCopyNumber) {
    EXPECT_EQ(name_of("{source.name}", values("abc"), 1), "abc");
    EXPECT_EQ(name_of("{source.name}", values("abc"), 2), "abc-2");
    EXPECT_EQ(name_of("{source.name}", values(std::string(128, 'x')), 12),
              std::string(125, 'x') + "-12");
    EXPECT_THAT(name_of(std::string(127, 'x'), values(), 2), HasSubstr("129 characters"));
}

TEST(ImageName, ReplacesCharactersOfOldNamesAndSaysSo) {
    const auto fitted = fit_image_name("{source.name}", values("a,b&c: Käse"));
    ASSERT_TRUE(fitted);
    EXPECT_EQ(fitted->name, "a-b-c- K--se");
    EXPECT_EQ(fitted->note,
              "the source's name was changed to fit into the new name 'a-b-c- K--se': characters "
              "that an AMI name cannot have are now '-'");
}

TEST(ImageName, SaysNothingOfASourceNameThatIsNotUsed) {
    const auto fitted = fit_image_name("fixed-{date}", values("a,b"));
    ASSERT_TRUE(fitted);
    EXPECT_EQ(fitted->note, "");
}

TEST(ImageName, RefusesWhatDoesNotFit) {
    EXPECT_EQ(name_of("{source.name}", values("ab")),
              "error: target.name '{source.name}': 'ab' has 2 characters, expected 3 to 128 "
              "(change target.name in the job)");
    EXPECT_THAT(name_of(std::string(120, 'x') + "{source.name}{date}", values("name")),
                HasSubstr("134 characters"));
    EXPECT_THAT(name_of("a{job.id}", {"n", "ami-1", "x#y", {}}), HasSubstr("cannot have '#'"));
}

TEST(ImageName, EveryLengthOfSourceNameGivesALegalName) {
    for (std::size_t length = 0; length <= 300; ++length) {
        const auto name =
            expand_image_name("{source.name}-hvm-{date}", values(std::string(length, 's')));
        ASSERT_TRUE(name) << length;
        EXPECT_LE(name->size(), kMaxImageName);
        EXPECT_TRUE(name->ends_with("-hvm-2026-11-21"));
    }
}

TEST(ImageName, TemplateIsCheckedWithoutValues) {
    EXPECT_TRUE(check_image_name_template("{source.name}"));
    EXPECT_TRUE(check_image_name_template("a()[]./-'@_ Z9"));
    EXPECT_TRUE(check_image_name_template("abc"));
    EXPECT_FALSE(check_image_name_template("ab"));
    EXPECT_FALSE(check_image_name_template(""));
    EXPECT_FALSE(check_image_name_template("{source.name}:{date}"));
    EXPECT_FALSE(check_image_name_template("{{date}}"));
    EXPECT_FALSE(check_image_name_template("{date}" + std::string(129, 'x')));
    EXPECT_FALSE(check_image_name_template("{hostname}-abc"));
}

}  // namespace
}  // namespace amilift::job
