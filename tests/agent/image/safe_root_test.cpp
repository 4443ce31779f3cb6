// SPDX-License-Identifier: Apache-2.0
#include "image/safe_root.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using testing::ElementsAre;
using testing::HasSubstr;

class SafeRootTest : public testing::Test {
  protected:
    TemporaryRoot image_;
    SafeRoot root_ = image_.open();
};

/// Files of other owners can be made by root only.
#define REQUIRE_ROOT() \
    if (::geteuid() != 0) GTEST_SKIP() << "owners of an image can be set by root only"

TEST_F(SafeRootTest, ReadsARegularFile) {
    image_.file("/etc/hostname", "ip-10-0-0-1\n");
    EXPECT_EQ(root_.read("/etc/hostname", 100).value(), "ip-10-0-0-1\n");
    EXPECT_EQ(root_.read_prefix("/etc/hostname", 2).value(), "ip");
    EXPECT_EQ(root_.read_prefix("/etc/hostname", 100).value(), "ip-10-0-0-1\n");
    const auto status = root_.status("/etc/hostname").value();
    EXPECT_EQ(status.kind, FileKind::regular);
    EXPECT_EQ(status.size_bytes, 12U);
}

TEST_F(SafeRootTest, SaysWhatIsMissing) {
    EXPECT_EQ(root_.status("/nothing/here").value().kind, FileKind::missing);
    const auto text = root_.read("/nothing", 10);
    ASSERT_FALSE(text.has_value());
    EXPECT_EQ(text.error().code, Errc::not_found);
    EXPECT_THAT(text.error().what, HasSubstr("'/nothing'"));
}

TEST_F(SafeRootTest, RefusesRelativePathsAndNul) {
    EXPECT_EQ(root_.read("etc/passwd", 10).error().code, Errc::invalid_input);
    EXPECT_EQ(root_.read("", 10).error().code, Errc::invalid_input);
    EXPECT_EQ(root_.read(std::string_view("/a\0b", 4), 10).error().code, Errc::invalid_input);
    EXPECT_EQ(root_.read("/" + std::string(5000, 'x'), 10).error().code, Errc::corrupt);
}

TEST_F(SafeRootTest, FollowsLinksInsideTheImage) {
    image_.file("/boot/grub/grub.conf", "inside");
    image_.link("/boot/grub/menu.lst", "./grub.conf");
    image_.link("/etc/grub.conf", "/boot/grub/grub.conf");
    image_.link("/boot/boot", ".");
    EXPECT_EQ(root_.resolve("/boot/grub/menu.lst").value(), "/boot/grub/grub.conf");
    EXPECT_EQ(root_.resolve("/etc/grub.conf").value(), "/boot/grub/grub.conf");
    EXPECT_EQ(root_.resolve("/boot/boot/boot/grub/menu.lst").value(), "/boot/grub/grub.conf");
    EXPECT_EQ(root_.read("/etc/grub.conf", 100).value(), "inside");
    EXPECT_EQ(root_.read_link("/etc/grub.conf").value(), "/boot/grub/grub.conf");
    EXPECT_EQ(root_.link_status("/etc/grub.conf").value().kind, FileKind::symlink);
    EXPECT_EQ(root_.read_link("/boot/grub/grub.conf").error().code, Errc::corrupt);
}

TEST_F(SafeRootTest, NeverLeavesTheImage) {
    image_.link("/etc/passwd", "/etc/passwd");
    image_.link("/up", "../../../../../../etc/passwd");
    image_.link("/proc-link", "/proc/self/root/etc/passwd");
    image_.link("/boot", "/etc");
    EXPECT_FALSE(root_.read("/etc/passwd", 1 << 20).has_value());
    EXPECT_FALSE(root_.read("/up", 1 << 20).has_value());
    EXPECT_FALSE(root_.read("/proc-link", 1 << 20).has_value());
    EXPECT_FALSE(root_.read("/../../../../etc/passwd", 1 << 20).has_value());
    EXPECT_FALSE(root_.read("/boot/passwd", 1 << 20).has_value());
}

TEST_F(SafeRootTest, TellsALinkOutOfTheImage) {
    image_.link("/boot/grub/menu.lst", "../../../etc/passwd");
    const auto real = root_.resolve("/boot/grub/menu.lst");
    ASSERT_FALSE(real.has_value());
    EXPECT_EQ(real.error().code, Errc::refused);
    EXPECT_EQ(real.error().id, "link-out-of-image");
    EXPECT_THAT(real.error().what, HasSubstr("'/boot/grub/menu.lst'"));
}

TEST_F(SafeRootTest, TellsADanglingLink) {
    image_.link("/boot/grub/menu.lst", "grub.conf");
    const auto real = root_.resolve("/boot/grub/menu.lst");
    ASSERT_FALSE(real.has_value());
    EXPECT_EQ(real.error().code, Errc::not_found);
    EXPECT_THAT(real.error().what, HasSubstr("'/boot/grub/grub.conf' does not exist; the link "
                                             "'/boot/grub/menu.lst' leads to it"));
    EXPECT_EQ(root_.status("/boot/grub/menu.lst").value().kind, FileKind::missing);
    EXPECT_EQ(root_.link_status("/boot/grub/menu.lst").value().kind, FileKind::symlink);
}

TEST_F(SafeRootTest, EndsOnLoops) {
    image_.link("/self", "self");
    image_.link("/a", "b");
    image_.link("/b", "a");
    image_.link("/deep", "deep/deep");
    for (const std::string_view path : {"/self", "/a", "/deep", "/a/x"}) {
        const auto real = root_.resolve(path);
        ASSERT_FALSE(real.has_value()) << path;
        EXPECT_EQ(real.error().sys_errno, ELOOP) << path;
        EXPECT_FALSE(root_.read(path, 10).has_value());
        EXPECT_FALSE(root_.status(path).has_value());
    }
}

TEST_F(SafeRootTest, EndsOnLinksThatGrow) {
    const std::string many(4000, 'x');
    std::string text = "/";
    for (int i = 0; i < 1000; ++i) text += "l/";
    image_.link("/l", text);
    EXPECT_FALSE(root_.resolve("/l").has_value());
    EXPECT_FALSE(root_.resolve("/" + many).has_value());
}

TEST_F(SafeRootTest, TellsAFileUsedAsDirectory) {
    image_.file("/boot", "no directory");
    EXPECT_EQ(root_.resolve("/boot/grub").error().sys_errno, ENOTDIR);
    EXPECT_EQ(root_.status("/boot/grub").value().kind, FileKind::missing);
    const auto text = root_.read("/boot/grub", 100);
    EXPECT_TRUE(text.error().is(core::Errc::corrupt));
    EXPECT_EQ(text.error().message(),
              "'/boot/grub' of the image cannot be opened: a file is used as a directory");
    EXPECT_TRUE(root_.list("/boot").error().is(core::Errc::corrupt));
}

TEST_F(SafeRootTest, ReadsRegularFilesOnly) {
    ASSERT_EQ(::mkfifo(image_.on_host("/fifo").c_str(), 0644), 0);
    image_.directory("/dir");
    image_.link("/to-fifo", "fifo");
    for (const std::string_view path : {"/fifo", "/to-fifo", "/dir"}) {
        const auto text = root_.read(path, 10);
        ASSERT_FALSE(text.has_value()) << path;
        EXPECT_EQ(text.error().code, Errc::corrupt) << path;
        EXPECT_THAT(text.error().what, HasSubstr("expected a regular file"));
        EXPECT_FALSE(root_.write(path, "x").has_value());
    }
    EXPECT_THAT(root_.read("/fifo", 10).error().what, HasSubstr("is a FIFO"));
    EXPECT_EQ(root_.status("/fifo").value().kind, FileKind::other);
}

TEST_F(SafeRootTest, NeverOpensDeviceNodes) {
    REQUIRE_ROOT();
    if (::mknod(image_.on_host("/tape").c_str(), S_IFCHR | 0600, makedev(1, 5)) != 0) {
        GTEST_SKIP() << "device nodes cannot be made here";
    }
    EXPECT_THAT(root_.read("/tape", 10).error().what, HasSubstr("is a character device"));
    EXPECT_FALSE(root_.remove("/tape").has_value());
}

TEST_F(SafeRootTest, DoesNotReadWhatIsTooLarge) {
    image_.file("/sparse", "");
    ASSERT_EQ(::truncate(image_.on_host("/sparse").c_str(), off_t{5} << 30), 0);
    const auto text = root_.read("/sparse", 1 << 20);
    ASSERT_FALSE(text.has_value());
    EXPECT_EQ(text.error().code, Errc::corrupt);
    EXPECT_THAT(text.error().what, HasSubstr("has 5368709120 bytes, expected at most 1048576"));
    EXPECT_EQ(root_.read_prefix("/sparse", 100).value().size(), 100U);
}

TEST_F(SafeRootTest, ListsSortedAndBounded) {
    image_.file("/d/b", "");
    image_.file("/d/a", "");
    EXPECT_THAT(root_.list("/d").value(), ElementsAre("a", "b"));
    EXPECT_EQ(root_.list("/d", 1).error().code, Errc::corrupt);
    EXPECT_FALSE(root_.list("/d/a").has_value());
}

int flags_of(const std::string& path) {
    const core::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    return ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0 ? flags : 0;
}

/// Not every filesystem knows them.
bool set_flags(const std::string& path, int flags) {
    const core::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    flags |= flags_of(path);
    return ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags) == 0;
}

TEST_F(SafeRootTest, ReplacesAFileAndKeepsWhatItWas) {
    REQUIRE_ROOT();
    image_.file("/etc/secret", "old");
    const auto host = image_.on_host("/etc/secret");
    ASSERT_EQ(::chown(host.c_str(), 7, 9), 0);
    ASSERT_EQ(::chmod(host.c_str(), 04640), 0);
    const bool has_xattrs = ::setxattr(host.c_str(), "user.note", "kept", 4, 0) == 0;
    const bool has_flags = set_flags(host, FS_NODUMP_FL | FS_NOATIME_FL);
    const timespec times[2] = {{1000, 5}, {2000, 6}};
    ASSERT_EQ(::utimensat(AT_FDCWD, image_.on_host("/etc").c_str(), times, 0), 0);

    ASSERT_TRUE(root_.write("/etc/secret", "new contents").has_value());
    EXPECT_EQ(image_.text_of("/etc/secret"), "new contents");
    struct stat st{};
    ASSERT_EQ(::stat(host.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777U, 04640U);
    EXPECT_EQ(st.st_uid, 7U);
    EXPECT_EQ(st.st_gid, 9U);
    if (has_flags) {
        constexpr int kBoth = FS_NODUMP_FL | FS_NOATIME_FL;
        EXPECT_EQ(flags_of(host) & kBoth, kBoth);
    }
    if (has_xattrs) {
        char note[8] = {};
        EXPECT_EQ(::getxattr(host.c_str(), "user.note", note, sizeof note), 4);
        EXPECT_STREQ(note, "kept");
    }
    ASSERT_EQ(::stat(image_.on_host("/etc").c_str(), &st), 0);
    EXPECT_EQ(st.st_mtim.tv_sec, 2000);
    EXPECT_EQ(st.st_mtim.tv_nsec, 6);
    EXPECT_THAT(root_.list("/etc").value(), ElementsAre("secret"));
}

TEST_F(SafeRootTest, MakesANewFileThatBelongsToRoot) {
    REQUIRE_ROOT();
    image_.directory("/etc");
    ASSERT_TRUE(root_.write("/etc/new", "x", 0600).has_value());
    const auto status = root_.status("/etc/new").value();
    EXPECT_EQ(status.mode, 0600U);
    EXPECT_EQ(status.uid, 0U);
    EXPECT_FALSE(root_.write("/missing/new", "x").has_value());
}

TEST_F(SafeRootTest, WritesThroughALinkAndKeepsIt) {
    REQUIRE_ROOT();
    image_.file("/boot/grub/grub.conf", "old");
    image_.link("/etc/grub.conf", "../boot/grub/grub.conf");
    ASSERT_TRUE(root_.write("/etc/grub.conf", "new").has_value());
    EXPECT_EQ(image_.text_of("/boot/grub/grub.conf"), "new");
    EXPECT_EQ(root_.link_status("/etc/grub.conf").value().kind, FileKind::symlink);
}

TEST_F(SafeRootTest, DoesNotWriteThroughADanglingOrEscapingLink) {
    image_.link("/dangling", "nowhere");
    image_.link("/escape", "../../../../tmp/amilift-must-not-exist");
    EXPECT_EQ(root_.write("/dangling", "x").error().code, Errc::not_found);
    EXPECT_EQ(root_.write("/escape", "x").error().id, "link-out-of-image");
    EXPECT_FALSE(image_.has("/nowhere"));
    EXPECT_FALSE(std::filesystem::exists("/tmp/amilift-must-not-exist"));
}

TEST_F(SafeRootTest, MakesDirectoriesAndSaysWhich) {
    REQUIRE_ROOT();
    image_.directory("/var");
    EXPECT_THAT(root_.make_directories("/var/lib/amilift").value(),
                ElementsAre("/var/lib", "/var/lib/amilift"));
    EXPECT_TRUE(root_.make_directories("/var/lib/amilift").value().empty());
    EXPECT_EQ(root_.status("/var/lib/amilift").value().mode, 0755U);
    image_.file("/file", "");
    EXPECT_FALSE(root_.make_directories("/file/x").has_value());
    EXPECT_FALSE(root_.make_directories("/var/../x").has_value());
}

TEST_F(SafeRootTest, MakesAndRemovesLinks) {
    image_.directory("/etc");
    ASSERT_TRUE(root_.make_link("/etc/l", "/etc/target").has_value());
    EXPECT_EQ(root_.read_link("/etc/l").value(), "/etc/target");
    EXPECT_EQ(root_.make_link("/etc/l", "x").error().code, Errc::already_exists);
    image_.file("/etc/target", "kept");
    ASSERT_TRUE(root_.remove("/etc/l").has_value());
    EXPECT_TRUE(image_.has("/etc/target"));
    EXPECT_FALSE(image_.has("/etc/l"));
    EXPECT_EQ(root_.remove("/etc/l").error().code, Errc::not_found);
    EXPECT_EQ(root_.remove("/etc").error().code, Errc::corrupt);
}

TEST_F(SafeRootTest, GivesSha256Sums) {
    image_.file("/abc", "abc");
    constexpr std::string_view kAbc =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    EXPECT_EQ(sha256_of(root_, "/abc").value(), kAbc);
    // More than one chunk.
    image_.file("/million", std::string(1'000'000, 'a'));
    EXPECT_EQ(sha256_of(root_, "/million").value(),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(SafeRootTest, DuplicatesAndMoves) {
    image_.file("/x", "y");
    auto copy = root_.duplicate().value();
    const SafeRoot moved = std::move(copy);
    EXPECT_EQ(moved.read("/x", 10).value(), "y");
    EXPECT_EQ(root_.read("/x", 10).value(), "y");
}

}  // namespace
}  // namespace amilift::image
