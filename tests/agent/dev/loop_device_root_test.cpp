// SPDX-License-Identifier: Apache-2.0
#include "dev/loop_device.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::attach;
using testing::make_sparse;
using testing::open_disk;
using testing::random_bytes;
using testing::read_at;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kMiB = 1U << 20;

/// Loop devices whose backing file is `path`, as sysfs lists them.
std::size_t users_of(const std::string& path) {
    namespace fs = std::filesystem;
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator("/sys/block")) {
        const auto file = core::read_file((entry.path() / "loop/backing_file").string(), 4096);
        if (file && file->starts_with(path)) ++count;
    }
    return count;
}

bool released(const std::string& path) {
    for (int i = 0; i < 200; ++i) {
        if (users_of(path) == 0) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

class Loop : public ::testing::Test {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        path_ = make_sparse(directory_, "backing", 8 * kMiB);
        write_at(path_, 2 * kMiB, random_bytes(kMiB, 1));
    }
    TemporaryDirectory directory_;
    std::string path_;
};

TEST_F(Loop, ShowsAPartOfTheFile) {
    const auto loop = attach(path_, Access::read_only, 2 * kMiB, kMiB);
    const auto disk = open_disk(loop.path());
    EXPECT_TRUE(disk.is_block_device());
    EXPECT_EQ(disk.size_bytes(), kMiB);
    EXPECT_EQ(read_at(loop.path(), 0, kMiB), random_bytes(kMiB, 1));
}

TEST_F(Loop, ToTheEndWhenNoSizeIsGiven) {
    const auto loop = attach(path_, Access::read_only, 2 * kMiB);
    EXPECT_EQ(open_disk(loop.path()).size_bytes(), 6 * kMiB);
}

TEST_F(Loop, ReadOnlyCannotBeWritten) {
    const auto loop = attach(path_, Access::read_only);
    const auto opened = BlockDevice::open(loop.path(), Access::read_write);
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().is(Errc::permission_denied));
    EXPECT_NE(opened.error().what.find("read-only"), std::string::npos);
}

TEST_F(Loop, WritesReachTheFileWhenDetached) {
    auto loop = attach(path_, Access::read_write, 4 * kMiB, kMiB);
    const auto bytes = random_bytes(4096, 2);
    write_at(loop.path(), 8192, bytes);
    const auto gone = loop.detach();
    ASSERT_TRUE(gone) << gone.error().message();
    EXPECT_EQ(users_of(path_), 0U);
    EXPECT_EQ(read_at(path_, 4 * kMiB + 8192, 4096), bytes);
    EXPECT_TRUE(loop.detach());
}

TEST_F(Loop, IsGoneWithItsOwner) {
    {
        auto first = attach(path_);
        EXPECT_EQ(users_of(path_), 1U);
        const LoopDevice second = std::move(first);
        EXPECT_EQ(users_of(path_), 1U);
    }
    EXPECT_TRUE(released(path_));
}

TEST_F(Loop, IsGoneWithAKilledProcess) {
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto loop = LoopDevice::attach(path_, 0, 0, Access::read_only);
        const char answer = loop ? 'y' : 'n';
        if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    EXPECT_EQ(users_of(path_), 1U);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    EXPECT_TRUE(released(path_));
}

TEST_F(Loop, OverADiskIsThatVeryDisk) {
    const auto disk = open_disk(path_);
    std::filesystem::rename(path_, directory_.file("renamed"));
    make_sparse(directory_, "backing", kMiB);
    auto loop = LoopDevice::attach(disk, 2 * kMiB, kMiB, Access::read_only);
    ASSERT_TRUE(loop) << loop.error().message();
    EXPECT_EQ(read_at(loop->path(), 0, kMiB), random_bytes(kMiB, 1));
    const auto writable = LoopDevice::attach(disk, 0, kMiB, Access::read_write);
    ASSERT_FALSE(writable);
    EXPECT_TRUE(writable.error().is(Errc::invalid_input));
}

TEST_F(Loop, RefusesWhatIsNotInTheFile) {
    for (const auto& [offset, size] : {std::pair<std::uint64_t, std::uint64_t>{0, 9 * kMiB},
                                       {9 * kMiB, 0},
                                       {8 * kMiB, kMiB},
                                       {100, kMiB},
                                       {0, 1000},
                                       {~std::uint64_t{511}, 1024}}) {
        const auto loop = LoopDevice::attach(path_, offset, size, Access::read_only);
        ASSERT_FALSE(loop) << offset << " " << size;
        EXPECT_TRUE(loop.error().is(Errc::invalid_input));
        EXPECT_NE(loop.error().what.find(path_), std::string::npos);
    }
    EXPECT_FALSE(LoopDevice::attach("/dev/null", 0, 0, Access::read_only));
    EXPECT_FALSE(LoopDevice::attach(directory_.file("none"), 0, 0, Access::read_only));
}

TEST_F(Loop, DetachSaysThatSomebodyHoldsIt) {
    auto loop = attach(path_);
    const auto holder = core::open_file(loop.path(), O_RDONLY);
    ASSERT_TRUE(holder);
    const auto gone = loop.detach();
    ASSERT_FALSE(gone);
    EXPECT_TRUE(gone.error().is(Errc::conflict));
    EXPECT_NE(gone.error().what.find(loop.path()), std::string::npos);
}

}  // namespace
}  // namespace amilift::dev
