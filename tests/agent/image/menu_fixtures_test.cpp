// SPDX-License-Identifier: Apache-2.0
// Menus of the field under the numbers that the project gives them: what the boot loader would do
// with each, the bytes that the edit makes of it, and that a second edit makes nothing more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kConsoles = "console=tty0 console=ttyS0,115200n8";

MenuEdit usual_edit() {
    MenuEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = "LABEL=/";
    edit.old_root_devices = {"/dev/sda1", "/dev/xvda1"};
    return edit;
}

class MenuFixture : public ::testing::Test {
  protected:
    void kernel(std::string_view path) const { image.file(path, bz_image("3.14.1")); }
    void menu(std::string_view text) const { image.file("/boot/grub/menu.lst", text); }
    [[nodiscard]] ImageFacts inspect() const { return inspect_image(image.open()).value(); }
    /// The id of the refusal, or nothing.
    [[nodiscard]] std::string refusal() const {
        const auto facts = inspect();
        const auto* found = facts.first_refusal();
        return found == nullptr ? "" : found->id;
    }

    /// The edited text; what it says of the changes and of a second edit is checked.
    static std::string edited(const std::string& text) {
        const auto once = edit_menu(text, usual_edit());
        EXPECT_EQ(once.changes.empty(), once.text == text);
        const auto again = edit_menu(once.text, usual_edit());
        EXPECT_EQ(again.text, once.text);
        EXPECT_TRUE(again.changes.empty());
        return once.text;
    }

    TemporaryRoot image;
};

TEST_F(MenuFixture, F01_PlainAmazon) {
    const std::string text =
        "title A\nroot (hd0)\nkernel /boot/vmlinuz-3.14.1.amzn1 root=LABEL=/ console=hvc0\n"
        "initrd /boot/initramfs-3.14.1.amzn1.img\n";
    EXPECT_EQ(edited(text),
              "title A\nroot (hd0,0)\nkernel /boot/vmlinuz-3.14.1.amzn1 root=LABEL=/ " +
                  std::string(kConsoles) + "\ninitrd /boot/initramfs-3.14.1.amzn1.img\n");
    menu(text);
    kernel("/boot/vmlinuz-3.14.1.amzn1");
    image.file("/boot/initramfs-3.14.1.amzn1.img", "x");
    const auto facts = inspect();
    ASSERT_EQ(facts.boot_entry, 0U);
    EXPECT_EQ(facts.boot_entries[0].where, "/boot/grub/menu.lst:1");
    EXPECT_EQ(facts.boot_entries[0].kernel, "/boot/vmlinuz-3.14.1.amzn1");
    EXPECT_EQ(facts.boot_entries[0].arguments, "root=LABEL=/ console=hvc0");
}

TEST_F(MenuFixture, F02_TwoDisksOnALine) {
    EXPECT_EQ(edited("title two\nkernel (hd0)/boot/vmlinuz-1 root=LABEL=/ console=hvc0 "
                     "splash=(hd0)/boot/s.xpm.gz\n"),
              "title two\nkernel (hd0,0)/boot/vmlinuz-1 root=LABEL=/ " + std::string(kConsoles) +
                  " splash=(hd0,0)/boot/s.xpm.gz\n");
}

TEST_F(MenuFixture, F03_AlreadyConverted) {
    const std::string text = "title c\nroot (hd0,0)\nkernel /boot/v ro root=LABEL=/ " +
                             std::string(kConsoles) + "\ninitrd /boot/i\n";
    EXPECT_EQ(edited(text), text);
}

TEST_F(MenuFixture, F04_BlanksCaseCarriageReturnsAndMark) {
    const std::string mark = "\xef\xbb\xbf";
    const std::string rest =
        "title dos\r\n\troot\t( hd0 )\r\n\tkernel\t(HD0)/boot/v\tconsole=hvc0\r\n";
    EXPECT_EQ(edited(mark + "default=0\r\n" + rest),
              mark + "default=0\r\ntitle dos\r\n\troot\t(hd0,0)\r\n\tkernel\t(hd0,0)/boot/v\t" +
                  std::string(kConsoles) + "\r\n");
    // Neither GRUB understands a line with the mark: here it is the title.
    EXPECT_TRUE(parse_menu(mark + rest).entries.empty());
}

TEST_F(MenuFixture, F05_ManyConsoles) {
    EXPECT_EQ(edited("title m\nkernel /boot/v ro console=tty0 console=hvc0 console=xvc0,9600\n"),
              "title m\nkernel /boot/v ro console=tty0 console=ttyS0,115200n8\n");
}

TEST_F(MenuFixture, F06_ConsoleInTheTitle) {
    const std::string text = "title rescue console=hvc0 test\nroot (hd0,0)\nkernel /boot/v " +
                             std::string(kConsoles) + "\n";
    EXPECT_EQ(edited(text), text);
}

TEST_F(MenuFixture, F07_SavedDefaultAndFallback) {
    const std::string text =
        "default saved\nfallback 1 2\n"
        "title a\nroot (hd0)\nkernel /boot/a console=hvc0\nsavedefault\n"
        "title b\nroot (hd0)\nkernel /boot/b console=hvc0\n"
        "title c\nroot (hd0)\nkernel /boot/c console=hvc0\n";
    menu(text);
    kernel("/boot/b");
    kernel("/boot/c");
    const auto facts = inspect();
    EXPECT_TRUE(facts.menu.default_saved);
    EXPECT_EQ(facts.boot_entry, 1U);  // the first is missing: GRUB goes on to its fallback
    EXPECT_FALSE(facts.must_set_default);
    EXPECT_NE(find_finding(facts, "saved-default"), nullptr);
    const auto result = edited(text);
    EXPECT_THAT(result, HasSubstr("default saved\nfallback 1 2\n"));
    EXPECT_THAT(result, HasSubstr("savedefault\n"));
}

TEST_F(MenuFixture, F08_DefaultOutOfRange) {
    menu("default 5\ntitle a\nkernel /boot/a\ntitle b\nkernel /boot/b\n");
    kernel("/boot/a");
    kernel("/boot/b");
    EXPECT_EQ(inspect().boot_entry, 0U);
}

TEST_F(MenuFixture, F09_HiddenMenuAndPassword) {
    const std::string text =
        "default=0\ntimeout=-1\nhiddenmenu\npassword --md5 $1$x\n"
        "title a\nroot (hd0)\nkernel /boot/a ro console=hvc0\n";
    EXPECT_EQ(edited(text),
              "default=0\ntimeout=-1\nhiddenmenu\npassword --md5 $1$x\n"
              "title a\nroot (hd0,0)\nkernel /boot/a ro " +
                  std::string(kConsoles) + "\n");
    menu(text);
    kernel("/boot/a");
    const auto facts = inspect();
    EXPECT_TRUE(facts.menu.has_password);
    EXPECT_EQ(facts.menu.timeout_seconds, 0);
    EXPECT_EQ(facts.boot_entry, 0U);
}

TEST_F(MenuFixture, F10_SeparateBoot) {
    menu("title b\nroot (hd0,0)\nkernel /vmlinuz-2.6.18-1.el5xen ro root=/dev/sda2\n");
    // On one filesystem the file is in /boot, where this menu does not look.
    kernel("/boot/vmlinuz-2.6.18-1.el5xen");
    EXPECT_EQ(refusal(), "kernel-missing");
    kernel("/vmlinuz-2.6.18-1.el5xen");
    EXPECT_EQ(inspect().boot_entry, 0U);
}

TEST_F(MenuFixture, F11_OtherPartition) {
    const std::string text = "title p\nkernel (hd0,1)/boot/vmlinuz-2 root=/dev/sda2\n";
    menu(text);
    kernel("/boot/vmlinuz-2");
    EXPECT_EQ(refusal(), "no-bootable-entry");  // there is no second partition
    EXPECT_EQ(parse_menu(text).entries[0].kernel_device, "(hd0,1)");
    EXPECT_THAT(edited(text), HasSubstr("kernel (hd0,1)/boot/vmlinuz-2 root=/dev/sda2"));
}

TEST_F(MenuFixture, F12_Hypervisor) {
    const std::string text =
        "title x\nroot (hd0,0)\nkernel /xen.gz dom0_mem=256M\n"
        "module /vmlinuz-2.6.18-1.el5xen ro\nmodule /initrd.img\n";
    EXPECT_EQ(edited(text), text);
    menu(text);
    EXPECT_EQ(refusal(), "xen-only-kernel");
    EXPECT_NE(find_finding(inspect(), "hypervisor-entry"), nullptr);
}

constexpr std::string_view kSmallMenu = "title a\nkernel /boot/v root=LABEL=/\ninitrd /boot/i\n";

class LinkedMenu : public MenuFixture {
  protected:
    LinkedMenu() {
        kernel("/boot/v");
        image.file("/boot/i", "x");
    }
};

TEST_F(LinkedMenu, F17_MenuIsARelativeLink) {
    image.file("/boot/grub/grub.conf", kSmallMenu);
    image.link("/boot/grub/menu.lst", "./grub.conf");
    EXPECT_EQ(inspect().menu_path, "/boot/grub/grub.conf");
    EXPECT_EQ(refusal(), "");
}

TEST_F(LinkedMenu, F17_MenuIsAnAbsoluteLink) {
    image.file("/boot/grub/grub.conf", kSmallMenu);
    image.link("/boot/grub/menu.lst", "/boot/grub/grub.conf");
    EXPECT_EQ(inspect().menu_path, "/boot/grub/grub.conf");
}

TEST_F(LinkedMenu, F17_MenuIsADanglingLink) {
    image.link("/boot/grub/menu.lst", "grub.conf");
    EXPECT_EQ(refusal(), "no-menu");
    EXPECT_NE(find_finding(inspect(), "dangling-menu-link"), nullptr);
}

TEST_F(LinkedMenu, F17_MenuIsALinkToSomethingElse) {
    image.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    for (const std::string_view text : {"/etc/passwd", "../../../../etc/passwd"}) {
        std::filesystem::remove(image.on_host("/boot/grub/menu.lst"));
        image.link("/boot/grub/menu.lst", text);
        EXPECT_EQ(refusal(), "link-out-of-image") << text;
    }
}

TEST_F(LinkedMenu, F18_BothMenusDiffer) {
    const std::string second = "title b\nkernel /boot/w root=LABEL=/\n";
    kernel("/boot/w");
    menu("default=0\n" + std::string(kSmallMenu) + second);
    image.file("/boot/grub/grub.conf", "default=1\n" + std::string(kSmallMenu) + second);
    const auto facts = inspect();
    EXPECT_EQ(facts.menu_path, "/boot/grub/menu.lst");
    EXPECT_EQ(facts.boot_entry, 0U);
    ASSERT_NE(find_finding(facts, "menus-differ"), nullptr);
    EXPECT_EQ(find_finding(facts, "menus-differ")->where, "/boot/grub/grub.conf");
}

TEST_F(LinkedMenu, F19_MenuInGrubOnly) {
    image.link("/boot/boot", ".");
    image.file("/grub/menu.lst", kSmallMenu);
    const auto facts = inspect();
    EXPECT_EQ(facts.menu_path, "/grub/menu.lst");
    EXPECT_EQ(facts.boot_entry, 0U);
    image.file("/grub/menu.lst", "title a\nkernel /boot/boot/boot/v root=LABEL=/\n");
    EXPECT_EQ(inspect().boot_entry, 0U);  // through the link to itself
}

TEST_F(MenuFixture, F20_QuotedAndEscapedArguments) {
    EXPECT_EQ(edited("title q\nkernel /boot/v root=LABEL=\"my root\" init=\"/sbin/init -x\" "
                     "y=\\x2f console=hvc0\ninitrd /boot/i\n"),
              "title q\nkernel /boot/v root=LABEL=\"my root\" init=\"/sbin/init -x\" y=\\x2f " +
                  std::string(kConsoles) + "\ninitrd /boot/i\n");
}

TEST_F(MenuFixture, F21_ContinuationLongLineAndNoFinalNewline) {
    // GRUB 2 does not join lines, so the edit does.
    EXPECT_EQ(edited("title c\nkernel /boot/v ro \\\nconsole=hvc0\ninitrd /boot/i"),
              "title c\nkernel /boot/v ro  " + std::string(kConsoles) + "\ninitrd /boot/i");
    const std::string padding(10000, 'x');
    EXPECT_EQ(edited("title l\nkernel /boot/v pad=" + padding + " console=hvc0"),
              "title l\nkernel /boot/v pad=" + padding + " " + std::string(kConsoles));
}

TEST_F(MenuFixture, F22_OtherCommands) {
    const std::string text =
        "title next\nconfigfile (hd0,1)/boot/grub/other.lst\n"
        "title chain\nmap (hd0) (hd1)\nrootnoverify (hd0)\nchainloader +1\n";
    EXPECT_THAT(edited(text), HasSubstr("map (hd0) (hd1)\n"));  // means the disk itself
    menu(text);
    EXPECT_EQ(refusal(), "no-bootable-entry");
}

TEST_F(MenuFixture, F23_UuidAndFind) {
    const std::string text = "title u\nuuid 1111-2222\nkernel /boot/v " + std::string(kConsoles) +
                             "\ntitle f\nfind --set-root /boot/v\nkernel /boot/v " +
                             std::string(kConsoles) + "\n";
    EXPECT_EQ(edited(text), text);
    menu(text);
    kernel("/boot/v");
    EXPECT_EQ(inspect().boot_entry, 0U);
}

TEST_F(MenuFixture, F24_KernelIsALinkToNothing) {
    menu("title l\nkernel /vmlinuz root=LABEL=/\n");
    image.link("/vmlinuz", "boot/vmlinuz-3.2.0-23-virtual");
    EXPECT_EQ(refusal(), "kernel-missing");
    kernel("/boot/vmlinuz-3.2.0-23-virtual");
    EXPECT_EQ(inspect().boot_entry, 0U);
}

}  // namespace
}  // namespace amilift::image
