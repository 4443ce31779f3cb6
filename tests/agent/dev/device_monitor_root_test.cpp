// SPDX-License-Identifier: Apache-2.0
#include "dev/device_monitor.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::attach;
using testing::make_sparse;
using testing::TemporaryDirectory;

// Far less than the monitor's look at everything, which would hide that no event came.
constexpr milliseconds kSoon{3000};
constexpr std::uint64_t kBytes = (5U << 20) + 512 * 77;

/// A loop device of an unusual size stands for a volume: it comes and goes with real udev events.
TEST(UdevEvents, ShowADeviceThatComesAndGoes) {
    AMILIFT_NEEDS_ROOT();
    if (::access("/run/udev/control", F_OK) != 0) {
        GTEST_SKIP() << "needs a running udev: no /run/udev/control";
    }
    const TemporaryDirectory directory;
    const auto path = make_sparse(directory, "volume", kBytes);
    auto monitor =
        make_udev_monitor([](const DeviceFacts& device, std::string_view, std::string_view) {
            return device.devtype == "disk" && device.size_sectors == kBytes / 512;
        });
    ASSERT_TRUE(monitor) << monitor.error().message();
    const core::Cancel cancel;

    std::optional<LoopDevice> loop;
    auto start = steady_clock::now();
    {
        const std::jthread later([&] {
            std::this_thread::sleep_for(milliseconds(500));
            loop.emplace(attach(path));
        });
        const auto found = (*monitor)->wait_present("vol-1", "/dev/sdf", 2 * kSoon, cancel);
        ASSERT_TRUE(found) << found.error().message();
        EXPECT_TRUE(found->path.starts_with("/dev/loop")) << found->path;
        EXPECT_GE(steady_clock::now() - start, milliseconds(400));
        EXPECT_LT(steady_clock::now() - start, kSoon);
    }
    start = steady_clock::now();
    {
        const std::jthread later([&] {
            std::this_thread::sleep_for(milliseconds(500));
            loop.reset();
        });
        const auto gone = (*monitor)->wait_absent("vol-1", "/dev/sdf", 2 * kSoon, cancel);
        EXPECT_TRUE(gone) << gone.error().message();
        EXPECT_GE(steady_clock::now() - start, milliseconds(400));
        EXPECT_LT(steady_clock::now() - start, kSoon);
    }
}

}  // namespace
}  // namespace amilift::dev
