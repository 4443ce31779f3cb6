// SPDX-License-Identifier: Apache-2.0
#include "image/tree_copy.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <chrono>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

namespace fs = std::filesystem;

core::Fd directory_of(const TemporaryRoot& root) {
    return root.open().open_directory("/").value();
}

struct stat status_of(const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status;
}

class TreeCopyTest : public testing::Test {
  protected:
    core::Result<std::vector<CopiedPath>> copy() const {
        return copy_tree(directory_of(from_), directory_of(to_));
    }
    const TemporaryRoot from_;
    const TemporaryRoot to_;
};

TEST_F(TreeCopyTest, KeepsWhatATreeHas) {
    from_.file("/vmlinuz-1", "kernel");
    from_.file("/grub/menu.lst", "title");
    from_.link("/grub/grub.conf", "./menu.lst");
    from_.link("/boot", ".");
    from_.directory("/empty");
    from_.directory("/lost+found");
    fs::permissions(from_.on_host("/vmlinuz-1"), fs::perms(04751));
    fs::permissions(from_.on_host("/empty"), fs::perms(01700));
    fs::create_hard_link(from_.on_host("/grub/menu.lst"), from_.on_host("/second"));
    const auto past = fs::file_time_type::clock::now() - std::chrono::hours(30000);
    fs::last_write_time(from_.on_host("/grub/menu.lst"), past);
    fs::last_write_time(from_.on_host("/grub"), past);
    const bool has_xattrs =
        ::setxattr(from_.on_host("/vmlinuz-1").c_str(), "user.note", "x", 1, 0) == 0;
    to_.file("/kept", "of the root");
    to_.file("/vmlinuz-1", "old");

    const auto copied = copy();
    ASSERT_TRUE(copied) << copied.error().message();
    std::map<std::string, std::string> kinds;
    for (const auto& path : *copied) kinds[path.path] = path.kind;
    EXPECT_EQ(kinds, (std::map<std::string, std::string>{{"boot", "link"},
                                                         {"empty", "directory"},
                                                         {"grub", "directory"},
                                                         {"grub/grub.conf", "link"},
                                                         {"grub/menu.lst", "file"},
                                                         {"second", "file"},
                                                         {"vmlinuz-1", "file"}}));
    EXPECT_EQ(to_.text_of("/vmlinuz-1"), "kernel");
    EXPECT_EQ(to_.text_of("/kept"), "of the root");
    EXPECT_EQ(fs::read_symlink(to_.on_host("/grub/grub.conf")), "./menu.lst");
    EXPECT_EQ(fs::read_symlink(to_.on_host("/boot")), ".");
    for (const auto* path : {"/vmlinuz-1", "/empty", "/grub", "/grub/menu.lst"}) {
        const auto before = status_of(from_.on_host(path));
        const auto after = status_of(to_.on_host(path));
        EXPECT_EQ(after.st_mode, before.st_mode) << path;
        EXPECT_EQ(after.st_uid, before.st_uid) << path;
        EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec) << path;
        EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec) << path;
    }
    EXPECT_EQ(status_of(to_.on_host("/second")).st_ino,
              status_of(to_.on_host("/grub/menu.lst")).st_ino);
    EXPECT_FALSE(to_.has("/lost+found"));
    char value = 0;
    EXPECT_EQ(::getxattr(to_.on_host("/vmlinuz-1").c_str(), "user.note", &value, 1),
              has_xattrs ? 1 : -1);
    EXPECT_EQ(measure_tree(directory_of(from_)).value(), (TreeSize{3 * 4096 + 2 * 4096, 7}));
    ASSERT_TRUE(copy());
}

TEST_F(TreeCopyTest, MakesNoHoles) {
    from_.file("/sparse", "");
    fs::resize_file(from_.on_host("/sparse"), std::uintmax_t{8} << 20);
    ASSERT_TRUE(copy());
    const auto after = status_of(to_.on_host("/sparse"));
    EXPECT_EQ(after.st_size, 8 << 20);
    EXPECT_GE(after.st_blocks, (8 << 20) / 512);
}

TEST_F(TreeCopyTest, FollowsNoLink) {
    const TemporaryRoot outside;
    outside.file("/secret", "s");
    from_.file("/grub/menu.lst", "title");
    fs::create_directory_symlink(outside.on_host("/"), to_.on_host("/grub"));
    const auto refused = copy();
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(core::Errc::conflict));
    EXPECT_FALSE(outside.has("/menu.lst"));

    const TemporaryRoot other;
    other.file("/secret", "changed");
    fs::create_symlink(outside.on_host("/secret"), to_.on_host("/secret"));
    ASSERT_TRUE(copy_tree(directory_of(other), directory_of(to_)));
    EXPECT_EQ(outside.text_of("/secret"), "s");
    EXPECT_EQ(to_.text_of("/secret"), "changed");
}

TEST_F(TreeCopyTest, RefusesADirectoryInTheWay) {
    from_.file("/name", "file");
    to_.directory("/name");
    EXPECT_TRUE(copy().error().is(core::Errc::conflict));
}

TEST_F(TreeCopyTest, RefusesSpecialFilesAndDeepTrees) {
    ASSERT_EQ(::mkfifo(from_.on_host("/fifo").c_str(), 0600), 0);
    EXPECT_EQ(measure_tree(directory_of(from_)).error().id, "tree-not-copyable");
    EXPECT_EQ(copy().error().id, "tree-not-copyable");
    fs::remove(from_.on_host("/fifo"));
    std::string deep;
    for (std::size_t i = 0; i <= kMaxTreeDepth; ++i) deep += "/d";
    from_.directory(deep);
    EXPECT_EQ(measure_tree(directory_of(from_)).error().id, "tree-not-copyable");
}

}  // namespace
}  // namespace amilift::image
