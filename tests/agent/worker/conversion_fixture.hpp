// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/agent/worker/pv_image.hpp"
#include "worker/conversion.hpp"

/// What tests of conversions share. They need root.
namespace amilift::worker::test {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// Writes down what a conversion tells, and cancels it at a step if it is told to.
class Notes final : public ConversionObserver {
  public:
    void on_stage(const std::string& stage) override { stages.push_back(stage); }
    void on_finding(const image::Finding& finding) override { findings.push_back(finding.id); }
    void on_step(std::size_t index, std::size_t count, const std::string& text) override {
        if (index == 0) steps.clear();
        EXPECT_EQ(index, steps.size());
        EXPECT_LT(index, count);
        steps.push_back(text);
        if (cancel != nullptr && index == cancel_at) cancel->request("the test says so");
    }
    void on_progress(const dev::CopyProgress& p) override { last = p; }
    std::vector<std::string> stages;
    std::vector<std::string> findings;  ///< their ids
    std::vector<std::string> steps;     ///< of the last conversion
    dev::CopyProgress last;
    core::Cancel* cancel = nullptr;
    std::size_t cancel_at = 0;
};

inline void put(const std::string& disk, std::uint64_t offset, std::string_view bytes) {
    const core::Fd fd(::open(disk.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
}

inline std::string get(const std::string& disk, std::uint64_t offset, std::size_t count) {
    std::string bytes(count, '\0');
    const core::Fd fd(::open(disk.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::pread(fd.get(), bytes.data(), count, static_cast<off_t>(offset)),
              static_cast<ssize_t>(count));
    return bytes;
}

/// A source that each test makes; no loop device and no mount may be left.
class ConversionFixture : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root for loop devices and mounts";
    }
    void TearDown() override {
        EXPECT_EQ(loops_on(work.path()), std::vector<std::string>{});
        EXPECT_EQ(image_mounts(), std::vector<std::string>{});
    }

    TemporaryDirectory work;
    std::string source = work / "source.img";
    std::string output = work / "output.img";
    core::ProcessRunner commands;
    core::Cancel cancel;
    Notes notes;
};

}  // namespace amilift::worker::test
