// SPDX-License-Identifier: Apache-2.0
#include "core/result.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace amilift::core {
namespace {

Result<int> half(int n) {
    if (n % 2 != 0) return fail(Errc::invalid_input, "odd", "give an even number");
    return n / 2;
}

Result<int> quarter(int n) {
    AMILIFT_TRY(const int h, half(n));
    AMILIFT_TRY(const int q, half(h));
    return q;
}

Result<> check_quarter(int n) {
    AMILIFT_CHECK(quarter(n));
    return {};
}

TEST(Result, TryGivesTheValueOrReturnsTheError) {
    EXPECT_EQ(quarter(8).value(), 2);
    ASSERT_FALSE(quarter(6));
    EXPECT_EQ(quarter(6).error().message(), "odd (give an even number)");
    EXPECT_TRUE(check_quarter(8));
    EXPECT_FALSE(check_quarter(6));
}

TEST(Result, ContextComesFirstAndLaterFailuresLast) {
    auto first = fail(Errc::io_error, "read failed");
    const auto error = std::move(first.error())
                           .with_context("volume 'vol-1'")
                           .followed_by(fail(Errc::conflict, "unmount failed").error());
    EXPECT_EQ(error.what, "volume 'vol-1': read failed; then unmount failed");
    EXPECT_TRUE(error.is(Errc::io_error));
}

TEST(Result, ErrnoBecomesACodeAndItsText) {
    const auto failed = fail_errno(ENOSPC, "cannot write '/x'");
    EXPECT_TRUE(failed.error().is(Errc::no_space));
    EXPECT_EQ(failed.error().sys_errno, ENOSPC);
    EXPECT_EQ(failed.error().what, "cannot write '/x': No space left on device");
    EXPECT_TRUE(fail_errno(EACCES, "").error().is(Errc::permission_denied));
    EXPECT_TRUE(fail_errno(EIO, "").error().is(Errc::io_error));
}

TEST(Result, EveryCodeHasANameOfItsOwn) {
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(Errc::internal); ++i) {
        names.insert(to_string(static_cast<Errc>(i)));
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(Errc::internal) + 1);
}

}  // namespace
}  // namespace amilift::core
