// SPDX-License-Identifier: Apache-2.0
#include "modules/arguments.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "modules/menu.hpp"
#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ArgumentsModule : public TextModuleTest {
  protected:
    ArgumentsModule() { image::add_usual_files(source_); }
    void bind_eth0() {
        source_.file("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n");
        source_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    }
    void with_grub2() {
        disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = "/"}};
        disk_.code = image::BootCode::grub2;
    }
    /// Converts, with a time-out that every kernel wants, and verifies.
    core::Result<std::vector<std::string>> proofs_with_timeout() {
        plan(arguments_module());
        for (auto& kernel : facts_.kernels) {
            kernel.nvme_timeout = image::NvmeTimeout{"nvme_core.io_timeout", 4294967295U};
        }
        AMILIFT_TRY(const auto steps, plan_of(arguments_module(), facts_, source_.open()));
        AMILIFT_CHECK(apply(steps));
        return verify(arguments_module());
    }
    core::Result<image::ArgumentEdit> edit() {
        return argument_edit(options_, facts_, filesystem_, source_.open());
    }
};

constexpr std::string_view kBoth = "console=tty0 console=ttyS0,115200n8";

TEST_F(ArgumentsModule, HasNothingToDoWithoutGrub2) {
    REQUIRE_ROOT_TO_WRITE();
    convert(arguments_module());
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(ArgumentsModule, MakesTheEntryThatBootsTheDefault) {
    REQUIRE_ROOT_TO_WRITE();
    disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = {}}};
    disk_.code = image::BootCode::grub2;
    source_.file("/etc/default/grub", "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX=\"console=tty0\"\n");
    source_.file("/boot/grub/grub.cfg",
                 "set default=\"0\"\n"
                 "menuentry new {\n linux /boot/vmlinuz-2 root=/dev/sda1 console=tty0\n"
                 " initrd /boot/gone\n}\n"
                 "menuentry old {\n linux /boot/vmlinuz-1 root=/dev/sda1 console=tty0\n"
                 " initrd /boot/initrd-1\n}\n");
    convert(arguments_module());
    EXPECT_THAT(target_.text_of("/boot/grub/grub.cfg"),
                testing::StartsWith("set default=\"old\"\nmenuentry new"));
    EXPECT_THAT(target_.text_of("/boot/grub/grub.cfg"), testing::Not(HasSubstr("/dev/sda1")));
    EXPECT_THAT(target_.text_of("/etc/default/grub"), HasSubstr("GRUB_DEFAULT=\"old\"\n"));
    EXPECT_THAT(proofs_, Contains("'old' is the default of /boot/grub/grub.cfg"));
    EXPECT_THAT(proofs_, Contains("/boot/grub/grub.cfg:6: 'old' boots with root=UUID=" +
                                  std::string(kRootUuid) + " console=tty0"));
    EXPECT_THAT(proofs_, Contains("/boot/grub/grub.cfg: 1 other entries are told all that was "
                                  "planned too"));
    EXPECT_THAT(texts_, Contains(HasSubstr("default=\"0\"' -> '")));
}

TEST_F(ArgumentsModule, F25_EditsEntriesOfTheBootLoaderSpecification) {
    REQUIRE_ROOT_TO_WRITE();
    disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = {}}};
    disk_.code = image::BootCode::grub2;
    source_.file("/boot/grub/grub.cfg", "blscfg\n");
    const std::string entry = "/boot/loader/entries/a-1.conf";
    source_.file(entry,
                 "title one\nlinux /boot/vmlinuz-1\ninitrd /boot/initrd-1\n"
                 "options root=/dev/sda1 ro console=hvc0\n");
    convert(arguments_module());
    EXPECT_THAT(target_.text_of(entry),
                HasSubstr("options root=UUID=" + std::string(kRootUuid) + " ro console=tty0"));
    EXPECT_THAT(proofs_, Contains(entry + ":2: 'one' boots with root=UUID=" +
                                  std::string(kRootUuid) + " console=tty0 console=ttyS0,115200n8"));
}

/// A default of numbers leads into the submenu, in grub.cfg and in what it is made from.
TEST_F(ArgumentsModule, F25_KeepsOrReplacesADefaultOfNumbers) {
    REQUIRE_ROOT_TO_WRITE();
    disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = "/"}};
    disk_.code = image::BootCode::grub2;
    constexpr std::string_view kDefault = "GRUB_DEFAULT=\"1>1\"\n";
    source_.file("/etc/default/grub", kDefault);
    source_.file("/boot/grub/grub.cfg",
                 "set default=\"1>1\"\n"
                 "menuentry a {\n linux /boot/vmlinuz-1 root=LABEL=/ console=hvc0\n"
                 " initrd /boot/initrd-1\n}\n"
                 "submenu s {\n menuentry b {\n linux /boot/vmlinuz-1 root=LABEL=/\n"
                 " initrd /boot/initrd-1\n}\n"
                 " menuentry c {\n linux /boot/vmlinuz-2 root=LABEL=/ console=hvc0\n"
                 " initrd /boot/initrd-2\n}\n}\n");
    convert(arguments_module());
    EXPECT_THAT(target_.text_of("/boot/grub/grub.cfg"), testing::StartsWith("set default=\"1>1\""));
    EXPECT_THAT(target_.text_of("/etc/default/grub"), testing::StartsWith(std::string(kDefault)));
    EXPECT_THAT(proofs_, Contains(HasSubstr("'c' boots with root=LABEL=/ " + std::string(kBoth))));

    std::filesystem::remove(source_.on_host("/boot/initrd-2"));
    texts_.clear();
    convert(arguments_module());
    EXPECT_THAT(target_.text_of("/boot/grub/grub.cfg"), testing::StartsWith("set default=\"a\""));
    EXPECT_THAT(target_.text_of("/etc/default/grub"), testing::StartsWith("GRUB_DEFAULT=\"a\"\n"));
}

TEST_F(ArgumentsModule, GivesEachKernelItsTimeOut) {
    plan(arguments_module());
    facts_.kernels.at(0).nvme_timeout = image::NvmeTimeout{"nvme_core.io_timeout", 4294967295U};
    facts_.kernels.at(1).nvme_timeout = image::NvmeTimeout{"nvme.io_timeout", 255U};
    const auto made = edit();
    ASSERT_TRUE(made.has_value());
    const image::WantedArgument later{"nvme_core.io_timeout", "4294967295", 4294967295U};
    EXPECT_THAT(made->later_kernels, ElementsAre(later));
    EXPECT_EQ(made->arguments_of("/boot/vmlinuz-1")[0].value, "255");
    facts_.boot_entry = 1;
    EXPECT_EQ(edit()->later_kernels.at(0).key, "nvme.io_timeout");
}

TEST_F(ArgumentsModule, NamesAnAmbiguousRootByUuid) {
    source_.file("/etc/fstab", "LABEL=/ / ext3 defaults 1 1\nLABEL=/ /b ext3 defaults 0 0\n");
    plan(arguments_module());
    EXPECT_THAT(edit()->old_root_devices, Contains("LABEL=/"));
    source_.file("/etc/fstab", "LABEL=/ / ext3 defaults 1 1\n");
    plan(arguments_module());
    EXPECT_THAT(edit()->old_root_devices, testing::Not(Contains("LABEL=/")));
}

TEST_F(ArgumentsModule, NamesAnAmbiguousRootByUuidHoweverItIsWritten) {
    source_.file("/etc/fstab", "LABEL=\"/\" / ext3 defaults 1 1\nlabel=/ /b ext3 defaults 0 0\n");
    for (const std::string root : {"LABEL=/", "LABEL=\\x2f", "/dev/disk/by-label/\\x2f"}) {
        plan(arguments_module());
        facts_.boot_entries.at(0).arguments = "ro root=" + root;
        EXPECT_THAT(edit()->old_root_devices, Contains(root));
    }
}

TEST_F(ArgumentsModule, KeepsTheNameOfTheCardInMenus) {
    REQUIRE_ROOT_TO_WRITE();
    bind_eth0();
    convert(menu_module());
    EXPECT_THAT(target_.text_of("/boot/grub/menu.lst"),
                HasSubstr(" " + std::string(kBoth) + " net.ifnames=0\n"));
}

/// Entries of the boot loader specification, in the usual place or where the menu looks.
TEST_F(ArgumentsModule, EditsTheEntriesThatTheMenuShows) {
    REQUIRE_ROOT_TO_WRITE();
    with_grub2();
    const std::string edited =
        "title one\nlinux /boot/vmlinuz-2\ninitrd /boot/initrd-2\noptions root=UUID=" +
        std::string(kRootUuid) + " ro " + std::string(kBoth) + "\n";
    for (const auto& [where, setting] :
         {std::pair<std::string, std::string>{"/boot/loader/entries", ""},
          {"/boot/other", "blsdir=/boot/other\n"},
          {"/srv/entries", "blsdir=(hd0,1)/srv/entries\n"}}) {
        source_.file("/boot/grub/grub.cfg", setting + "blscfg\n");
        source_.file(where + "/one.conf",
                     "title one\nlinux /boot/vmlinuz-2\ninitrd /boot/initrd-2\n"
                     "options root=/dev/xvda1 ro console=hvc0\n");
        texts_.clear();
        convert(arguments_module());
        EXPECT_EQ(target_.text_of(where + "/one.conf"), edited) << where;
        EXPECT_THAT(proofs_, Contains(HasSubstr("'one' boots with root=UUID="))) << where;
    }
}

TEST_F(ArgumentsModule, EditsEveryFileThatKernelsAreStartedFrom) {
    REQUIRE_ROOT_TO_WRITE();
    bind_eth0();
    source_.file("/boot/grub/grub.cfg",
                 "menuentry a {\n linux /boot/vmlinuz-2 root=/dev/xvda1 ro\n initrd /boot/i\n}\n");
    source_.file("/boot/loader/entries/a.conf", "linux /boot/vmlinuz-2\noptions ro console=hvc0\n");
    source_.file("/boot/loader/entries/a.conf.bak", "linux /boot/vmlinuz-2\noptions x\n");
    std::string block = "# GRUB Environment Block\nkernelopts=ro console=hvc0\n";
    block.resize(1024, '#');
    source_.file("/boot/grub2/grubenv", block);
    source_.file("/etc/default/grub", "GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX=\"\"\n");
    source_.file("/etc/default/grub.d/50-cloud.cfg",
                 "GRUB_CMDLINE_LINUX_DEFAULT=\"console=hvc0\"\n");
    source_.file("/etc/kernel/cmdline", "ro console=hvc0\n");
    convert(arguments_module());
    EXPECT_THAT(texts_, SizeIs(6));
    EXPECT_EQ(target_.text_of("/boot/grub/grub.cfg"),
              "menuentry a {\n linux /boot/vmlinuz-2 root=UUID=" + std::string(kRootUuid) + " ro " +
                  std::string(kBoth) + " net.ifnames=0\n initrd /boot/i\n}\n");
    EXPECT_EQ(target_.text_of("/boot/loader/entries/a.conf"),
              "linux /boot/vmlinuz-2\noptions ro " + std::string(kBoth) + " net.ifnames=0\n");
    EXPECT_EQ(target_.text_of("/boot/grub2/grubenv").size(), 1024U);
    EXPECT_EQ(target_.text_of("/etc/default/grub"),
              "GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX=\"net.ifnames=0\"\n");
    EXPECT_EQ(target_.text_of("/etc/default/grub.d/50-cloud.cfg"),
              "GRUB_CMDLINE_LINUX_DEFAULT=\"" + std::string(kBoth) + "\"\n");
    EXPECT_EQ(target_.text_of("/etc/kernel/cmdline"),
              "ro " + std::string(kBoth) + " net.ifnames=0\n");
    EXPECT_THAT(proofs_, IsEmpty()) << "menu.lst is what boots, and another module's";
}

/// What the simulator reads is what is edited, wherever it lies.
TEST_F(ArgumentsModule, EditsTheExtlinuxFilesThatBoot) {
    REQUIRE_ROOT_TO_WRITE();
    bind_eth0();
    disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = "/"}};
    disk_.code = image::BootCode::extlinux;
    const auto proof = "'a' boots with root=LABEL=/ " + std::string(kBoth) + " net.ifnames=0";
    for (const char* path : {"/boot/extlinux.conf", "/extlinux/extlinux.conf"}) {
        source_.file(path,
                     "default a\nlabel a\n kernel /boot/vmlinuz-2\n"
                     " append root=LABEL=/ console=hvc0\n initrd /boot/initrd-2\n");
        convert(arguments_module());
        EXPECT_THAT(target_.text_of(path), HasSubstr(kBoth)) << path;
        EXPECT_THAT(proofs_, ElementsAre(HasSubstr(proof))) << path;
        std::filesystem::remove(source_.on_host(path));
    }
    source_.file("/boot/extlinux/extlinux.conf",
                 "default a\nappend root=LABEL=/ console=hvc0\ninclude more.conf\n");
    source_.file("/boot/extlinux/more.conf",
                 "label a\n kernel /boot/vmlinuz-2\n initrd /boot/initrd-2\n"
                 "label b\n kernel /boot/vmlinuz-1\n initrd /boot/initrd-1\n"
                 " append ro console=hvc0\n");
    convert(arguments_module());
    EXPECT_THAT(target_.text_of("/boot/extlinux/extlinux.conf"),
                HasSubstr("append root=LABEL=/ " + std::string(kBoth) + " net.ifnames=0\n"));
    EXPECT_THAT(target_.text_of("/boot/extlinux/more.conf"),
                HasSubstr(" append ro " + std::string(kBoth) + " net.ifnames=0\n"));
    EXPECT_THAT(proofs_, Contains(HasSubstr(proof)));
}

TEST_F(ArgumentsModule, EditsWhatGrubReadsInAndEntriesOnOneLine) {
    REQUIRE_ROOT_TO_WRITE();
    bind_eth0();
    disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = {}}};
    disk_.code = image::BootCode::grub2;
    source_.file("/boot/grub/grub.cfg",
                 "set default=one\n"
                 "menuentry one { linux /boot/vmlinuz-2 root=/dev/sda1 console=hvc0 ; "
                 "initrd /boot/initrd-2 ; }\n"
                 "source ${config_directory}/custom.cfg\n");
    source_.file("/boot/grub/custom.cfg",
                 "menuentry two {\n linux /boot/vmlinuz-1 ro console=hvc0\n"
                 " initrd /boot/initrd-1\n}\n");
    convert(arguments_module());
    EXPECT_THAT(target_.text_of("/boot/grub/grub.cfg"),
                HasSubstr("linux /boot/vmlinuz-2 root=UUID=" + std::string(kRootUuid) + " " +
                          std::string(kBoth) + " net.ifnames=0 ; initrd"));
    EXPECT_THAT(target_.text_of("/boot/grub/custom.cfg"),
                HasSubstr("vmlinuz-1 ro " + std::string(kBoth) + " net.ifnames=0\n"));
    EXPECT_THAT(proofs_, Contains(HasSubstr("other entries are told all")));
}

/// What a menu puts together from variables is no argument that an editor of lines sees. Such an
/// image boots all the same as long as it finds its root.
TEST_F(ArgumentsModule, SaysWhatAMenuOfVariablesDoesNotTell) {
    REQUIRE_ROOT_TO_WRITE();
    with_grub2();
    const std::string timeout = "nvme_core.io_timeout=4294967295";
    const std::string block =
        " {\n linux /boot/vmlinuz-2 root=LABEL=/\n initrd /boot/initrd-2\n}\n";
    struct Case {
        std::string name, config, told;
    };
    for (const auto& c : {
             Case{"path",
                  "set k=/boot/vmlinuz-2\nmenuentry a {\n linux $k root=LABEL=/\n"
                  " initrd /boot/initrd-2\n}\n",
                  "is not told " + timeout},
             Case{"arguments",
                  "set opts=\"root=LABEL=/ console=hvc0\"\nmenuentry a {\n"
                  " linux /boot/vmlinuz-2 $opts\n initrd /boot/initrd-2\n}\n",
                  "is still told console=hvc0"},
             Case{"command",
                  "set suf=16\nmenuentry a {\n linux$suf /boot/vmlinuz-2 root=LABEL=/\n"
                  " initrd$suf /boot/initrd-2\n}\n",
                  "is not told console=tty0 console=ttyS0,115200n8 " + timeout},
             Case{"function",
                  "function go {\n linux $1 root=LABEL=/\n initrd /boot/initrd-2\n}\n"
                  "menuentry a {\n go /boot/vmlinuz-2\n}\n",
                  "is not told " + timeout},
         }) {
        source_.file("/boot/grub/grub.cfg", c.config);
        const auto proofs = proofs_with_timeout();
        ASSERT_TRUE(proofs.has_value()) << c.name << ": " << proofs.error().message();
        EXPECT_THAT(*proofs, Contains(HasSubstr("'a' boots with root=LABEL=/"))) << c.name;
        EXPECT_THAT(*proofs, Contains(testing::AllOf(HasSubstr("'a' " + c.told),
                                                     HasSubstr(": its command line is put"))))
            << c.name;

        source_.file("/boot/grub/grub.cfg", "menuentry b" + block + c.config);
        const auto other = proofs_with_timeout();
        ASSERT_TRUE(other.has_value()) << c.name << ": " << other.error().message();
        EXPECT_THAT(*other, Contains(HasSubstr("'a', which is not the default, " + c.told)))
            << c.name;
    }
}

/// Before the copy, not behind it.
TEST_F(ArgumentsModule, RefusesADefaultThatNamesALostRootInAVariable) {
    REQUIRE_ROOT_TO_WRITE();
    with_grub2();
    const std::string entry =
        "menuentry a {\n linux /boot/vmlinuz-2 $more\n initrd /boot/initrd-2\n}\n";
    const auto lost = "set more=root=/dev/sda1\n" + entry;
    source_.file("/boot/grub/grub.cfg", lost);
    const auto root = source_.open();
    const auto steps = plan_of(arguments_module(), image::inspect_image(root, disk_).value(), root);
    ASSERT_FALSE(steps.has_value());
    EXPECT_EQ(steps.error().id, "not-ready");
    EXPECT_THAT(steps.error().what, HasSubstr("it is not told root=UUID=" + std::string(kRootUuid) +
                                              ", is still told root=/dev/sda1"));

    source_.file("/boot/grub/grub.cfg", "set more=root=LABEL=/\n" + entry);
    ASSERT_TRUE(apply(plan(arguments_module())));
    ASSERT_TRUE(verify(arguments_module()));
    const auto text = target_.text_of("/boot/grub/grub.cfg");
    target_.file("/boot/grub/grub.cfg",
                 "set more=root=/dev/sda1\n" + text.substr(text.find('\n') + 1));
    const auto proofs = verify(arguments_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_EQ(proofs.error().id, "not-ready");
}

TEST_F(ArgumentsModule, RefusesADefaultWhoseCardWouldGetAnotherName) {
    bind_eth0();
    with_grub2();
    source_.file("/boot/grub/grub.cfg",
                 "set k=/boot/vmlinuz-2\nmenuentry a {\n linux $k root=LABEL=/\n"
                 " initrd /boot/initrd-2\n}\n");
    const auto root = source_.open();
    const auto steps = plan_of(arguments_module(), image::inspect_image(root, disk_).value(), root);
    ASSERT_FALSE(steps.has_value());
    EXPECT_EQ(steps.error().id, "not-ready");
    EXPECT_THAT(steps.error().what, HasSubstr("it is not told net.ifnames=0"));
}

TEST_F(ArgumentsModule, PassesOverADamagedEnvironmentBlock) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/grub/grubenv", "kernelopts=console=hvc0\n");
    convert(arguments_module());
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(ArgumentsModule, RefusesAFullEnvironmentBlock) {
    bind_eth0();
    std::string block = "# GRUB Environment Block\nkernelopts=console=tty0 ";
    block.resize(1022, 'x');
    block += "\n#";
    source_.file("/boot/grub/grubenv", block);
    const auto root = source_.open();
    const auto facts = image::inspect_image(root).value();
    const auto steps = plan_of(arguments_module(), facts, root);
    ASSERT_FALSE(steps.has_value());
    EXPECT_EQ(steps.error().code, core::Errc::refused);
}

TEST_F(ArgumentsModule, FailsToVerifyWhatIsNotConverted) {
    source_.file("/etc/kernel/cmdline", "ro console=hvc0\n");
    plan(arguments_module());
    EXPECT_FALSE(verify(arguments_module()).has_value());
}

}  // namespace
}  // namespace amilift::modules
