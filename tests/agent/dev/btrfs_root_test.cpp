// SPDX-License-Identifier: Apache-2.0
// Real btrfs filesystems on loop devices. Needs root, mkfs.btrfs and btrfs.
#include "dev/btrfs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "dev/partitions.hpp"
#include "dev/used_extents.hpp"
#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::attach;
using testing::hash_file;
using ::testing::HasSubstr;
using testing::make_sparse;
using testing::mount;
using testing::open_disk;
using testing::random_bytes;
using testing::run;
using testing::TemporaryDirectory;
using testing::unmount;
using testing::write_file;

constexpr std::uint64_t kDiskBytes = std::uint64_t{256} << 20;

class BtrfsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        if (!testing::kernel_has_filesystem("btrfs")) GTEST_SKIP() << "the kernel has no btrfs";
    }
    void make(const std::vector<std::string>& options = {}) {
        path_ = make_sparse(directory_, "disk", kDiskBytes);
        std::vector<std::string> argv{"mkfs.btrfs", "-q", "-f", "-L", "a label"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.push_back(path_);
        run(argv);
    }
    [[nodiscard]] FilesystemInfo info(const std::string& path) const {
        const auto found = read_filesystem_info(open_disk(path), 0);
        if (!found) throw std::runtime_error(found.error().message());
        return *found;
    }
    static BtrfsSubvolumes list(const Mount& mounted) {
        auto found = list_btrfs_subvolumes(mounted.root(), "disk");
        if (!found) throw std::runtime_error(found.error().message());
        return *std::move(found);
    }
    static Mount top_level(const std::string& device, Access access) {
        auto mounted = Mount::mount(device, Filesystem::btrfs, access, kBtrfsTopLevel);
        if (!mounted) throw std::runtime_error(mounted.error().message());
        return *std::move(mounted);
    }
    /// Copies the extents alone to a new file, and returns its path.
    std::string copy_of(const ExtentMap& map) {
        const auto copy = make_sparse(directory_, "copy", kDiskBytes);
        const auto from = core::open_file(path_, O_RDONLY);
        const auto to = core::open_file(copy, O_WRONLY);
        for (const auto& extent : map.used) {
            std::vector<std::byte> bytes(static_cast<std::size_t>(extent.length));
            if (!core::read_exactly_at(*from, bytes, extent.offset, path_) ||
                !core::write_all_at(*to, bytes, extent.offset, copy)) {
                throw std::runtime_error("cannot copy an extent");
            }
        }
        return copy;
    }
    TemporaryDirectory directory_;
    std::string path_;
};

TEST_F(BtrfsTest, SuperblockSaysWhatItIs) {
    make({"-U", "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11"});
    const auto seen = info(path_);
    EXPECT_EQ(seen.type, Filesystem::btrfs);
    EXPECT_EQ(seen.uuid, "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11");
    EXPECT_EQ(seen.label, "a label");
    EXPECT_EQ(seen.size_bytes, kDiskBytes);
    EXPECT_EQ(seen.block_bytes, 4096U);
    EXPECT_EQ(seen.device_count, 1U);
    EXPECT_TRUE(seen.clean);
}

TEST_F(BtrfsTest, SubvolumesAreFoundByNumberPathAndOptions) {
    make();
    auto loop = attach(path_);
    auto mounted = top_level(loop.path(), Access::read_write);
    const auto& top = mounted.directory();
    run({"btrfs", "subvolume", "create", top + "/@"});
    std::filesystem::create_directories(top + "/@/.snapshots/1");
    run({"btrfs", "subvolume", "create", top + "/@/.snapshots/1/snapshot"});
    run({"btrfs", "subvolume", "create", top + "/@/var"});
    run({"btrfs", "subvolume", "snapshot", "-r", top + "/@/var", top + "/old one"});
    std::filesystem::create_symlink("@", top + "/link");
    const auto seen = list(mounted);
    ASSERT_EQ(seen.all.size(), 5U);
    EXPECT_EQ(seen.default_id, kBtrfsTopLevel);
    EXPECT_EQ(seen.by_id(kBtrfsTopLevel)->path, "");
    const auto* root = seen.by_path("/@/.snapshots/1/snapshot/");
    ASSERT_NE(root, nullptr);
    EXPECT_FALSE(root->is_read_only);
    const auto* old = seen.by_path("old one");
    ASSERT_NE(old, nullptr);
    EXPECT_TRUE(old->is_read_only);
    EXPECT_EQ(seen.by_path("link"), nullptr);
    EXPECT_EQ(seen.by_options("noatime,subvol=/@/var"), seen.by_path("@/var"));
    EXPECT_EQ(seen.by_options(fmt::format("subvolid={},rw", root->id)), root);
    EXPECT_EQ(seen.by_options("subvolid=0"), seen.by_id(kBtrfsTopLevel));
    EXPECT_EQ(seen.by_options("subvol=@gone"), nullptr);
    EXPECT_EQ(seen.by_options("subvolid=1x"), nullptr);
    EXPECT_EQ(seen.by_options("noatime"), seen.by_id(kBtrfsTopLevel));

    run({"btrfs", "subvolume", "set-default", std::to_string(root->id), top});
    write_file(top + "/@/.snapshots/1/snapshot/here", random_bytes(10, 1));
    const auto after = list(mounted);
    EXPECT_EQ(after.default_id, root->id);
    EXPECT_EQ(after.by_options("noatime"), after.by_id(root->id));
    unmount(mounted);
    // Without a choice the default one is mounted, else the one that was chosen.
    auto chosen = mount(loop.path(), Filesystem::btrfs, Access::read_only);
    EXPECT_TRUE(std::filesystem::exists(chosen.directory() + "/here"));
    unmount(chosen);
    auto other = Mount::mount(loop.path(), Filesystem::btrfs, Access::read_only, old->id);
    ASSERT_TRUE(other) << other.error().message();
    EXPECT_FALSE(std::filesystem::exists(other->directory() + "/here"));
    unmount(*other);
    const auto none = Mount::mount(loop.path(), Filesystem::btrfs, Access::read_only, 9999);
    EXPECT_FALSE(none);
}

class BtrfsProfiles : public BtrfsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(BtrfsProfiles, WhatIsInUseIsACopyOfAllFiles) {
    make(GetParam() == std::string("mixed")
             ? std::vector<std::string>{"--mixed"}
             : std::vector<std::string>{"-m", GetParam(), "-d", "single"});
    auto loop = attach(path_);
    {
        auto mounted = top_level(loop.path(), Access::read_write);
        run({"btrfs", "subvolume", "create", mounted.directory() + "/@"});
        testing::fill_like_a_machine(mounted.directory() + "/@", 12, true);
        run({"btrfs", "subvolume", "snapshot", "-r", mounted.directory() + "/@",
             mounted.directory() + "/snapshot"});
        unmount(mounted);
    }
    auto mounted = top_level(loop.path(), Access::read_only);
    const auto map = map_used_extents(open_disk(path_), info(path_), &mounted.root());
    ASSERT_TRUE(map) << map.error().message();
    EXPECT_EQ(map->method, "btrfs trees");
    EXPECT_LT(map->used_bytes, kDiskBytes / 2);
    EXPECT_EQ(map->used_bytes, total_bytes(map->used));
    for (std::size_t i = 1; i < map->used.size(); ++i) {
        ASSERT_GT(map->used[i].offset, map->used[i - 1].offset + map->used[i - 1].length);
    }
    const auto before = testing::describe_tree(mounted.directory());
    unmount(mounted);
    ASSERT_TRUE(loop.detach());

    const auto copy = copy_of(*map);
    run({"btrfs", "check", "--check-data-csum", copy});
    auto copied_loop = attach(copy);
    auto copied = top_level(copied_loop.path(), Access::read_only);
    EXPECT_EQ(testing::describe_tree(copied.directory()), before);
    unmount(copied);
}

INSTANTIATE_TEST_SUITE_P(All, BtrfsProfiles, ::testing::Values("dup", "mixed"));

TEST_F(BtrfsTest, LogIsReplayedOnlyWhereItMayBe) {
    make();
    const auto snapshot = directory_.file("snapshot");
    {
        auto loop = attach(path_);
        auto mounted = mount(loop.path(), Filesystem::btrfs, Access::read_write);
        const auto file = mounted.directory() + "/newest";
        {
            const auto opened = core::open_file(file, O_WRONLY | O_CREAT);
            ASSERT_TRUE(core::write_all_at(*opened, random_bytes(5000, 2), 0, file));
            ASSERT_EQ(::fsync(opened->get()), 0);
        }
        run({"cp", "--sparse=always", loop.path(), snapshot});
        unmount(mounted);
    }
    std::filesystem::rename(snapshot, path_);
    ASSERT_TRUE(info(path_).needs_recovery);
    const auto before = hash_file(path_);
    {
        auto loop = attach(path_);
        auto mounted = mount(loop.path(), Filesystem::btrfs, Access::read_only);
        EXPECT_FALSE(std::filesystem::exists(mounted.directory() + "/newest"));
        const auto map = map_used_extents(open_disk(path_), info(path_), &mounted.root());
        ASSERT_TRUE(map) << map.error().message();
        EXPECT_EQ(map->method, "whole filesystem");
        unmount(mounted);
    }
    EXPECT_EQ(hash_file(path_), before);
    auto loop = attach(path_);
    auto mounted = mount(loop.path(), Filesystem::btrfs, Access::read_write);
    EXPECT_EQ(std::filesystem::file_size(mounted.directory() + "/newest"), 5000U);
    unmount(mounted);
    EXPECT_FALSE(info(path_).needs_recovery);
}

TEST_F(BtrfsTest, OneOfSeveralDevicesIsRefused) {
    path_ = make_sparse(directory_, "disk", kDiskBytes);
    const auto second = make_sparse(directory_, "second", kDiskBytes);
    run({"mkfs.btrfs", "-q", "-f", "-d", "single", "-m", "single", path_, second});
    for (const auto& path : {path_, second}) {
        const auto seen = read_filesystem_info(open_disk(path), 0);
        ASSERT_FALSE(seen);
        EXPECT_EQ(seen.error().id, "btrfs-several-devices");
        EXPECT_THAT(seen.error().what, HasSubstr("one of 2 devices"));
    }
}

TEST_F(BtrfsTest, GrowsToItsDevice) {
    make();
    std::filesystem::resize_file(path_, kDiskBytes + (64U << 20));
    auto loop = attach(path_);
    auto mounted = mount(loop.path(), Filesystem::btrfs, Access::read_write);
    const auto grown = grow_btrfs(mounted.root(), loop.path());
    ASSERT_TRUE(grown) << grown.error().message();
    unmount(mounted);
    EXPECT_EQ(info(path_).size_bytes, kDiskBytes + (64U << 20));
}

TEST_F(BtrfsTest, ACopyIsMountedAfterItsSource) {
    make();
    auto loop = attach(path_);
    {
        auto mounted = mount(loop.path(), Filesystem::btrfs, Access::read_write);
        write_file(mounted.directory() + "/one", random_bytes(100, 3));
        unmount(mounted);
    }
    const auto copy = directory_.file("copy");
    std::filesystem::copy_file(path_, copy);
    auto copy_loop = attach(copy);
    {
        auto mounted = mount(copy_loop.path(), Filesystem::btrfs, Access::read_write);
        write_file(mounted.directory() + "/two", random_bytes(100, 4));
        unmount(mounted);
    }
    // udev would tell the kernel of every device, and it keeps the one that was written last.
    run({"btrfs", "device", "scan", copy_loop.path()});
    auto again = mount(loop.path(), Filesystem::btrfs, Access::read_only);
    EXPECT_TRUE(std::filesystem::exists(again.directory() + "/one"));
    EXPECT_FALSE(std::filesystem::exists(again.directory() + "/two"));
    unmount(again);
}

}  // namespace
}  // namespace amilift::dev
