// SPDX-License-Identifier: Apache-2.0
#include "image/grub_commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::image::grub_script {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(GrubRegexp, SetsVariablesFromGroups) {
    const auto match = run_regexp({"regexp", "--set=1:disk", "^\\(([^,]+),", "(hd0,gpt1)/EFI"});
    EXPECT_TRUE(match.matches);
    EXPECT_THAT(match.variables, ElementsAre(Pair("disk", "hd0")));
    EXPECT_FALSE(run_regexp({"regexp", "^x", "hd0"}).matches);
    EXPECT_TRUE(run_regexp({"regexp", "a\\)+b", "a))b"}).matches) << "a letter is repeated";
}

/// What would take memory or time without bound is no match, and takes neither.
TEST(GrubRegexp, LeavesExpensiveExpressions) {
    std::string nested = "a";
    for (int i = 0; i < 24; ++i) nested = "(" + nested + "+)";
    for (const auto& expression :
         {nested, std::string("(a*)*b"), std::string("(a?)+"), std::string("a**"),
          std::string("(a)\\1"), std::string("a{1,9}"), std::string(200, 'a')}) {
        EXPECT_FALSE(run_regexp({"regexp", expression, std::string(200, 'a')}).matches)
            << expression;
    }
}

/// A value of --hint is no name, whatever stands between the two.
TEST(GrubSearch, SkipsHints) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"search", "--fs-uuid", "--hint-efi", "hd0,gpt1", "--set=root",
                                   "11-22"},
          std::vector<std::string>{"search", "--hint-bios=hd0,gpt1", "--hint", "hd0", "-u",
                                   "--set=root", "11-22"}}) {
        const auto search = parse_search(words);
        EXPECT_EQ(search.what, SearchFor::uuid);
        EXPECT_EQ(search.name, "11-22");
        EXPECT_EQ(search.variable, "root");
    }
}

TEST(GrubRescueParser, KnowsVariablesAndQuotes) {
    const std::string known =
        "set prefix=(${root})/boot/grub\nconfigfile ${cmdpath}/grub.cfg\nset a='x;y'\n";
    EXPECT_EQ(rescue_commands(known), known);
    EXPECT_EQ(rescue_commands("if true; then\nset a=b; set c=d\nmenuentry x {\nset e={f}\n"),
              "\n\n\n\n");
}

}  // namespace
}  // namespace amilift::image::grub_script
