// SPDX-License-Identifier: Apache-2.0
#include "dev/ext_check.hpp"

#include <gtest/gtest.h>

namespace amilift::dev {
namespace {

using core::Errc;

/// An e2fsck that ends with that exit code.
class EndsWith final : public core::CommandRunner {
  public:
    explicit EndsWith(int code) : code_(code) {}
    core::Result<core::CommandOutput> run(const core::Command& /*command*/) override {
        return core::CommandOutput{code_, "/dev/loop0: what it\nfound\n", "and why\n"};
    }

  private:
    int code_;
};

TEST(ExtCheck, WhatCouldBeMendedIsMended) {
    for (const int code : {0, 1, 2, 3}) {
        EndsWith commands(code);
        const auto checked = check_ext(commands, "/dev/loop0", "'disk'");
        EXPECT_TRUE(checked) << code << ": " << checked.error().message();
    }
}

TEST(ExtCheck, ErrorsThatAreLeftAreTheFilesystems) {
    for (const int code : {4, 5, 12}) {
        EndsWith commands(code);
        const auto checked = check_ext(commands, "/dev/loop0", "'disk'");
        ASSERT_FALSE(checked) << code;
        EXPECT_TRUE(checked.error().is(Errc::refused)) << checked.error().message();
        EXPECT_EQ(checked.error().id, "filesystem-has-errors");
    }
}

/// An operational error, a usage error, a cancel and a missing library: nothing is known of the
/// filesystem then.
TEST(ExtCheck, CheckThatCouldNotBeMadeIsNoVerdict) {
    for (const int code : {8, 9, 16, 32, 128}) {
        EndsWith commands(code);
        const auto checked = check_ext(commands, "/dev/loop0", "'disk'");
        ASSERT_FALSE(checked) << code;
        EXPECT_TRUE(checked.error().is(Errc::io_error)) << checked.error().message();
        EXPECT_EQ(checked.error().id, "");
        EXPECT_EQ(checked.error().what, "e2fsck -f -p of 'disk' ends with " + std::to_string(code) +
                                            ": /dev/loop0: what it found and why");
    }
}

TEST(ExtCheck, RealE2fsckCannotCheckWhatIsNotThere) {
    core::ProcessRunner commands;
    const auto checked = check_ext(commands, "/nonexistent/disk", "'disk'");
    ASSERT_FALSE(checked);
    EXPECT_TRUE(checked.error().is(Errc::io_error)) << checked.error().message();
    EXPECT_NE(checked.error().what.find("No such file"), std::string::npos) << checked.error().what;
}

}  // namespace
}  // namespace amilift::dev
