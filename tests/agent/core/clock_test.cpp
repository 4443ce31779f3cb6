// SPDX-License-Identifier: Apache-2.0
#include "core/clock.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace amilift::core {
namespace {

TEST(Clock, ACancelWakesASleeperWithItsReason) {
    SystemClock clock;
    Cancel cancel;
    std::thread other([&cancel] { cancel.request("enough"); });
    const auto slept = clock.sleep_for(std::chrono::minutes(5), cancel);
    other.join();
    ASSERT_FALSE(slept);
    EXPECT_TRUE(slept.error().is(Errc::cancelled));
    EXPECT_EQ(slept.error().what, "enough");
    cancel.request("too late");
    EXPECT_EQ(cancel.check().error().what, "enough");
}

TEST(Clock, ADeadlineNeverHasNegativeTimeLeft) {
    SystemClock clock;
    const Deadline deadline(clock, std::chrono::milliseconds(-5));
    EXPECT_TRUE(deadline.passed(clock));
    EXPECT_EQ(deadline.left(clock), Duration::zero());
}

TEST(Clock, TimesReadBackAsTheyWereWritten) {
    const auto t = std::chrono::system_clock::from_time_t(1'763'717'400);
    EXPECT_EQ(format_utc(t), "2025-11-21T09:30:00Z");
    EXPECT_EQ(parse_utc("2025-11-21T09:30:00Z").value(), t);
    for (const auto* bad : {"", "2025-11-21", "2025-11-21T09:30:00", "2025-11-21T09:30:00Zx"}) {
        EXPECT_FALSE(parse_utc(bad)) << bad;
    }
}

}  // namespace
}  // namespace amilift::core
