// SPDX-License-Identifier: Apache-2.0
#include "image/grub2_edit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>

#include "edit_stability.hpp"
#include "image/facts.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kBoth = "console=tty0 console=ttyS0,115200n8";
constexpr std::string_view kTimeout = "nvme_core.io_timeout=4294967295";
constexpr std::string_view kUuid = "UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";

ArgumentEdit usual_edit() {
    const WantedArgument timeout{"nvme_core.io_timeout", "4294967295", 4294967295U};
    const WantedArgument names{"net.ifnames", "0"};
    ArgumentEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = kUuid;
    edit.old_root_devices = {"/dev/sda1", "/dev/xvda1", "/dev/xvda"};
    edit.kernels = {{"/boot/vmlinuz-6.1", {timeout, names}},
                    {"/boot/vmlinuz-3.10", {{"nvme.io_timeout", "255", 255U}, names}}};
    edit.later_kernels = {timeout, names};
    return edit;
}

std::string grub_cfg(std::string_view text) {
    return edit_grub_cfg(text, usual_edit()).text;
}
std::string default_grub(std::string_view text) {
    return edit_default_grub(text, usual_edit()).text;
}

const std::string kAdded = std::string(kTimeout) + " net.ifnames=0";

TEST(Grub2Edit, EditsTheLinuxLinesOfGrubCfg) {
    const std::string text =
        "set default=\"0\"\n"
        "if [ x$feature_timeout_style = xy ] ; then\n\tset timeout=5\nfi\n"
        "menuentry 'Debian console=hvc0' --class debian {\n"
        "\tset root='hd0,msdos1'\n"
        "\tsearch --no-floppy --fs-uuid --set=root abc\n"
        "\techo\t'Loading Linux 6.1 ...'\n"
        "\tlinux\t/boot/vmlinuz-6.1 root=/dev/xvda1 ro  console=hvc0 quiet $vt_handoff\n"
        "\tinitrd\t/boot/initrd.img-6.1\n"
        "}\n"
        "menuentry 'old' {\n"
        "\tlinux16 ($root)/vmlinuz-3.10 root=LABEL=/ ro console=ttyS0 # remark\n"
        "}\n"
        "menuentry 'memtest' {\n\tlinux16 /boot/memtest86+.bin console=hvc0\n}\n";
    const auto result = edit_grub_cfg(text, usual_edit());
    EXPECT_EQ(result.text,
              "set default=\"0\"\n"
              "if [ x$feature_timeout_style = xy ] ; then\n\tset timeout=5\nfi\n"
              "menuentry 'Debian console=hvc0' --class debian {\n"
              "\tset root='hd0,msdos1'\n"
              "\tsearch --no-floppy --fs-uuid --set=root abc\n"
              "\techo\t'Loading Linux 6.1 ...'\n"
              "\tlinux\t/boot/vmlinuz-6.1 root=" +
                  std::string(kUuid) + " ro  " + std::string(kBoth) + " quiet $vt_handoff " +
                  kAdded +
                  "\n"
                  "\tinitrd\t/boot/initrd.img-6.1\n"
                  "}\n"
                  "menuentry 'old' {\n"
                  "\tlinux16 ($root)/vmlinuz-3.10 root=LABEL=/ ro console=ttyS0 "
                  "nvme.io_timeout=255 net.ifnames=0 # remark\n"
                  "}\n"
                  "menuentry 'memtest' {\n\tlinux16 /boot/memtest86+.bin console=hvc0\n}\n");
    ASSERT_EQ(result.changes.size(), 2U);
    EXPECT_EQ(result.changes[0].line, 9);
    EXPECT_THAT(result.changes[1].text, HasSubstr("linux16: add 'nvme.io_timeout=255"));
}

TEST(Grub2Edit, KeepsTheDeviceOfAnEntryWithoutInitrd) {
    EXPECT_THAT(grub_cfg("menuentry a {\nlinux /boot/vmlinuz-6.1 root=/dev/xvda1\n}\n"
                         "menuentry b {\nlinux /x root=/dev/sda2\ninitrd /i\n}\n"),
                HasSubstr("linux /boot/vmlinuz-6.1 root=/dev/xvda1 console="));
}

TEST(Grub2Edit, F25_EditsSharedOptionsOnceAndLeavesTheRestOfTheScript) {
    const std::string text =
        "set root='hd0'\n"
        "search --label --set=root cloudimg-rootfs\n"
        "if [ -z \"${kernelopts}\" ]; then\n"
        "  set kernelopts=\"root=LABEL=/ ro console=hvc0 \"\n"
        "fi\n"
        "submenu 'Advanced' {\n"
        "menuentry 'x' {\n"
        "linuxefi /vmlinuz-6.1 $kernelopts\n"
        "initrdefi /initramfs-6.1.img\n"
        "}\n"
        "}\n"
        "insmod blscfg\nblscfg\n";
    std::string wanted = text;
    const std::string value = "root=LABEL=/ ro console=hvc0 ";
    wanted.replace(wanted.find(value), value.size(),
                   "root=LABEL=/ ro " + std::string(kBoth) + " " + kAdded + " ");
    EXPECT_EQ(grub_cfg(text), wanted);
}

TEST(Grub2Edit, JoinsContinuedLinuxLinesOnly) {
    EXPECT_EQ(grub_cfg("echo a \\\n b\nlinux /vmlinuz-3.10 root=LABEL=/ \\\n  console=ttyS0\n"),
              "echo a \\\n b\nlinux /vmlinuz-3.10 root=LABEL=/   console=ttyS0 "
              "nvme.io_timeout=255 net.ifnames=0\n");
}

TEST(Grub2Edit, LeavesACommandWhoseQuotesGoOnInTheNextLine) {
    for (const std::string text :
         {"linux /vmlinuz-3.10 nvme.io_timeout=' #", "linux /vmlinuz-3.10 a=\"b\nc\"\n",
          "set kernelopts=\"root=LABEL=/ 'x\n",
          "linux /vmlinuz-3.10 nvme.io_timeout=' #x nvme.io_timeout=' \n"}) {
        EXPECT_EQ(grub_cfg(text), text);
    }
}

TEST(Grub2Edit, TakesTheVariableOfSharedOptionsForOneOnlyWhereItStandsAlone) {
    for (const std::string_view shared : {"$kernelopts", "${kernelopts}", "\"$kernelopts\""}) {
        const auto text = "linux /vmlinuz-3.10 root=LABEL=/ " + std::string(shared) + "\n";
        EXPECT_EQ(grub_cfg(text), text);
    }
    EXPECT_EQ(grub_cfg("linux /vmlinuz-3.10 nvme.io_timeout=kernelopts\n"),
              "linux /vmlinuz-3.10 nvme.io_timeout=255 " + std::string(kBoth) + " net.ifnames=0\n");
}

TEST(Grub2Edit, F26_AddsAMissingAssignment) {
    EXPECT_EQ(default_grub("GRUB_DEFAULT=0\nGRUB_TIMEOUT=5"),
              "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX=\"" + std::string(kBoth) + " " +
                  kAdded + "\"\n");
}

TEST(Grub2Edit, F26_EditsInsideSingleQuotes) {
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX='ro console=hvc0'\n"),
              "GRUB_CMDLINE_LINUX='ro " + std::string(kBoth) + " " + kAdded + "'\n");
}

TEST(Grub2Edit, F26_EditsTheLastAssignmentThatTakesOverTheFirst) {
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX=\"console=ttyS0\"\n"
                           "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX x\"\n"),
              "GRUB_CMDLINE_LINUX=\"console=ttyS0\"\n"
              "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX x " +
                  kAdded + "\"\n");
}

TEST(Grub2Edit, F26_TakesACommentedLineForNone) {
    EXPECT_EQ(default_grub("#GRUB_CMDLINE_LINUX=\"console=tty0 net.ifnames=0\"\n"),
              "#GRUB_CMDLINE_LINUX=\"console=tty0 net.ifnames=0\"\n"
              "GRUB_CMDLINE_LINUX=\"" +
                  std::string(kBoth) + " " + kAdded + "\"\n");
}

TEST(Grub2Edit, F26_KeepsATrailingComment) {
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX=\"\"  # none\nGRUB_TERMINAL=console\n"),
              "GRUB_CMDLINE_LINUX=\"" + std::string(kBoth) + " " + kAdded +
                  "\"  # none\nGRUB_TERMINAL=console\n");
}

TEST(Grub2Edit, QuotesABareWord) {
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX=console=ttyS0\n"),
              "GRUB_CMDLINE_LINUX=\"console=ttyS0 " + kAdded + "\"\n");
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX=\n"),
              "GRUB_CMDLINE_LINUX=\"" + std::string(kBoth) + " " + kAdded + "\"\n");
}

TEST(Grub2Edit, AppendsToWhatIsTooCleverToEdit) {
    const std::string text =
        "GRUB_CMDLINE_LINUX=\"console=ttyS0 $(cat /etc/args)\"\n"
        "GRUB_CMDLINE_LINUX+=\" x\"\n";
    EXPECT_EQ(default_grub(text),
              text + "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX " + kAdded + "\"\n");
}

TEST(Grub2Edit, ReplacesPvConsolesInEveryAssignment) {
    EXPECT_EQ(default_grub("GRUB_CMDLINE_LINUX=\"" + kAdded +
                           "\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet console=hvc0\"\n"),
              "GRUB_CMDLINE_LINUX=\"" + kAdded + "\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet " +
                  std::string(kBoth) + "\"\n");
}

TEST(Grub2Edit, KeepsTheConsoleOfKernelsAboveAHypervisor) {
    const std::string text = "GRUB_CMDLINE_LINUX=\"console=tty0 " + kAdded +
                             "\"\nGRUB_CMDLINE_LINUX_XEN_REPLACE=\"console=hvc0\"\n";
    EXPECT_EQ(default_grub(text), text);
}

TEST(Grub2Edit, DoesNotAddWhatAnotherFileOfTheSetHas) {
    const std::string text = "GRUB_CMDLINE_LINUX=\"ro\"\n";
    const auto elsewhere = "GRUB_CMDLINE_LINUX_DEFAULT=\"console=tty1 " + kAdded + "\"\n";
    EXPECT_EQ(edit_default_grub(text, usual_edit(), elsewhere).text, text);
    EXPECT_EQ(edit_default_grub(text, usual_edit(), {}, WhenNoArgument::keep).text, text);
    EXPECT_TRUE(assigns_grub_cmdline(text));
    EXPECT_FALSE(assigns_grub_cmdline(elsewhere));
}

TEST(Grub2Edit, F25_EditsTheOptionsOfABlsEntry) {
    EXPECT_EQ(edit_bls_entry("title Fedora\nversion 6.1\nlinux /vmlinuz-6.1\n"
                             "initrd /initramfs-6.1.img $tuned_initrd\n"
                             "options root=/dev/xvda1 ro console=hvc0 $tuned_params\n",
                             usual_edit())
                  .text,
              "title Fedora\nversion 6.1\nlinux /vmlinuz-6.1\n"
              "initrd /initramfs-6.1.img $tuned_initrd\n"
              "options root=" +
                  std::string(kUuid) + " ro " + std::string(kBoth) + " $tuned_params " + kAdded +
                  "\n");
    const std::string shared = "linux /vmlinuz-6.1\noptions $kernelopts $tuned_params\n";
    EXPECT_EQ(edit_bls_entry(shared, usual_edit()).text, shared);
    EXPECT_EQ(edit_bls_entry("linux /vmlinuz-3.10\n", usual_edit()).text,
              "linux /vmlinuz-3.10\noptions " + std::string(kBoth) +
                  " nvme.io_timeout=255 net.ifnames=0\n");
}

std::string grubenv(std::string text) {
    text.insert(0, "# GRUB Environment Block\n");
    text.resize(1024, '#');
    return text;
}

TEST(Grub2Edit, F25_KeepsTheSizeOfAnEnvironmentBlock) {
    const auto before =
        grubenv("saved_entry=abc-6.1\nkernelopts=root=LABEL=/ ro console=hvc0 \nboot_success=1\n");
    const auto result = edit_grubenv(before, usual_edit());
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->text, grubenv("saved_entry=abc-6.1\nkernelopts=root=LABEL=/ ro " +
                                    std::string(kBoth) + " " + kAdded + " \nboot_success=1\n"));
    EXPECT_EQ(result->text.size(), 1024U);
    EXPECT_EQ(edit_grubenv(grubenv("saved_entry=1>2\n"), usual_edit())->text,
              grubenv("saved_entry=1>2\n"));
}

TEST(Grub2Edit, RefusesADamagedOrFullEnvironmentBlock) {
    EXPECT_EQ(edit_grubenv("# GRUB Environment Block\n", usual_edit()).error().code,
              core::Errc::corrupt);
    const auto full = grubenv("kernelopts=" + std::string(980, 'x') + "\n");
    EXPECT_EQ(edit_grubenv(full, usual_edit()).error().code, core::Errc::refused);
}

TEST(Grub2Edit, EditsTheCommandLineOfKernelInstall) {
    EXPECT_EQ(
        edit_kernel_cmdline("# remark\nroot=/dev/xvda1 console=hvc0 ro\n", usual_edit()).text,
        "# remark\nroot=" + std::string(kUuid) + " " + std::string(kBoth) + " ro " + kAdded + "\n");
}

TEST(Grub2Edit, EditsWhatSuseMakesMenusFrom) {
    EXPECT_EQ(edit_sysconfig_bootloader("# DEFAULT_APPEND=\"x\"\nLOADER_TYPE=\"grub\"\n"
                                        "DEFAULT_APPEND=\"resume=/dev/xvda2 console=hvc0\"\n"
                                        "FAILSAFE_APPEND=\"\"\nXEN_APPEND=\"console=hvc0\"\n",
                                        usual_edit())
                  .text,
              "# DEFAULT_APPEND=\"x\"\nLOADER_TYPE=\"grub\"\n"
              "DEFAULT_APPEND=\"" +
                  std::string(kBoth) + " " + kAdded +
                  "\"\nFAILSAFE_APPEND=\"\"\nXEN_APPEND=\"console=hvc0\"\n");
}

TEST(Grub2Edit, EditsTheAppendLinesOfExtlinux) {
    EXPECT_EQ(edit_extlinux("DEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz-6.1\n"
                            "  APPEND root=/dev/xvda1 initrd=/boot/i console=hvc0\n"
                            "LABEL memtest\n  APPEND console=hvc0\n  KERNEL memtest\n",
                            usual_edit())
                  .text,
              "DEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz-6.1\n"
              "  APPEND root=" +
                  std::string(kUuid) + " initrd=/boot/i " + std::string(kBoth) + " " + kAdded +
                  "\nLABEL memtest\n  APPEND console=hvc0\n  KERNEL memtest\n");
}

TEST(Grub2Edit, EditsTheAppendAboveAllLabels) {
    EXPECT_EQ(edit_extlinux("append ro console=hvc0\nlabel a\n kernel /boot/vmlinuz-6.1\n"
                            "label b\n kernel /boot/vmlinuz-6.1\n append -\n",
                            usual_edit())
                  .text,
              "append ro " + std::string(kBoth) + " " + kAdded +
                  "\nlabel a\n kernel /boot/vmlinuz-6.1\n"
                  "label b\n kernel /boot/vmlinuz-6.1\n append -\n");
}

TEST(Grub2Edit, EditsEachCommandOfALine) {
    const auto edited = [](std::string_view text) {
        return edit_grub_cfg(text, usual_edit()).text;
    };
    const auto told = " " + std::string(kBoth) + " " + kAdded;
    EXPECT_EQ(
        edited("menuentry 'a {b' --class x { linux /vmlinuz-6.1 root=/dev/xvda1 console=hvc0; "
               "initrd /i; } # linux\n"),
        "menuentry 'a {b' --class x { linux /vmlinuz-6.1 root=" + std::string(kUuid) + told +
            "; initrd /i; } # linux\n");
    EXPECT_EQ(edited("if true; then linux /vmlinuz-6.1 root=/dev/xvda1 console=hvc0; fi\n"),
              "if true; then linux /vmlinuz-6.1 root=/dev/xvda1" + told + "; fi\n")
        << "no initrd: the kernel finds no UUID";
    EXPECT_EQ(edited("if x; then\n linux /vmlinuz-6.1 root=/dev/sda1 console=hvc0\nelse\n"
                     " linux /vmlinuz-6.1 root=/dev/sda1 console=hvc0\n initrd /i\nfi\n"
                     "initrdfail\n"),
              "if x; then\n linux /vmlinuz-6.1 root=/dev/sda1" + told +
                  "\nelse\n linux /vmlinuz-6.1 root=" + std::string(kUuid) + told +
                  "\n initrd /i\nfi\ninitrdfail\n");
    EXPECT_EQ(edited("linux /vmlinuz-6.1 root=/dev/sda1 console=hvc0\nfi\ninitrdfail\n"),
              "linux /vmlinuz-6.1 root=/dev/sda1" + told + "\nfi\ninitrdfail\n");
    EXPECT_EQ(edited("menuentry m { linux16 /memtest console=hvc0; }\n"),
              "menuentry m { linux16 /memtest console=hvc0; }\n");
    EXPECT_EQ(edited("echo 'linux /vmlinuz-6.1 root=/dev/xvda1'\n# linux /vmlinuz-6.1 root=x\n"),
              "echo 'linux /vmlinuz-6.1 root=/dev/xvda1'\n# linux /vmlinuz-6.1 root=x\n");
}

using TextEditor = std::function<EditedText(std::string_view)>;

/// Damaged at random: no crash, and the second edit finds nothing to do.
/// A line may have as many commands as bytes; none may look at all that is behind it.
TEST(Grub2Edit, TakesNoLongerForManyCommandsInALine) {
    const auto edit = usual_edit();
    const auto takes_seconds = [&edit](const std::string& text) {
        const auto begin = std::chrono::steady_clock::now();
        EXPECT_GE(edit_grub_cfg(text, edit).text.size(), text.size());
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    for (const std::string_view unit :
         {"a|", "a;", "if ", "a | ", "function a { ", "menuentry a ", "} ", "linux ", "linux a;",
          "linux /a root=/b console=hvc0;", "initrd;", "'", "\"{ "}) {
        std::string text;
        while (text.size() < kTextLimit) text += unit;
        EXPECT_LT(takes_seconds(text), 10) << unit;
    }
    // Each line goes on in the next one.
    std::string text(kTextLimit / 2 + 1, '\\');
    while (text.size() < kTextLimit) text += "\n\\";
    EXPECT_LT(takes_seconds(text), 10);
}

TEST(Grub2Edit, IsTheSameWhenEditedAgain) {
    const auto edit = usual_edit();
    const std::array<TextEditor, 6> editors{
        [&](std::string_view text) { return edit_sysconfig_bootloader(text, edit); },
        [&](std::string_view text) { return edit_grub_cfg(text, edit); },
        [&](std::string_view text) { return edit_default_grub(text, edit); },
        [&](std::string_view text) { return edit_bls_entry(text, edit); },
        [&](std::string_view text) { return edit_kernel_cmdline(text, edit); },
        [&](std::string_view text) { return edit_extlinux(text, edit); }};
    const std::array<std::string, 6> samples{
        "DEFAULT_APPEND=\"resume=/dev/sda2 console=hvc0\"\nX_APPEND=\"y\"\n",
        "menuentry 'a' {\n\tlinux\t/boot/vmlinuz-6.1 root=/dev/xvda1 \\\n console=hvc0 -- x;\n"
        "\tinitrd /i\n}\nset kernelopts=\"root=LABEL=/ console=xvc0\"\n",
        "GRUB_CMDLINE_LINUX=\"ro console=hvc0\" # x\nGRUB_CMDLINE_LINUX='$GRUB_CMDLINE_LINUX y'\n"
        "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n",
        "linux /vmlinuz-6.1\ninitrd /i\noptions root=/dev/xvda1 ro\noptions console=hvc0\n",
        "# x\nroot=/dev/sda1 console=hvc0 resume=/dev/sda2\n",
        "label a\nkernel /boot/vmlinuz-3.10\nappend root=/dev/sda1 initrd=/i console=hvc0\n"};
    expect_stable(samples, editors, " \t\n\\\"'#$={};GRUB_console=hvc0root=optionsappend", 400);
}

}  // namespace
}  // namespace amilift::image
