// SPDX-License-Identifier: Apache-2.0
#include "dev/mount.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "dev/used_extents.hpp"
#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::attach;
using testing::hash_file;
using ::testing::HasSubstr;
using testing::kernel_has_filesystem;
using testing::make_sparse;
using testing::mount;
using testing::open_disk;
using testing::random_bytes;
using testing::run;
using testing::TemporaryDirectory;
using testing::unmount;
using testing::write_file;

/// The line of /proc/self/mountinfo about `directory`, or nothing.
std::string mount_line(const std::string& directory) {
    std::ifstream lines("/proc/self/mountinfo");
    for (std::string line; std::getline(lines, line);) {
        if (line.find(" " + directory + " ") != std::string::npos) return line;
    }
    return {};
}

class MountTest : public ::testing::Test {
  protected:
    void SetUp() override { AMILIFT_NEEDS_ROOT(); }
    void make(const std::string& type) {
        if (type == "xfs") {
            path_ = make_sparse(directory_, "disk", 320U << 20);
            run({"mkfs.xfs", "-q", "-f", path_});
        } else {
            path_ = make_sparse(directory_, "disk", 48U << 20);
            run({"mke2fs", "-q", "-F", "-t", type, path_});
        }
    }
    [[nodiscard]] FilesystemInfo info() const {
        const auto found = read_filesystem_info(open_disk(path_), 0);
        if (!found) throw std::runtime_error(found.error().message());
        return *found;
    }
    /// Replaces the disk by a copy made while it is mounted and changed: what a snapshot of a
    /// running machine holds.
    void make_dirty() {
        const auto type = info().type;
        const auto snapshot = directory_.file("snapshot");
        auto loop = attach(path_);
        auto mounted = mount(loop.path(), type, Access::read_write);
        write_file(mounted.directory() + "/file", random_bytes(100000, 1));
        if (::syncfs(mounted.root().get()) != 0) throw std::runtime_error("syncfs failed");
        std::filesystem::copy_file(path_, snapshot);
        unmount(mounted);
        if (!loop.detach()) throw std::runtime_error("detach failed");
        path_ = snapshot;
    }
    TemporaryDirectory directory_;
    std::string path_;
};

class MountEach : public MountTest, public ::testing::WithParamInterface<const char*> {
  protected:
    void SetUp() override {
        MountTest::SetUp();
        if (::testing::Test::IsSkipped()) return;
        if (std::string(GetParam()) == "xfs" && !kernel_has_filesystem("xfs")) {
            GTEST_SKIP() << "this kernel has no xfs";
        }
        make(GetParam());
    }
};

TEST_P(MountEach, IsReadableAndRestricted) {
    const auto loop = attach(path_);
    auto mounted = mount(loop.path(), info().type, Access::read_write);
    write_file(mounted.directory() + "/file", random_bytes(5000, 1));
    const auto line = mount_line(mounted.directory());
    for (const char* option : {"nosuid", "nodev", "noexec"}) EXPECT_THAT(line, HasSubstr(option));
    const auto directory = mounted.directory();
    unmount(mounted);
    EXPECT_EQ(mount_line(directory), "");
    EXPECT_FALSE(std::filesystem::exists(directory));
    EXPECT_TRUE(mounted.unmount());

    auto again = mount(loop.path(), info().type, Access::read_only);
    EXPECT_THAT(mount_line(again.directory()), HasSubstr(" ro,"));
    EXPECT_EQ(testing::read_at(again.directory() + "/file", 0, 5000), random_bytes(5000, 1));
    unmount(again);
    EXPECT_TRUE(info().clean);
}

TEST_P(MountEach, IsGoneWithItsOwner) {
    const auto loop = attach(path_, Access::read_only);
    std::string directory;
    {
        auto first = mount(loop.path(), info().type, Access::read_only);
        directory = first.directory();
        const Mount second = std::move(first);
        EXPECT_NE(mount_line(directory), "");
    }
    EXPECT_EQ(mount_line(directory), "");
    EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST_P(MountEach, ReadOnlyLeavesADirtyDeviceAlone) {
    make_dirty();
    if (info().type != Filesystem::ext2) {
        EXPECT_TRUE(info().needs_recovery);
    }
    EXPECT_FALSE(info().clean);
    const auto before = hash_file(path_);
    {
        // Writable underneath, so that only the mount options protect it.
        const auto loop = attach(path_);
        auto mounted = mount(loop.path(), info().type, Access::read_only);
        const auto map = map_used_extents(open_disk(loop.path()), info(), &mounted.root());
        ASSERT_TRUE(map) << map.error().message();
        EXPECT_EQ(map->method, "whole filesystem");
        unmount(mounted);
    }
    EXPECT_EQ(hash_file(path_), before);
}

class MountJournaled : public MountEach {};

TEST_P(MountJournaled, WritableReplaysTheJournal) {
    make_dirty();
    ASSERT_TRUE(info().needs_recovery);
    auto loop = attach(path_);
    auto mounted = mount(loop.path(), info().type, Access::read_write);
    EXPECT_EQ(testing::read_at(mounted.directory() + "/file", 0, 100000), random_bytes(100000, 1));
    unmount(mounted);
    ASSERT_TRUE(loop.detach());
    EXPECT_FALSE(info().needs_recovery);
    EXPECT_TRUE(info().clean);
}

INSTANTIATE_TEST_SUITE_P(Filesystems, MountEach, ::testing::Values("ext2", "ext3", "ext4", "xfs"),
                         [](const auto& name) { return std::string(name.param); });
INSTANTIATE_TEST_SUITE_P(Filesystems, MountJournaled, ::testing::Values("ext3", "ext4", "xfs"),
                         [](const auto& name) { return std::string(name.param); });

TEST_F(MountTest, OverrulesASuperblockThatAsksForAPanic) {
    make("ext4");
    run({"tune2fs", "-e", "panic", path_});
    const auto loop = attach(path_);
    auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_write);
    const auto line = mount_line(mounted.directory());
    EXPECT_EQ(line.find("errors=panic"), std::string::npos) << line;
    unmount(mounted);
}

TEST_F(MountTest, NamesWhoHoldsIt) {
    make("ext4");
    const auto loop = attach(path_);
    auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_write);
    auto held = core::open_file(mounted.directory() + "/held", O_WRONLY | O_CREAT);
    ASSERT_TRUE(held);
    const auto busy = mounted.unmount();
    ASSERT_FALSE(busy);
    EXPECT_TRUE(busy.error().is(Errc::conflict));
    EXPECT_THAT(busy.error().what, HasSubstr(std::to_string(::getpid()) + " ("));
    EXPECT_THAT(busy.error().what, HasSubstr(mounted.directory()));
    held->reset();
    EXPECT_TRUE(mounted.unmount());
}

TEST_F(MountTest, OwnerDetachesABusyMount) {
    make("ext4");
    const auto loop = attach(path_);
    std::string directory;
    core::Fd held;
    {
        const auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_write);
        directory = mounted.directory();
        auto opened = core::open_file(directory + "/held", O_WRONLY | O_CREAT);
        ASSERT_TRUE(opened);
        held = *std::move(opened);
    }
    EXPECT_EQ(mount_line(directory), "");
    EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST_F(MountTest, RefusesWhatIsNoSuchFilesystem) {
    make("ext4");
    const auto loop = attach(path_);
    const auto none = Mount::mount(loop.path(), Filesystem::none, Access::read_only);
    ASSERT_FALSE(none);
    EXPECT_TRUE(none.error().is(Errc::invalid_input));
    if (!kernel_has_filesystem("xfs")) GTEST_SKIP() << "this kernel has no xfs";
    const auto wrong = Mount::mount(loop.path(), Filesystem::xfs, Access::read_only);
    ASSERT_FALSE(wrong);
    EXPECT_TRUE(wrong.error().is(Errc::corrupt)) << wrong.error().message();
    EXPECT_THAT(wrong.error().what, HasSubstr(loop.path()));
}

TEST_F(MountTest, MountedDeviceCannotBeOpenedForWriting) {
    make("ext4");
    const auto loop = attach(path_);
    auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_only);
    const auto opened = BlockDevice::open(loop.path(), Access::read_write);
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().is(Errc::conflict)) << opened.error().message();
    EXPECT_THAT(opened.error().what, HasSubstr("mounted or in use"));
    unmount(mounted);
    const auto free = open_disk(loop.path(), Access::read_write);
    EXPECT_TRUE(free.flush());
    // And two writers exclude each other.
    const auto second = BlockDevice::open(loop.path(), Access::read_write);
    ASSERT_FALSE(second);
    EXPECT_TRUE(second.error().is(Errc::conflict));
}

TEST_F(MountTest, PrivateNamespaceHidesMounts) {
    make("ext4");
    const auto loop = attach(path_, Access::read_only);
    int answer[2];
    int go[2];
    ASSERT_EQ(::pipe2(answer, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::close(go[1]);
        if (!enter_private_mount_namespace()) ::_exit(1);
        {
            const auto mounted = Mount::mount(loop.path(), Filesystem::ext4, Access::read_only);
            if (!mounted || mount_line(mounted->directory()).empty()) ::_exit(2);
            const auto& directory = mounted->directory();
            if (::write(answer[1], directory.data(), directory.size()) < 0) ::_exit(3);
            ::close(answer[1]);
            char ignored = 0;
            if (::read(go[0], &ignored, 1) < 0) ::_exit(4);
        }
        ::_exit(0);
    }
    ::close(answer[1]);
    ::close(go[0]);
    std::string directory(256, '\0');
    const auto length = ::read(answer[0], directory.data(), directory.size());
    ASSERT_GT(length, 0);
    directory.resize(static_cast<std::size_t>(length));
    EXPECT_EQ(mount_line(directory), "");
    ::close(go[1]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(answer[0]);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace amilift::dev
