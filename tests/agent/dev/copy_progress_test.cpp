// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_progress.hpp"

#include <gtest/gtest.h>

namespace amilift::dev {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::chrono::steady_clock::time_point kStart{100s};

TEST(CopyMeter, KnowsNoRateAtFirst) {
    CopyMeter meter;
    const CopyProgress progress{.done_bytes = 0, .total_bytes = 100 * kMiB};
    const auto status = meter.update(progress, kStart);
    EXPECT_EQ(status.bytes_per_second, 0U);
    EXPECT_FALSE(status.left);
    EXPECT_EQ(describe(status), "copied 0% of 100 MiB");
    // Nothing is done yet, however long it has taken.
    EXPECT_FALSE(meter.update(progress, kStart + 10s).left);
}

TEST(CopyMeter, TellsRateAndTimeLeft) {
    CopyMeter meter;
    (void)meter.update({.done_bytes = 0, .total_bytes = 100 * kMiB}, kStart);
    const auto status =
        meter.update({.done_bytes = 20 * kMiB, .total_bytes = 100 * kMiB}, kStart + 2s);
    EXPECT_EQ(status.bytes_per_second, 10 * kMiB);
    EXPECT_EQ(status.left, 8s);
    EXPECT_EQ(describe(status), "copied 20% of 100 MiB, 10 MiB/s, 8 s left");
}

TEST(CopyMeter, CountsOnlyWhatThisCopyHasDone) {
    CopyMeter meter;
    CopyProgress progress{
        .done_bytes = 40 * kMiB, .total_bytes = 100 * kMiB, .resumed_bytes = 40 * kMiB};
    (void)meter.update(progress, kStart);
    progress.done_bytes = 50 * kMiB;
    EXPECT_EQ(describe(meter.update(progress, kStart + 1s)),
              "copied 50% of 100 MiB (40 MiB before a restart), 10 MiB/s, 5 s left");
}

TEST(CopyMeter, BeginsAgainForTheCheck) {
    CopyMeter meter;
    CopyProgress progress{.done_bytes = 0, .total_bytes = 100 * kMiB};
    (void)meter.update(progress, kStart);
    progress.done_bytes = progress.total_bytes;
    EXPECT_EQ(meter.update(progress, kStart + 1s).left, 0s);
    progress.pass = CopyPass::verify;
    progress.done_bytes = 0;
    EXPECT_EQ(describe(meter.update(progress, kStart + 2s)), "verified 0% of 100 MiB");
    progress.done_bytes = kMiB;
    EXPECT_EQ(describe(meter.update(progress, kStart + 3s)),
              "verified 1% of 100 MiB, 1 MiB/s, 99 s left");
    progress.done_bytes = 2 * kMiB;
    EXPECT_EQ(describe(meter.update(progress, kStart + 302s)),
              "verified 2% of 100 MiB, 7 KiB/s, 4 h 5 min left");
    EXPECT_EQ(fraction_of({}), 1);
}

}  // namespace
}  // namespace amilift::dev
