// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "edit_stability.hpp"
#include "image/menu.hpp"
#include "menu_samples.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;
using testing::Not;

MenuEdit usual_edit() {
    MenuEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = "UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";
    edit.old_root_devices = {"/dev/sda", "/dev/sda1", "/dev/xvda1", "/dev/xvde1",
                             "/dev/disk/by-id/scsi-abc-part1"};
    return edit;
}

std::string edited(std::string_view text) {
    return edit_menu(text, usual_edit()).text;
}

std::string sample(std::string_view name) {
    for (const auto& known : kMenuSamples) {
        if (known.name == name) return std::string(known.text);
    }
    ADD_FAILURE() << "no sample " << name;
    return {};
}

/// The text of a one-entry menu with an initrd whose kernel line has these arguments, edited, and
/// of that the arguments again.
std::string edited_arguments(const std::string& arguments) {
    const auto text = edited("title t\nkernel /boot/v " + arguments + "\ninitrd /boot/i\n");
    const std::string head = "title t\nkernel /boot/v ";
    const std::string tail = "\ninitrd /boot/i\n";
    EXPECT_TRUE(text.starts_with(head) && text.ends_with(tail)) << text;
    return text.substr(head.size(), text.size() - head.size() - tail.size());
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The kernels of the samples, each of which wants its own arguments.
MenuEdit edit_with_arguments() {
    auto edit = usual_edit();
    const WantedArgument names{"net.ifnames", "0"};
    const WantedArgument byte{"nvme.io_timeout", "255", 255U};
    const WantedArgument word{"nvme_core.io_timeout", "4294967295", 4294967295U};
    edit.kernels = {{"/boot/bz", {byte}},
                    {"/boot/vmlinuz", {word}},
                    {"/boot/vmlinuz-2.6.32-431.el6.x86_64", {byte}},
                    {"/boot/vmlinuz-3.2.0-23-virtual", {word, names}},
                    {"/boot/v", {word}}};
    edit.later_kernels = {word, names};
    return edit;
}

class EveryMenu : public testing::TestWithParam<MenuSample> {};

TEST_P(EveryMenu, IsTheSameWhenEditedAgain) {
    for (const bool add_default : {false, true}) {
        auto edit = edit_with_arguments();
        if (add_default) edit.default_entry = 1;
        const auto once = edit_menu(GetParam().text, edit);
        const auto twice = edit_menu(once.text, edit);
        EXPECT_EQ(twice.text, once.text);
        EXPECT_TRUE(twice.changes.empty())
            << twice.changes.front().line << ": " << twice.changes.front().text;
    }
}

TEST_P(EveryMenu, ReportsAChangeExactlyWhenThereIsOne) {
    const auto result = edit_menu(GetParam().text, usual_edit());
    EXPECT_EQ(result.changes.empty(), result.text == GetParam().text);
}

TEST_P(EveryMenu, KeepsEveryLineThatIsNotReported) {
    const auto result = edit_menu(GetParam().text, usual_edit());
    const auto before = split_lines(GetParam().text);
    const auto after = split_lines(result.text);
    if (before.size() != after.size()) return;  // continued lines: a test of their own
    for (std::size_t i = 0; i < before.size(); ++i) {
        EXPECT_EQ(before[i].ending, after[i].ending);
        const bool reported = std::ranges::any_of(result.changes, [&](const TextChange& change) {
            return change.line == before[i].number;
        });
        EXPECT_EQ(reported, before[i].body != after[i].body) << before[i].body;
    }
}

TEST_P(EveryMenu, BootsWhatItBootedBefore) {
    const auto before = parse_menu(GetParam().text);
    const auto after = parse_menu(edited(GetParam().text));
    EXPECT_EQ(default_entry(after), default_entry(before));
    ASSERT_EQ(after.entries.size(), before.entries.size());
    for (std::size_t i = 0; i < before.entries.size(); ++i) {
        EXPECT_EQ(after.entries[i].title, before.entries[i].title);
        EXPECT_EQ(after.entries[i].kernel, before.entries[i].kernel);
        EXPECT_EQ(after.entries[i].initrd, before.entries[i].initrd);
        EXPECT_NE(after.entries[i].root, "(hd0)");
        EXPECT_NE(after.entries[i].kernel_device, "(hd0)");
    }
}

INSTANTIATE_TEST_SUITE_P(MenuEdit, EveryMenu, testing::ValuesIn(kMenuSamples),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MenuEdit, ConvertsAPlainAmazonMenu) {
    auto wanted = sample("PlainAmazon");
    wanted = replaced(wanted, "root (hd0)", "root (hd0,0)");
    wanted = replaced(wanted, "console=hvc0", "console=tty0 console=ttyS0,115200n8");
    const auto result = edit_menu(sample("PlainAmazon"), usual_edit());
    EXPECT_EQ(result.text, wanted);
    ASSERT_EQ(result.changes.size(), 2U);
    EXPECT_EQ(result.changes[0].line, 7);
    EXPECT_EQ(result.changes[0].text, "root: '(hd0)' -> '(hd0,0)'");
    EXPECT_EQ(result.changes[1].line, 8);
    EXPECT_EQ(result.changes[1].text,
              "kernel: 'console=hvc0' -> 'console=tty0 console=ttyS0,115200n8'");
}

TEST(MenuEdit, ChangesEveryDiskOfALine) {
    EXPECT_EQ(edited(sample("TwoDisksOnALine")),
              "title one\n"
              "kernel (hd0,0)/boot/vmlinuz-1 root=LABEL=/ splash=(hd0,0)/boot/s.xpm.gz "
              "console=tty0 console=ttyS0,115200n8\n"
              "initrd (hd0,0)/boot/initrd-1\n");
}

TEST(MenuEdit, LeavesAConvertedMenuAlone) {
    EXPECT_EQ(edited(sample("Converted")), sample("Converted"));
}

TEST(MenuEdit, KeepsMarkTabsAndCarriageReturns) {
    EXPECT_EQ(edited(sample("MarkAndCarriageReturns")),
              "\xef\xbb\xbf"
              "default=0\r\n"
              "title dos\r\n"
              "\troot\t(hd0,0)\r\n"
              "\tkernel\t/boot/v\tro\tconsole=tty0 console=ttyS0,115200n8\r\n"
              "\tinitrd\t(hd0,0)/boot/i\r\n");
}

TEST(MenuEdit, LeavesTitlesAlone) {
    const auto text = edited(sample("ConsoleInTitle"));
    EXPECT_THAT(text, HasSubstr("title rescue console=hvc0 root (hd0) test\n"));
    EXPECT_THAT(text, HasSubstr("\nroot (hd0,0)\n"));
}

TEST(MenuEdit, ReplacesPvConsoles) {
    const std::string both = "console=tty0 console=ttyS0,115200n8";
    EXPECT_EQ(edited_arguments("ro console=hvc0"), "ro " + both);
    EXPECT_EQ(edited_arguments("console=xvc0,9600 ro"), both + " ro");
    EXPECT_EQ(edited_arguments("ro console=tty0 console=hvc0 console=xvc0,9600"), "ro " + both);
    EXPECT_EQ(edited_arguments("ro console=hvc0 console=tty0 x"),
              "ro console=ttyS0,115200n8 console=tty0 x");
    EXPECT_EQ(edited_arguments("console=ttyS0,38400 console=hvc0 x"),
              "console=ttyS0,38400 console=tty0 x");
    EXPECT_EQ(edited_arguments("console=hvc0 console=ttyS0 console=tty0"),
              "console=ttyS0 console=tty0");
    EXPECT_EQ(edited_arguments("xconsole=hvc0 console=hvc"), "xconsole=hvc0 console=hvc");
}

TEST(MenuEdit, KeepsTheConsolesThatTheAuthorChose) {
    EXPECT_EQ(edited_arguments("console=tty0"), "console=tty0");
    EXPECT_EQ(edited_arguments("console=ttyS1"), "console=ttyS1");
}

TEST(MenuEdit, GivesALinuxWithoutConsolesTheJobs) {
    EXPECT_EQ(edited_arguments("ro"), "ro console=tty0 console=ttyS0,115200n8");
    EXPECT_EQ(edited("title m\nkernel /boot/memtest86+.bin\n"),
              "title m\nkernel /boot/memtest86+.bin\n");
    EXPECT_EQ(edited("title m\nkernel /boot/v\ninitrd /i\n"),
              "title m\nkernel /boot/v console=tty0 console=ttyS0,115200n8\ninitrd /i\n");
}

TEST(MenuEdit, ReplacesDeviceRootsWhereAnInitrdLooksThemUp) {
    const std::string uuid = "root=UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";
    EXPECT_EQ(edited_arguments("root=/dev/xvda1 console=tty0"), uuid + " console=tty0");
    EXPECT_EQ(edited_arguments("root=\"/dev/sda\" console=tty0"), uuid + " console=tty0");
    EXPECT_EQ(edited_arguments("root=/dev/sda10 console=tty0"), "root=/dev/sda10 console=tty0");
    EXPECT_EQ(edited_arguments("root=LABEL=/ console=tty0"), "root=LABEL=/ console=tty0");
    EXPECT_THAT(edited(sample("NoInitrdDeviceRoot")),
                HasSubstr("kernel /boot/bz root=/dev/sda1 ro 4 console="));
    EXPECT_THAT(edited(sample("RootById")), HasSubstr(" " + uuid + " splash="));
    EXPECT_THAT(edited(sample("ShiftedDevice")),
                HasSubstr("ro " + uuid + " rd_NO_LUKS xen_blkfront.sda_is_xvda=1 console="));
}

TEST(MenuEdit, LeavesHypervisorEntriesAsTheyAre) {
    EXPECT_EQ(edited(sample("Hypervisor")),
              replaced(sample("Hypervisor"), "root (hd0)", "root (hd0,0)"));
}

TEST(MenuEdit, EditsTheTemplatesOfUpdateGrub) {
    const auto text = edited(sample("DebianTemplates"));
    const std::string both = "console=tty0 console=ttyS0,115200n8";
    EXPECT_THAT(text, HasSubstr("\n# kopt=root=LABEL=cloudimg-rootfs ro " + both + "\n"));
    EXPECT_THAT(text, HasSubstr("\n# kopt_2_6=root=UUID=0b9f21a2"));
    EXPECT_THAT(text, HasSubstr("\n# groot=(hd0,0)\n"));
    EXPECT_THAT(text, HasSubstr("\n# defoptions=" + both + " quiet\n"));
    EXPECT_THAT(text, HasSubstr("\n# xenkopt=" + both + "\n"));
    EXPECT_THAT(text, HasSubstr("\n# altoptions=(recovery mode) single\n"));
    EXPECT_THAT(text, HasSubstr("\n## e.g. kopt=root=/dev/hda1 ro console=hvc0\n"));
    EXPECT_THAT(text, HasSubstr("\nroot\t\t(hd0,0)\n"));
}

TEST(MenuEdit, GivesATemplateWithoutConsolesTheJobs) {
    const auto text = edited(
        "# kopt=root=LABEL=/ ro\n# defoptions=quiet\n# groot=(hd0)\n"
        "title t\nkernel /v ro console=hvc0\ninitrd /i\n");
    EXPECT_THAT(text, HasSubstr("# kopt=root=LABEL=/ ro console=tty0 console=ttyS0,115200n8\n"
                                "# defoptions=quiet\n"));
}

TEST(MenuEdit, KeepsADeviceInTemplatesWhenAnEntryHasNoInitrd) {
    const std::string text =
        "# kopt=root=/dev/sda1 ro console=tty0\n"
        "title a\nkernel /v root=/dev/sda1 console=tty0\n"
        "title b\nkernel /w root=/dev/sda1 console=tty0\ninitrd /i\n";
    EXPECT_THAT(edited(text), HasSubstr("# kopt=root=/dev/sda1 ro console=tty0\n"));
}

TEST(MenuEdit, TakesQuotedArgumentsAsOne) {
    EXPECT_EQ(edited(sample("Quoted")),
              "title q\nroot (hd0,0)\n"
              "kernel /boot/v root=LABEL=\"my root\" init=\"/sbin/init console=hvc0\" x=\\x2f "
              "console=tty0 console=ttyS0,115200n8\n"
              "initrd /boot/i\n");
}

TEST(MenuEdit, JoinsContinuedLinesBecauseGrub2DoesNot) {
    const auto result = edit_menu(sample("ContinuedNoFinalNewline"), usual_edit());
    EXPECT_EQ(result.text,
              "# a remark  goes on\n"
              "title c\n"
              "root (hd0,0)\n"
              "kernel /boot/v root=UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11    console=tty0 "
              "console=ttyS0,115200n8\n"
              "initrd /boot/i");
    ASSERT_EQ(result.changes.size(), 3U);
    EXPECT_EQ(result.changes[0].line, 1);
    EXPECT_THAT(result.changes[2].text, HasSubstr("join 2 continued line(s)"));
}

TEST(MenuEdit, LeavesCommandsThatMeanTheDiskAlone) {
    const auto text = edited(sample("OtherCommands"));
    EXPECT_THAT(text, HasSubstr("map (hd0) (hd1)\nmap (hd1) (hd0)\nrootnoverify (hd0,0)\n"));
    EXPECT_THAT(text, HasSubstr("setup (hd0)\n"));
    EXPECT_THAT(text, HasSubstr("splashimage=(hd0,0)/boot/grub/splash.xpm.gz\n"));
    EXPECT_THAT(text, HasSubstr("gfxmenu (hd0,0)/boot/message\n"));
    EXPECT_THAT(text, HasSubstr("configfile (hd0,1)/boot/grub/other.lst\n"));
}

TEST(MenuEdit, KeepsTheWholeDiskWhenTheFilesystemStays) {
    auto edit = usual_edit();
    edit.whole_disk_to_first_partition = false;
    EXPECT_EQ(edit_menu("# groot=(hd0)\ntitle a\nroot (hd0)\n", edit).text,
              "# groot=(hd0)\ntitle a\nroot (hd0)\n");
}

TEST(MenuEdit, SetsTheDefaultEntry) {
    MenuEdit edit;
    edit.default_entry = 1;
    const std::string entries = "title a\nkernel /a\ntitle b\nkernel /b\n";
    EXPECT_EQ(edit_menu("default=0\n" + entries, edit).text, "default=1\n" + entries);
    EXPECT_EQ(edit_menu("default saved\n" + entries, edit).text, "default 1\n" + entries);
    EXPECT_EQ(edit_menu("default\n" + entries, edit).text, "default 1\n" + entries);
    EXPECT_EQ(edit_menu("timeout 3\n\n" + entries, edit).text,
              "timeout 3\n\ndefault 1\n" + entries);
    EXPECT_EQ(edit_menu("default 1\n" + entries, edit).text, "default 1\n" + entries);
    const auto result = edit_menu("default 7\n" + entries, edit);
    ASSERT_EQ(result.changes.size(), 1U);
    EXPECT_EQ(result.changes[0].text, "default: '7' -> '1'");
}

TEST(MenuEdit, IgnoresADefaultEntryThatIsNotThere) {
    MenuEdit edit;
    edit.default_entry = 9;
    EXPECT_EQ(edit_menu("title a\n", edit).text, "title a\n");
}

TEST(MenuEdit, LeavesConsolesOutWhenTheJobHasNone) {
    MenuEdit edit;
    EXPECT_EQ(edit_menu("title t\nkernel /v ro console=hvc0 x\ninitrd /i\n", edit).text,
              "title t\nkernel /v ro x\ninitrd /i\n");
    EXPECT_EQ(edit_menu("title t\nkernel /v console=hvc0\ninitrd /i\n", edit).text,
              "title t\nkernel /v\ninitrd /i\n");
}

TEST(MenuEdit, F13_KeepsTheDeviceOfAnEntryWithoutInitrd) {
    EXPECT_EQ(edit_menu(sample("NoInitrdDeviceRoot"), edit_with_arguments()).text,
              "title bz\nroot (hd0,0)\nkernel /boot/bz root=/dev/sda1 ro 4 console=tty0 "
              "console=ttyS0,115200n8 nvme.io_timeout=255\n");
}

TEST(MenuEdit, F14_ReplacesARootByIdAndRemovesTheResumeDevice) {
    const auto result = edit_menu(sample("RootById"), edit_with_arguments());
    EXPECT_EQ(result.text,
              "title SLES\nroot (hd0,0)\n"
              "kernel /boot/vmlinuz root=UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11 splash=silent "
              "showopts console=tty0 console=ttyS0,115200n8 nvme_core.io_timeout=4294967295\n"
              "initrd /boot/initrd\n");
    ASSERT_EQ(result.changes.size(), 2U);
    EXPECT_THAT(result.changes[1].text, HasSubstr("resume=/dev/sda2"));
}

TEST(MenuEdit, F15_KeepsTheDeviceShiftAndTheArgumentsOfDracut) {
    EXPECT_EQ(edit_menu(sample("ShiftedDevice"), edit_with_arguments()).text,
              "title EL6\nroot (hd0,0)\n"
              "kernel /boot/vmlinuz-2.6.32-431.el6.x86_64 ro "
              "root=UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11 rd_NO_LUKS "
              "xen_blkfront.sda_is_xvda=1 console=tty0 console=ttyS0,115200n8 "
              "nvme.io_timeout=255\n"
              "initrd /boot/initramfs-2.6.32-431.el6.x86_64.img\n");
}

TEST(MenuEdit, F16_TellsTheTemplatesWhatLaterKernelsNeed) {
    const auto text = edit_menu(sample("DebianTemplates"), edit_with_arguments()).text;
    const std::string both = "console=tty0 console=ttyS0,115200n8";
    const std::string later = " nvme_core.io_timeout=4294967295 net.ifnames=0";
    EXPECT_THAT(text, HasSubstr("\n# kopt=root=LABEL=cloudimg-rootfs ro " + both + later + "\n"));
    EXPECT_THAT(text, HasSubstr("\n# kopt_2_6=root=UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11 ro" +
                                later + "\n"));
    EXPECT_THAT(text, HasSubstr("\n# defoptions=" + both + " quiet\n"));
    EXPECT_THAT(text, HasSubstr(" ro " + both + " quiet" + later + "\ninitrd"));
}

TEST(MenuEdit, F16_DoesNotRepeatWhatDefoptionsHave) {
    const std::string text =
        "# kopt=root=LABEL=/ ro console=tty0\n"
        "# defoptions=net.ifnames=1 nvme_core.io_timeout=60\n";
    EXPECT_EQ(edit_menu(text, edit_with_arguments()).text, text);
}

TEST(MenuEdit, F20_AddsBehindQuotedArguments) {
    EXPECT_EQ(edit_menu(sample("Quoted"), edit_with_arguments()).text,
              "title q\nroot (hd0,0)\n"
              "kernel /boot/v root=LABEL=\"my root\" init=\"/sbin/init console=hvc0\" x=\\x2f "
              "console=tty0 console=ttyS0,115200n8 nvme_core.io_timeout=4294967295\n"
              "initrd /boot/i\n");
}

TEST(MenuEdit, GivesEachEntryTheArgumentsOfItsKernel) {
    const auto text = edit_menu(
                          "title a\nkernel /boot/bz root=LABEL=/ console=tty0\n"
                          "title b\nkernel /v root=LABEL=/ console=tty0\n"
                          "title c\nkernel /boot/other root=LABEL=/ console=tty0\n"
                          "title d\nkernel /boot/v console=tty0\n",
                          edit_with_arguments())
                          .text;
    EXPECT_EQ(text,
              "title a\nkernel /boot/bz root=LABEL=/ console=tty0 nvme.io_timeout=255\n"
              "title b\nkernel /v root=LABEL=/ console=tty0 nvme_core.io_timeout=4294967295\n"
              "title c\nkernel /boot/other root=LABEL=/ console=tty0\n"
              "title d\nkernel /boot/v console=tty0\n");
}

/// Menus with bytes exchanged, cut and doubled at random: no crash, no endless loop, and the second
/// edit finds nothing to do.
TEST(MenuEdit, StaysStableOnDamagedMenus) {
    std::vector<std::string_view> samples;
    for (const auto& known : kMenuSamples) samples.push_back(known.text);
    std::vector<std::function<EditedText(std::string_view)>> editors;
    for (const std::optional<std::size_t> default_entry :
         {std::optional<std::size_t>(), std::optional<std::size_t>(0),
          std::optional<std::size_t>(2)}) {
        auto edit = edit_with_arguments();
        edit.default_entry = default_entry;
        editors.emplace_back([edit](std::string_view text) { return edit_menu(text, edit); });
    }
    expect_stable(samples, editors, "()hd0,1 \t\r\n\\\"#='/consoletitle\xef\xbb", 300);
}

TEST(MenuEdit, EditsAMebibyteQuickly) {
    std::string text = "title t\nkernel /v";
    while (text.size() < (1U << 20)) text += " console=hvc0 (hd0) \"";
    EXPECT_THAT(edited(text), Not(HasSubstr("(hd0) ")));
}

}  // namespace
}  // namespace amilift::image
