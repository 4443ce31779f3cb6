// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "modules/bare_copy.hpp"
#include "modules/pv_console.hpp"
#include "modules/pv_fstab.hpp"
#include "modules/pv_grub.hpp"
#include "tests/agent/image/temporary_root.hpp"

namespace amilift::modules {
namespace {

image::FstabEdit edit() {
    image::FstabEdit edit;
    edit.root_devices = {"/dev/sda2"};
    edit.root_spec = "UUID=1-2";
    edit.root_uuid = "1-2";
    return edit;
}

TEST(PvFstab, LeavesOutTheOtherPartitions) {
    constexpr std::string_view kText =
        "# disk\n/dev/sda2 / ext3 defaults 1 1\nLABEL=/boot /boot ext3 defaults 1 2\n"
        "UUID=ab-cd /boot/efi vfat defaults 0 0\n/dev/sda3 swap swap defaults 0 0\n"
        "/swapfile none swap sw 0 0\nUUID=other-disk none swap sw 0 0\n"
        "tmpfs /dev/shm tmpfs defaults 0 0\n";
    const LeftOut left_out{{"/dev/sda3", "UUID=ab-cd"}};
    const auto result = edit_pv_fstab(kText, edit(), left_out);
    EXPECT_EQ(result.text,
              "# disk\nUUID=1-2 / ext3 defaults 1 1\n#LABEL=/boot /boot ext3 defaults 1 2\n"
              "#UUID=ab-cd /boot/efi vfat defaults 0 0\n#/dev/sda3 swap swap defaults 0 0\n"
              "/swapfile none swap sw 0 0\nUUID=other-disk none swap sw 0 0\n"
              "tmpfs /dev/shm tmpfs defaults 0 0\n");
    EXPECT_EQ(result.changes.size(), 4U);
    EXPECT_TRUE(std::ranges::is_sorted(result.changes, {}, &image::TextChange::line));
    EXPECT_TRUE(edit_pv_fstab(result.text, edit(), left_out).changes.empty());
}

TEST(PvConsole, AddsALogin) {
    constexpr std::string_view kText =
        "id:3:initdefault:\n1:2345:respawn:/sbin/mingetty tty1\n#xc0:2345:respawn:x hvc0\n";
    const auto result = add_inittab_login(kText, "hvc0", "/sbin/agetty");
    EXPECT_EQ(result.text, std::string(kText) + "xc0:2345:respawn:/sbin/agetty hvc0 38400\n");
    EXPECT_TRUE(add_inittab_login(result.text, "hvc0", "/sbin/agetty").changes.empty());
    EXPECT_EQ(add_inittab_login("a:2:respawn:x", "xvc0", "/sbin/getty").text,
              "a:2:respawn:x\nxc0:2345:respawn:/sbin/getty 38400 xvc0\n");
}

TEST(PvConsole, LeavesUpstartsInittabAlone) {
    EXPECT_TRUE(add_inittab_login("id:3:initdefault:\n", "hvc0", "/sbin/agetty").changes.empty());
    EXPECT_TRUE(add_inittab_login("", "hvc0", "/sbin/agetty").changes.empty());
}

TEST(PvConsole, AddsAJobOfUbuntusUpstart) {
    const image::TemporaryRoot image;
    image.file("/sbin/getty", "x");
    image.file("/etc/init/tty1.conf", "exec /sbin/getty tty1\n");
    image.file("/etc/securetty", "hvc0\n");
    const auto edits = pv_console_edits(image.open(), "hvc0").value();
    ASSERT_EQ(edits.size(), 1U);
    EXPECT_EQ(edits[0].path, "/etc/init/hvc0.conf");
    image.file("/etc/init/serial.conf", "of RHEL 6");
    EXPECT_TRUE(pv_console_edits(image.open(), "hvc0").value().empty());
}

TEST(BareCopy, TakesThePartOfAPartition) {
    const std::vector<dev::Extent> all{{0, 10}, {90, 20}, {120, 5}, {195, 10}, {300, 1}};
    const auto part = extents_within(all, 100, 100);
    ASSERT_EQ(part.size(), 3U);
    EXPECT_EQ(part[0].offset, 0U);
    EXPECT_EQ(part[0].length, 10U);
    EXPECT_EQ(part[1].offset, 20U);
    EXPECT_EQ(part[2].offset, 95U);
    EXPECT_EQ(part[2].length, 5U);
}

TEST(PvGrub, ReadsOldFilesystemsOnly) {
    dev::FilesystemInfo filesystem;
    filesystem.type = dev::Filesystem::ext4;
    filesystem.feature_incompat = 0x0242;
    EXPECT_TRUE(require_pv_grub_reads(filesystem));
    for (const std::uint32_t bit : {0x0010U, 0x0080U, 0x8000U, 0x10000U, 0x80000000U}) {
        filesystem.feature_incompat = 0x0242 | bit;
        const auto read = require_pv_grub_reads(filesystem);
        ASSERT_FALSE(read);
        EXPECT_EQ(read.error().id, "pv-grub-cannot-read");
    }
    filesystem.feature_incompat = 0;
    filesystem.type = dev::Filesystem::xfs;
    EXPECT_FALSE(require_pv_grub_reads(filesystem));
}

}  // namespace
}  // namespace amilift::modules
