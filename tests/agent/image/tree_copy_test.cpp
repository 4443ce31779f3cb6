// SPDX-License-Identifier: Apache-2.0
#include "image/tree_copy.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

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
        return copy_tree(directory_of(from_), directory_of(to_), whole_);
    }
    const TemporaryRoot from_;
    const TemporaryRoot to_;
    FilesWithoutHoles whole_;
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
    EXPECT_EQ(measure_tree(directory_of(from_), {}).value(), (TreeSize{3 * 4096 + 2 * 4096, 7}));
    ASSERT_TRUE(copy());
}

TEST_F(TreeCopyTest, KeepsHolesButThoseOfTheFilesThatALoaderReads) {
    constexpr off_t kSize = off_t{8} << 20;
    for (const auto* path : {"/sparse", "/grub/kernel"}) {
        from_.file(path, "begin");
        const core::Fd fd(::open(from_.on_host(path).c_str(), O_WRONLY | O_CLOEXEC));
        ASSERT_EQ(::pwrite(fd.get(), "middle", 6, off_t{5} << 20), 6);
        ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);
    }
    if (status_of(from_.on_host("/sparse")).st_blocks * 512 >= kSize) {
        GTEST_SKIP() << "the filesystem of temporary files has no holes";
    }
    whole_ = {"grub/kernel"};
    ASSERT_TRUE(copy());
    for (const auto* path : {"/sparse", "/grub/kernel"}) {
        EXPECT_TRUE(to_.text_of(path) == from_.text_of(path)) << path;
    }
    const auto sparse = status_of(to_.on_host("/sparse"));
    EXPECT_EQ(sparse.st_size, kSize);
    EXPECT_LT(sparse.st_blocks * 512, off_t{1} << 20);
    EXPECT_GE(status_of(to_.on_host("/grub/kernel")).st_blocks * 512, kSize);
    const auto size = measure_tree(directory_of(from_), whole_);
    ASSERT_TRUE(size);
    EXPECT_GE(size->bytes, static_cast<std::uint64_t>(kSize));
    EXPECT_LT(size->bytes, static_cast<std::uint64_t>(kSize + (off_t{1} << 20)));
}

TEST_F(TreeCopyTest, KeepsAccessControlLists) {
    from_.file("/secret", "s");
    // acl(5) as posix_acl_xattr.h of Linux has it: user::rw-, user:1234:r--, group::---, mask::r--,
    // other::---.
    std::string acl("\x02\x00\x00\x00", 4);
    const auto add = [&acl](char tag, char rights, std::string_view id) {
        acl += tag;
        acl += '\0';
        acl += rights;
        acl += '\0';
        acl += id;
    };
    const std::string none(4, '\xff');
    add('\x01', '\x06', none);
    add('\x02', '\x04', std::string_view("\xd2\x04\x00\x00", 4));
    add('\x04', '\x00', none);
    add('\x10', '\x04', none);
    add('\x20', '\x00', none);
    constexpr const char* kName = "system.posix_acl_access";
    if (::setxattr(from_.on_host("/secret").c_str(), kName, acl.data(), acl.size(), 0) != 0) {
        GTEST_SKIP() << "the filesystem of temporary files has no access control lists";
    }
    ASSERT_TRUE(copy());
    std::string copied(acl.size() + 1, '\0');
    const auto size =
        ::getxattr(to_.on_host("/secret").c_str(), kName, copied.data(), copied.size());
    ASSERT_EQ(size, static_cast<ssize_t>(acl.size()));
    copied.resize(acl.size());
    EXPECT_EQ(copied, acl);
}

TEST_F(TreeCopyTest, FindsTheFirstFile) {
    from_.directory("/efi/empty");
    from_.directory("/lost+found");
    from_.file("/lost+found/x", "");
    EXPECT_EQ(first_file(directory_of(from_)).value(), std::nullopt);
    from_.link("/efi/menu.lst", "elsewhere");
    EXPECT_EQ(first_file(directory_of(from_)).value(), "efi/menu.lst");
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
    ASSERT_TRUE(copy_tree(directory_of(other), directory_of(to_), {}));
    EXPECT_EQ(outside.text_of("/secret"), "s");
    EXPECT_EQ(to_.text_of("/secret"), "changed");
}

TEST_F(TreeCopyTest, RefusesADirectoryInTheWayUnlessItIsEmpty) {
    from_.file("/name", "file");
    to_.directory("/name/below");
    EXPECT_TRUE(copy().error().is(core::Errc::conflict));
    fs::remove(to_.on_host("/name/below"));
    ASSERT_TRUE(copy());
    EXPECT_EQ(to_.text_of("/name"), "file");
}

TEST_F(TreeCopyTest, RefusesSpecialFilesAndDeepTrees) {
    ASSERT_EQ(::mkfifo(from_.on_host("/fifo").c_str(), 0600), 0);
    EXPECT_EQ(measure_tree(directory_of(from_), {}).error().id, "tree-not-copyable");
    EXPECT_EQ(copy().error().id, "tree-not-copyable");
    fs::remove(from_.on_host("/fifo"));
    std::string deep;
    for (std::size_t i = 0; i <= kMaxTreeDepth; ++i) deep += "/d";
    from_.directory(deep);
    EXPECT_EQ(measure_tree(directory_of(from_), {}).error().id, "tree-not-copyable");
}

}  // namespace
}  // namespace amilift::image
