// SPDX-License-Identifier: Apache-2.0
#include "image/boot_disk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/boot_menu.hpp"
#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;

/// openSUSE's: the root is the default subvolume, /var another one, /boot/efi another partition.
BootDisk suse() {
    BootDisk disk;
    disk.is_gpt = true;
    disk.volumes = {{.partition = 1, .mount_point = "/boot/efi", .uuid = "AAAA-BBBB", .label = {}},
                    {.partition = 2,
                     .mount_point = "/",
                     .uuid = "11",
                     .label = {},
                     .subvolumes = {{"@/.snapshots/1/snapshot", "/"},
                                    {"@/var", "/var"},
                                    {"@/boot/grub2/i386-pc", "/boot/grub2/i386-pc"}},
                     .default_subvolume = "@/.snapshots/1/snapshot"}};
    disk.code = BootCode::grub2;
    return disk;
}

/// Ubuntu's: nothing but the kernel's command line chooses the root.
BootDisk ubuntu() {
    BootDisk disk;
    disk.volumes = {{.partition = 1,
                     .mount_point = "/",
                     .uuid = "11",
                     .label = {},
                     .subvolumes = {{"@", "/"}, {"@home", "/home"}}}};
    disk.code = BootCode::grub2;
    return disk;
}

TEST(BootDisk, NamesFilesOfSubvolumesFromTheTopLevel) {
    const auto disk = ubuntu();
    const auto& volume = disk.volumes[0];
    EXPECT_EQ(tree_path(volume, "/@/boot/vmlinuz"), "/boot/vmlinuz");
    EXPECT_EQ(tree_path(volume, "/@"), "/");
    EXPECT_EQ(tree_path(volume, "/@home/user"), "/home/user");
    EXPECT_EQ(tree_path(volume, "/boot/vmlinuz"), std::nullopt);
    EXPECT_EQ(tree_path(volume, "/@homework/x"), std::nullopt);
    EXPECT_EQ(tree_path(volume, "boot"), std::nullopt);
    EXPECT_EQ(path_on_volume(volume, "/boot/vmlinuz"), "/@/boot/vmlinuz");
    EXPECT_EQ(path_on_volume(volume, "/home"), "/@home");
    EXPECT_EQ(path_on_volume(volume, "/homework"), "/@/homework");
}

TEST(BootDisk, NamesFilesFromTheDefaultSubvolumeWhereSuseDoes) {
    const auto disk = suse();
    const auto& volume = disk.volumes[1];
    const auto view = SubvolumeView::default_subvolume;
    EXPECT_EQ(tree_path(volume, "/boot/vmlinuz", view), "/boot/vmlinuz");
    EXPECT_EQ(tree_path(volume, "/@/.snapshots/1/snapshot/boot/vmlinuz"), "/boot/vmlinuz");
    EXPECT_EQ(tree_path(volume, "/@/var/x"), "/var/x");
    EXPECT_EQ(path_on_volume(volume, "/boot/vmlinuz", view), "/boot/vmlinuz");
    EXPECT_EQ(path_on_volume(volume, "/boot/vmlinuz"), "/@/.snapshots/1/snapshot/boot/vmlinuz");
    EXPECT_EQ(path_on_volume(volume, "/boot/grub2/i386-pc/x"), "/@/boot/grub2/i386-pc/x");
    EXPECT_EQ(disk.holder_of("/boot/efi/EFI"), disk.volumes.data());
    EXPECT_EQ(disk.holder_of("/boot/grub2/i386-pc/x"), &volume);
}

TEST(BootDisk, TopLevelOfABtrfsIsLikeAnyFilesystem) {
    BootVolume volume{.partition = 0,
                      .mount_point = "/",
                      .uuid = {},
                      .label = {},
                      .subvolumes = {{"", "/"}, {"data", "/srv"}}};
    EXPECT_EQ(tree_path(volume, "/boot/vmlinuz"), "/boot/vmlinuz");
    EXPECT_EQ(tree_path(volume, "/data/x"), "/srv/x");
    EXPECT_EQ(path_on_volume(volume, "/boot/vmlinuz"), "/boot/vmlinuz");
    EXPECT_EQ(path_on_volume(volume, "/srv"), "/data");
}

class BtrfsMenu : public testing::Test {
  protected:
    BtrfsMenu() { add_kernels(image_); }
    BootMenu simulate(std::string_view text, const BootDisk& disk) {
        image_.file("/boot/grub2/grub.cfg", text);
        auto menu = simulate_grub2(image_.open(), disk, "/boot/grub2/grub.cfg");
        EXPECT_TRUE(menu.has_value()) << menu.error().message();
        return menu.value_or(BootMenu{});
    }
    TemporaryRoot image_;
};

TEST_F(BtrfsMenu, OfUbuntuNamesTheSubvolume) {
    image_.file("/boot/grub2/custom.cfg", "menuentry more { linux /@/boot/vmlinuz-1 }\n");
    const auto menu = simulate(
        "search --fs-uuid --set=root 11\n"
        "menuentry a { linux /@/boot/vmlinuz-2 rootflags=subvol=@\n initrd /@/boot/initrd-2 }\n"
        "menuentry b { linux /boot/vmlinuz-2 }\n"
        "if [ -f $prefix/custom.cfg ]; then source $prefix/custom.cfg; fi\n",
        ubuntu());
    ASSERT_EQ(menu.entries.size(), 3U);
    EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-2");
    EXPECT_THAT(menu.entries[0].initrds, ElementsAre("/boot/initrd-2"));
    EXPECT_EQ(menu.entries[1].other_disk, "(hd0,msdos1)");
    EXPECT_EQ(menu.entries[2].kernel, "/boot/vmlinuz-1");
}

TEST_F(BtrfsMenu, OfSuseBeginsAtTheDefaultSubvolume) {
    std::string environment = "# GRUB Environment Block\nsaved_entry=b\n";
    environment.resize(1024, '#');
    image_.file("/boot/grub2/grubenv", environment);
    const auto menu = simulate(
        "set btrfs_relative_path=\"yes\"\nexport btrfs_relative_path\n"
        "if [ -f ${config_directory}/grubenv ]; then load_env -f ${config_directory}/grubenv; fi\n"
        "set default=\"${saved_entry}\"\n"
        "btrfs-mount-subvol ($root) /boot/grub2/i386-pc /@/boot/grub2/i386-pc\n"
        "menuentry a { linux /boot/vmlinuz-2 }\n"
        "menuentry b { linux /boot/vmlinuz-1 splash=silent\n initrd /boot/initrd-1 }\n"
        "menuentry snapshot { set btrfs_subvol=x\n linux /boot/vmlinuz-2 }\n",
        suse());
    ASSERT_EQ(menu.entries.size(), 3U);
    EXPECT_EQ(menu.entries[1].kernel, "/boot/vmlinuz-1");
    EXPECT_THAT(menu.order, ElementsAre(1U));
}

TEST_F(BtrfsMenu, OfExtlinuxStaysInItsSubvolume) {
    image_.file("/boot/extlinux/extlinux.conf",
                "label a\n linux /boot/vmlinuz-2\nlabel b\n linux ../vmlinuz-1\n");
    const auto menu = simulate_extlinux(image_.open(), ubuntu(), "/boot/extlinux/extlinux.conf");
    ASSERT_TRUE(menu.has_value());
    ASSERT_EQ(menu->entries.size(), 2U);
    EXPECT_EQ(menu->entries[0].kernel, "/boot/vmlinuz-2");
}

TEST_F(BtrfsMenu, OfGrubLegacyIsReadAsGrub2WillReadIt) {
    image_.file("/boot/grub/menu.lst",
                "default 0\ntitle bad\nroot (hd0)\nkernel /boot/vmlinuz-2\ninitrd /boot/initrd-2\n"
                "title good\nroot (hd0)\nkernel /@/boot/vmlinuz-1\ninitrd /@/boot/initrd-1\n");
    BootDisk disk;
    disk.volumes = {{.partition = 0,
                     .mount_point = "/",
                     .uuid = {},
                     .label = {},
                     .subvolumes = {{"@", "/"}},
                     .default_subvolume = "@"}};
    const auto facts = inspect_image(image_.open(), disk);
    ASSERT_TRUE(facts.has_value());
    EXPECT_EQ(facts->boot_entries.at(1).kernel, "/boot/vmlinuz-1");
    EXPECT_EQ(facts->boot_entry, 1U);
    EXPECT_FALSE(facts->boot_entries[0].other_disk.empty());
}

}  // namespace
}  // namespace amilift::image
