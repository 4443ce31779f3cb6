// SPDX-License-Identifier: Apache-2.0
#include "dev/device_monitor.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace amilift::dev {
namespace {

using core::Errc;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kNoVolume = "vol-00000000000000000";

bool udev_runs() {
    return ::access("/run/udev/control", F_OK) == 0;
}

TEST(UdevMonitor, SaysThatUdevIsMissing) {
    if (udev_runs()) GTEST_SKIP() << "udev runs here, so its absence cannot be seen";
    const auto monitor = make_udev_monitor();
    ASSERT_FALSE(monitor);
    EXPECT_TRUE(monitor.error().is(Errc::unavailable));
    EXPECT_NE(monitor.error().message().find("/run/udev/control"), std::string::npos);
}

class LiveUdev : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!udev_runs()) GTEST_SKIP() << "needs a running udev: no /run/udev/control";
        auto made = make_udev_monitor();
        ASSERT_TRUE(made) << made.error().message();
        monitor_ = *std::move(made);
    }
    std::unique_ptr<DeviceMonitor> monitor_;
    core::Cancel cancel_;
};

TEST_F(LiveUdev, GivesUpAtTheDeadline) {
    const auto start = steady_clock::now();
    const auto found = monitor_->wait_present(kNoVolume, "/dev/sdzz", milliseconds(300), cancel_);
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().is(Errc::timed_out));
    EXPECT_NE(found.error().what.find(kNoVolume), std::string::npos);
    EXPECT_GE(steady_clock::now() - start, milliseconds(300));
    EXPECT_LT(steady_clock::now() - start, milliseconds(5000));
}

TEST_F(LiveUdev, FindsAnAbsentVolumeAbsentAtOnce) {
    const auto gone = monitor_->wait_absent(kNoVolume, "/dev/sdzz", milliseconds(5000), cancel_);
    EXPECT_TRUE(gone) << gone.error().message();
}

TEST_F(LiveUdev, HearsACancel) {
    std::jthread later([this] {
        std::this_thread::sleep_for(milliseconds(100));
        cancel_.request("test says stop");
    });
    const auto found = monitor_->wait_present(kNoVolume, "/dev/sdzz", milliseconds(60000), cancel_);
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().is(Errc::cancelled));
}

}  // namespace
}  // namespace amilift::dev
