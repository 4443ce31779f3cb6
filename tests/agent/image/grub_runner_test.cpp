// SPDX-License-Identifier: Apache-2.0
#include "image/grub_runner.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::image::grub_script {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class GrubRunner : public testing::Test {
  protected:
    /// What `say` says when the script is run; of the other commands, `false` alone fails.
    std::vector<std::string> said_by(std::string_view text) {
        said_.clear();
        const auto done = runner_.run(std::make_shared<const Script>(parse(text)));
        EXPECT_TRUE(done) << done.error().message();
        return said_;
    }
    Environment environment_;
    std::vector<std::string> said_;
    Runner runner_{environment_,
                   [this](const Node& /*node*/, std::vector<std::string> words) -> core::Result<> {
                       environment_.set_status(words[0] != "false");
                       if (words[0] == "exit") runner_.end();
                       if (words[0] == "fail") return core::fail(core::Errc::io_error, "no disk");
                       if (words[0] == "say") {
                           words.erase(words.begin());
                           said_.push_back(fmt::format("{}", fmt::join(words, " ")));
                       }
                       return {};
                   }};
};

TEST_F(GrubRunner, TakesTheFirstBranchWhoseQuestionHolds) {
    EXPECT_THAT(said_by("if false; then say a; elif true; then say b; else say c; fi"),
                ElementsAre("b"));
    EXPECT_THAT(said_by("if false; then say a; elif false; then say b; else say c; fi"),
                ElementsAre("c"));
    EXPECT_THAT(said_by("if false; then say a; fi; if true; then say on; fi"), ElementsAre("on"));
}

TEST_F(GrubRunner, AssignsAndPutsVariablesIn) {
    EXPECT_THAT(said_by("x=1\ny=\"a b\"\nsay $x \"$y\" ${x}2"), ElementsAre("1 a b 12"));
    EXPECT_EQ(environment_.get("y"), "a b");
}

TEST_F(GrubRunner, LoopsAreLeftAndBegunAnewByTheirNumber) {
    EXPECT_THAT(said_by("for x in 1 2 3; do say $x; done"), ElementsAre("1", "2", "3"));
    EXPECT_THAT(said_by("while true; do say once; break; say never; done"), ElementsAre("once"));
    EXPECT_THAT(said_by("until false; do say once; break; done; until true; do say never; done"),
                ElementsAre("once"));
    EXPECT_THAT(said_by("for x in 1 2; do say $x; continue; say never; done; say end"),
                ElementsAre("1", "2", "end"));
    EXPECT_THAT(said_by("for x in 1 2; do for y in a b; do say $x$y; continue 2; done; "
                        "say never; done"),
                ElementsAre("1a", "2a"));
    EXPECT_THAT(said_by("for x in 1 2; do for y in a b; do say $x$y; break 2; done; done; say end"),
                ElementsAre("1a", "end"));
    said_by("for x in 1; do break none; if true; then say fine; fi; done");
    EXPECT_THAT(said_, ElementsAre("fine"));
}

TEST_F(GrubRunner, FunctionsHaveArgumentsAndReturn) {
    EXPECT_THAT(said_by("function f { say $1; return; say never; }\nf one; f two; say end"),
                ElementsAre("one", "two", "end"));
    EXPECT_THAT(said_by("f kept"), ElementsAre("kept")) << "of the script before";
    // A loop around the call is none of the function's.
    EXPECT_THAT(said_by("function g { break; say $1; }\nfor x in 1 2; do g $x; done"),
                ElementsAre("1", "2"));
    EXPECT_THAT(said_by("return; say on"), ElementsAre("on")) << "there is nothing to return from";
}

TEST_F(GrubRunner, ABodyIsWhatReturnEnds) {
    const auto script = parse("say a; return; say never");
    ASSERT_TRUE(runner_.run_body(script.block));
    ASSERT_TRUE(runner_.run(parse("say b").block));
    EXPECT_THAT(said_, ElementsAre("a", "b"));
}

TEST_F(GrubRunner, EndsForGood) {
    EXPECT_THAT(said_by("for x in 1 2; do say $x; exit; say never; done; say never"),
                ElementsAre("1"));
    EXPECT_TRUE(runner_.is_over());
    EXPECT_THAT(said_by("say never"), IsEmpty());
}

TEST_F(GrubRunner, GivesUpWhatHasNoEnd) {
    said_by("function f { f; }\nf; say never");
    EXPECT_THAT(said_, IsEmpty());
    EXPECT_TRUE(environment_.is_spent());
}

TEST_F(GrubRunner, StopsAtAFailure) {
    const auto failed = runner_.run(
        std::make_shared<const Script>(parse("for x in 1 2; do say $x; fail; done; say never")));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, core::Errc::io_error);
    EXPECT_THAT(said_, ElementsAre("1"));
}

}  // namespace
}  // namespace amilift::image::grub_script
