// SPDX-License-Identifier: Apache-2.0
#include "image/boot_menu.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/bls.hpp"
#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kRootUuid = "5b1c8a06-7a6f-4a4f-9d7e-2f6f3b6f0001";
constexpr std::string_view kBootUuid = "5b1c8a06-7a6f-4a4f-9d7e-2f6f3b6f0002";

BootDisk one_partition() {
    BootDisk disk;
    disk.volumes = {
        {.partition = 1, .mount_point = "/", .uuid = std::string(kRootUuid), .label = "root"}};
    disk.code = BootCode::grub2;
    return disk;
}

BootDisk separate_boot(bool gpt = false) {
    BootDisk disk;
    disk.is_gpt = gpt;
    disk.volumes = {
        {.partition = 1, .mount_point = "/boot", .uuid = std::string(kBootUuid), .label = "boot"},
        {.partition = 2, .mount_point = "/", .uuid = std::string(kRootUuid), .label = "root"}};
    disk.code = BootCode::grub2;
    return disk;
}

class Grub2Menu : public testing::Test {
  protected:
    BootMenu simulate(std::string_view text, const BootDisk& disk = one_partition()) {
        image_.file("/boot/grub/grub.cfg", text);
        auto menu = simulate_grub2(image_.open(), disk, "/boot/grub/grub.cfg");
        EXPECT_TRUE(menu.has_value()) << menu.error().message();
        return menu.value_or(BootMenu{});
    }
    void environment(std::string text) const {
        text = "# GRUB Environment Block\n" + text;
        text.resize(1024, '#');
        image_.file("/boot/grub/grubenv", text);
    }
    TemporaryRoot image_;
};

// Written in the shape of what update-grub of Debian makes.
constexpr std::string_view kDebian = R"(# made by update-grub
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}
if [ x$feature_default_font_path = xy ] ; then
   font=unicode
else
   insmod ext2
   set root='hd9,msdos1'
   font="/usr/share/grub/unicode.pf2"
fi
if loadfont $font ; then
  set gfxmode=auto
  load_video
fi
if [ $feature_timeout_style = xy ] ; then set timeout_style=menu; set timeout=5
else set timeout=5; fi
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-5b1c' {
	load_video
	insmod gzio
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	set root='hd0,msdos1'
	if [ x$feature_platform_search_hint = xy ]; then
	  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 --hint='hd0,msdos1'  5B1C8A06-7a6f-4a4f-9d7e-2f6f3b6f0001
	else
	  search --no-floppy --fs-uuid --set=root 5b1c8a06-7a6f-4a4f-9d7e-2f6f3b6f0001
	fi
	echo	'Loading Linux 6.1 ...'
	linux	/boot/vmlinuz-2 root=UUID=5b1c ro  quiet console=hvc0
	echo	'Loading initial ramdisk ...'
	initrd	/boot/initrd-2
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-5b1c' {
	menuentry 'Debian, with Linux 2' $menuentry_id_option 'gnulinux-2-advanced' {
		linux	/boot/vmlinuz-2 root=UUID=5b1c ro
		initrd	/boot/microcode.img /boot/initrd-2
	}
	menuentry 'Debian, with Linux 1' $menuentry_id_option 'gnulinux-1-advanced' {
		linux	/boot/vmlinuz-1 root=UUID=5b1c ro "quoted=a b"
		initrd	/boot/initrd-1
	}
}
)";

TEST_F(Grub2Menu, BreakAndContinueAreAboutLoops) {
    image_.file("/boot/vmlinuz-2", "x");
    const auto menu = simulate(
        "for k in 3 2 1; do if [ -f /boot/vmlinuz-$k ]; then found=$k; break; fi; done\n"
        "for a in 1 2; do for b in 1 2; do if [ $b = 2 ]; then continue 2; fi; "
        "seen=$seen$a$b; done; seen=${seen}x; done\n"
        "while true; do left=yes; break; done\n"
        "return\n"
        "function f { for c in 1 2; do return; done; seen=f; }\n"
        "f\n"
        "menuentry \"$found $seen $left\" { linux /boot/vmlinuz-2 }\n");
    ASSERT_EQ(menu.entries.size(), 1U);
    EXPECT_EQ(menu.entries[0].title, "2 1121 yes");
}

TEST_F(Grub2Menu, IsNotShownWhereACommandOutsideOfItLeaves) {
    constexpr const char* kEntry = "menuentry a { linux /boot/vmlinuz-1\n exit }\n";
    for (const std::string_view command :
         {"exit", "if true; then halt; fi", "function f { reboot; }\nf", "linux /x\nboot"}) {
        const auto menu = simulate(fmt::format("{}{}\nmenuentry b {{ }}\n", kEntry, command));
        EXPECT_EQ(menu.entries.size(), 1U) << command;
        EXPECT_TRUE(menu.order.empty()) << command;
        ASSERT_EQ(menu.findings.size(), 1U) << command;
        EXPECT_EQ(menu.findings[0].id, "grub-cfg-ends");
        EXPECT_THAT(menu.findings[0].where, testing::StartsWith("/boot/grub/grub.cfg:"));
    }
    // A BIOS has no setup to go to; a submenu leaves when it is chosen.
    for (const std::string_view command : {"fwsetup", "boot", "submenu s { exit }"}) {
        const auto menu = simulate(fmt::format("{}{}\n", kEntry, command));
        EXPECT_EQ(menu.entries.size(), 1U) << command;
        EXPECT_EQ(menu.order.size(), 1U) << command;
        EXPECT_TRUE(menu.findings.empty()) << command;
    }
}

/// Each question to the filesystem counts: a script cannot keep asking for hours.
TEST_F(Grub2Menu, EndsWhenItKeepsAskingForFiles) {
    for (int i = 0; i < 300; ++i) {
        image_.link(fmt::format("/boot/loader/entries/{}.conf", i), "nowhere");
    }
    const auto menu = simulate("while true; do blscfg; done\n");
    ASSERT_FALSE(menu.findings.empty());
    EXPECT_EQ(menu.findings.back().id, "grub-cfg-too-complex");
}

TEST_F(Grub2Menu, GoesOnWhereAFileIsUsedAsADirectory) {
    image_.file("/boot/loader/entries", "no directory");
    const auto menu = simulate(
        "source /boot/grub/grub.cfg/x\nblscfg\n"
        "menuentry a { linux /vmlinuz-2/x; initrd /initrd-2/x; }\n");
    EXPECT_EQ(menu.entries.size(), 1U);
    EXPECT_FALSE(menu.findings.empty());
}

TEST_F(Grub2Menu, RunsWhatDebianMakes) {
    const auto menu = simulate(kDebian);
    ASSERT_EQ(menu.entries.size(), 3U);
    EXPECT_EQ(menu.kind, BootMenuKind::grub2);
    EXPECT_EQ(menu.entries[0].title, "Debian GNU/Linux");
    EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-2");
    EXPECT_EQ(menu.entries[0].arguments, "root=UUID=5b1c ro quiet console=hvc0");
    EXPECT_THAT(menu.entries[0].initrds, ElementsAre("/boot/initrd-2"));
    EXPECT_EQ(menu.entries[0].where, "/boot/grub/grub.cfg:40");
    EXPECT_EQ(menu.entries[0].kernel_where, "/boot/grub/grub.cfg:51");
    EXPECT_THAT(menu.entries[1].initrds, ElementsAre("/boot/microcode.img", "/boot/initrd-2"));
    EXPECT_EQ(menu.entries[2].arguments, "root=UUID=5b1c ro \"quoted=a b\"");
    EXPECT_THAT(menu.order, ElementsAre(0U));
    EXPECT_THAT(menu.findings, IsEmpty());
}

TEST_F(Grub2Menu, F25FollowsSavedEntriesThroughSubmenus) {
    constexpr std::string_view kSaved = R"(load_env
set default="${saved_entry}"
menuentry 'first' --id 'a' { linux /boot/vmlinuz-0 }
submenu 'more > less' --id 'sub' {
  menuentry 'two' --id b { linux16 /boot/vmlinuz-1 root=/dev/sda1 ; initrd16 /boot/initrd-1 ; }
  menuentry 'three' --id c { linuxefi /boot/vmlinuz-2 ; savedefault }
}
)";
    struct Case {
        std::string saved;
        std::size_t entry;
    };
    for (const auto& c : {Case{"1>1", 2}, Case{"1", 1}, Case{"sub>b", 1}, Case{"sub>c", 2},
                          Case{"more >> less>three", 2}, Case{"first", 0}, Case{"9", 0},
                          Case{"gone", 0}, Case{"a", 0}, Case{"sub>1", 2}}) {
        SCOPED_TRACE(c.saved);
        environment("saved_entry=" + c.saved + "\n");
        const auto menu = simulate(kSaved);
        ASSERT_EQ(menu.entries.size(), 3U);
        EXPECT_EQ(menu.entries[1].arguments, "root=/dev/sda1");
        EXPECT_THAT(menu.order, ElementsAre(c.entry));
    }
}

TEST_F(Grub2Menu, F25KnowsTheWholeDiskFromItsPartitions) {
    constexpr std::string_view kText = R"(set root='hd0'
menuentry whole { linux /boot/vmlinuz-1 }
menuentry label { search --label --set=root root ; linux /boot/vmlinuz-1 }
menuentry file { search -f --set=root /boot/marker ; linux /boot/vmlinuz-1 }
menuentry other { set root=(hd1,1) ; linux /boot/vmlinuz-1 }
menuentry gpt { linux (hd0,gpt1)/boot/vmlinuz-1 }
menuentry old { linux (hd0,1)/boot/vmlinuz-1 }
)";
    image_.file("/boot/marker", "");
    const auto menu = simulate(kText);
    ASSERT_EQ(menu.entries.size(), 6U);
    EXPECT_EQ(menu.entries[0].other_disk, "(hd0)");
    EXPECT_EQ(menu.entries[1].other_disk, "");
    EXPECT_EQ(menu.entries[1].kernel, "/boot/vmlinuz-1");
    EXPECT_EQ(menu.entries[2].other_disk, "");
    EXPECT_EQ(menu.entries[3].other_disk, "(hd1,1)");
    EXPECT_EQ(menu.entries[4].other_disk, "(hd0,gpt1)");
    EXPECT_EQ(menu.entries[5].other_disk, "");
}

TEST_F(Grub2Menu, FindsTheKernelsOfASeparateBoot) {
    constexpr std::string_view kText = R"(
menuentry a { linux /vmlinuz-1 root=/dev/sda2 ; initrd /initrd-1 }
menuentry b { search --no-floppy --fs-uuid --set 5b1c8a06-7a6f-4a4f-9d7e-2f6f3b6f0001
 linux /boot/vmlinuz-1 }
fallback=1
)";
    for (const bool gpt : {false, true}) {
        const auto menu = simulate(kText, separate_boot(gpt));
        ASSERT_EQ(menu.entries.size(), 2U);
        EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-1");
        EXPECT_THAT(menu.entries[0].initrds, ElementsAre("/boot/initrd-1"));
        EXPECT_EQ(menu.entries[1].kernel, "/boot/vmlinuz-1");
        EXPECT_THAT(menu.order, ElementsAre(0U, 1U));
    }
}

// Written in the shape of RHEL 8's grub2-mkconfig.
TEST_F(Grub2Menu, F25ReadsBlsEntriesNewestFirst) {
    const std::string id = "4f3c2b1a00000000000000000000000f";
    for (const auto& [version, title] :
         {std::pair{"4.18.0-80.el8", "old"}, {"4.18.0-305.el8", "new"}, {"0-rescue", "rescue"}}) {
        image_.file(fmt::format("/boot/loader/entries/{}-{}.conf", id, version),
                    fmt::format("title {}\nversion {}\nlinux /vmlinuz-{}\ninitrd /initramfs-{}.img "
                                "$tuned_initrd\noptions $kernelopts $tuned_params\n",
                                title, version, version, version));
    }
    environment(
        fmt::format("saved_entry={}-4.18.0-80.el8\nkernelopts=root=UUID=5b1c ro "
                    "console=hvc0 \nboot_success=0\n",
                    id));
    const auto menu = simulate(R"(if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
set default="${saved_entry}"
search --no-floppy --fs-uuid --set=boot 5b1c8a06-7a6f-4a4f-9d7e-2f6f3b6f0002
insmod blscfg
blscfg
)",
                               separate_boot());
    EXPECT_EQ(menu.kind, BootMenuKind::boot_loader_spec);
    ASSERT_EQ(menu.entries.size(), 3U);
    EXPECT_EQ(menu.entries[0].title, "new");
    EXPECT_EQ(menu.entries[2].title, "rescue");
    EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-4.18.0-305.el8");
    EXPECT_THAT(menu.entries[0].initrds, ElementsAre("/boot/initramfs-4.18.0-305.el8.img"));
    EXPECT_EQ(menu.entries[0].arguments, "root=UUID=5b1c ro console=hvc0");
    EXPECT_THAT(menu.order, ElementsAre(1U));
    EXPECT_THAT(menu.entries[1].where, HasSubstr("4.18.0-80.el8.conf:3"));
}

TEST_F(Grub2Menu, F22PassesOverEntriesThatStartNoLinux) {
    const auto menu = simulate(R"(
menuentry chain { set root=(hd0,1) ; chainloader +1 }
menuentry menu { configfile (hd0,2)/boot/grub/other.cfg }
menuentry xen { multiboot2 /boot/xen.gz dom0_mem=256M ; module2 /boot/vmlinuz-1 }
menuentry linux { linux /boot/vmlinuz-1 }
)");
    ASSERT_EQ(menu.entries.size(), 4U);
    EXPECT_EQ(menu.entries[0].kernel, "");
    EXPECT_EQ(menu.entries[1].kernel, "");
    EXPECT_TRUE(menu.entries[2].is_hypervisor);
    EXPECT_FALSE(menu.entries[3].is_hypervisor);
}

TEST_F(Grub2Menu, ReadsOtherFilesAndLeavesTheirVariablesThere) {
    image_.file("/boot/grub/custom.cfg",
                "menuentry custom { linux /boot/vmlinuz-$v ; }\nset v=2\n");
    const auto menu = simulate(R"(set v=1
if [ -f ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
menuentry after { linux /boot/vmlinuz-$v ; }
for f in a b ; do menuentry $f { linux /boot/vmlinuz-$f } ; done
)");
    ASSERT_EQ(menu.entries.size(), 4U);
    EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-1");
    EXPECT_EQ(menu.entries[0].where, "/boot/grub/custom.cfg:1");
    EXPECT_EQ(menu.entries[1].kernel, "/boot/vmlinuz-2");
    EXPECT_EQ(menu.entries[3].title, "b");
}

TEST_F(Grub2Menu, HandsOverToConfigfileAndToAMenuOfGrubLegacy) {
    image_.file("/boot/grub2/grub.cfg", "menuentry far { linux /boot/vmlinuz-1 }\n");
    const auto far = simulate("configfile /boot/grub2/grub.cfg\n");
    EXPECT_EQ(far.path, "/boot/grub2/grub.cfg");
    EXPECT_THAT(far.order, ElementsAre(0U));
    EXPECT_EQ(simulate("set timeout=5\nlegacy_configfile /boot/grub/menu.lst\n").legacy_menu,
              "/boot/grub/menu.lst");
}

TEST_F(Grub2Menu, SaysWhereTheTextStopsToMakeSense) {
    const auto menu = simulate("menuentry a { linux /boot/vmlinuz-1 }\nif true\nthen\n echo x\n");
    ASSERT_EQ(menu.findings.size(), 1U);
    EXPECT_EQ(menu.findings[0].id, "grub-cfg-syntax");
    EXPECT_THAT(menu.findings[0].seen, HasSubstr("'fi' is missing"));
    EXPECT_EQ(menu.entries.size(), 1U);
}

TEST_F(Grub2Menu, EndsWhateverTheTextSays) {
    std::string doubling = "set a=xxxxxxxxxxxxxxxx\n";
    for (int i = 0; i < 64; ++i) doubling += "set a=$a$a\n";
    std::string deep;
    for (int i = 0; i < 5000; ++i) deep += "if true; then ";
    std::string submenus;
    for (int i = 0; i < 200; ++i) submenus += "submenu s {\n";
    for (const auto& text :
         {doubling, deep, submenus, std::string("while true; do set a=1; done\n"),
          std::string("function f { f ; f ; }\nf\n"), std::string("source /boot/grub/grub.cfg\n"),
          std::string("for a in 1 2 3 4 5 6 7 8 9 ; do source /boot/grub/grub.cfg ; done\n"),
          std::string("until false; do menuentry x { linux /x } ; done\n"),
          std::string("configfile /boot/grub/grub.cfg\n"), std::string(100000, '{'),
          std::string(100000, '$'), std::string("menuentry 'x"), std::string("\"${"),
          std::string("\\"), std::string(50000, '(') + "\n[ " + std::string(50000, '(')}) {
        const auto menu = simulate(text);
        EXPECT_LE(menu.entries.size(), kMaxSimulatedEntries);
    }
    std::string test = "if [";
    for (int i = 0; i < 20000; ++i) test += " ! (";
    simulate(test + " ]; then true; fi\n");
}

TEST(BlsVersions, AreComparedAsRpmDoes) {
    EXPECT_TRUE(is_newer_version("4.18.0-305", "4.18.0-80"));
    EXPECT_FALSE(is_newer_version("4.18.0-80", "4.18.0-305"));
    EXPECT_FALSE(is_newer_version("1.0", "1.0"));
    EXPECT_TRUE(is_newer_version("1.0.1", "1.0"));
    EXPECT_TRUE(is_newer_version("1.10", "1.9a"));
    EXPECT_TRUE(is_newer_version("1.1", "1.el8"));
}

class ExtlinuxMenu : public testing::Test {
  protected:
    BootMenu simulate(std::string_view text) {
        image_.file("/boot/extlinux/extlinux.conf", text);
        auto menu =
            simulate_extlinux(image_.open(), separate_boot(), "/boot/extlinux/extlinux.conf");
        EXPECT_TRUE(menu.has_value()) << menu.error().message();
        return menu.value_or(BootMenu{});
    }
    TemporaryRoot image_;
};

TEST_F(ExtlinuxMenu, ReadsLabelsPathsAndTheDefault) {
    image_.file("/boot/extlinux/linux.cfg",
                "label l0\n\tmenu label ^Debian, kernel 2\n\tlinux /vmlinuz-2\n"
                "\tappend initrd=/initrd-2 root=/dev/sda2 ro\n"
                "label l1\n  KERNEL ../vmlinuz-1\n  INITRD /ucode.img,/initrd-1\n  append -\n"
                "label disk\n  localboot 0x80\n");
    const auto menu = simulate(
        "DEFAULT menu.c32\nprompt 0\nappend quiet\nONTIMEOUT L1\n"
        "menu include linux.cfg\ninclude gone.cfg\n");
    ASSERT_EQ(menu.entries.size(), 3U);
    EXPECT_EQ(menu.entries[0].title, "Debian, kernel 2");
    EXPECT_EQ(menu.entries[0].kernel, "/boot/vmlinuz-2");
    EXPECT_THAT(menu.entries[0].initrds, ElementsAre("/boot/initrd-2"));
    EXPECT_EQ(menu.entries[0].arguments, "root=/dev/sda2 ro");
    EXPECT_EQ(menu.entries[0].kernel_where, "/boot/extlinux/linux.cfg:3");
    EXPECT_EQ(menu.entries[1].kernel, "/boot/extlinux/../vmlinuz-1");
    EXPECT_THAT(menu.entries[1].initrds, ElementsAre("/boot/ucode.img", "/boot/initrd-1"));
    EXPECT_EQ(menu.entries[1].arguments, "");
    EXPECT_EQ(menu.entries[2].kernel, "");
    EXPECT_THAT(menu.order, ElementsAre(1U));
    ASSERT_EQ(menu.findings.size(), 1U);
    EXPECT_EQ(menu.findings[0].id, "extlinux-include-missing");
}

TEST_F(ExtlinuxMenu, GoesOnWithoutWhatIsNoFile) {
    const auto menu = simulate("include extlinux.conf/x\ninclude ..\nlabel a\nlinux /vmlinuz-1\n");
    EXPECT_EQ(menu.order.size(), 1U);
    ASSERT_EQ(menu.findings.size(), 2U);
    EXPECT_EQ(menu.findings[0].id, "extlinux-include-missing");
    EXPECT_THAT(menu.findings[0].seen, HasSubstr("a file is used as a directory"));
    EXPECT_THAT(menu.findings[1].seen, HasSubstr("is a directory"));
}

TEST_F(ExtlinuxMenu, EndsWhenFilesIncludeThemselves) {
    EXPECT_EQ(simulate("include extlinux.conf\nlabel a\nlinux /vmlinuz-1\n").order.size(), 1U);
}

class PartitionedFacts : public testing::Test {
  protected:
    PartitionedFacts() { add_kernels(image_); }
    ImageFacts inspect(const BootDisk& disk) {
        auto facts = inspect_image(image_.open(), disk);
        EXPECT_TRUE(facts.has_value()) << facts.error().message();
        return facts.value_or(ImageFacts{});
    }
    TemporaryRoot image_;
};

TEST_F(PartitionedFacts, F24TellsAKernelThatOnlyALinkToNothingNames) {
    image_.link("/vmlinuz", "boot/vmlinuz-3.2.0-23-virtual");
    image_.file("/boot/grub/grub.cfg", "menuentry a { linux /vmlinuz }\n");
    const auto facts = inspect(one_partition());
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "kernel-missing");
    EXPECT_EQ(facts.menu_kind, BootMenuKind::grub2);
}

TEST_F(PartitionedFacts, TellsOfADefaultThatCannotBoot) {
    image_.file("/boot/grub/grub.cfg",
                "menuentry xen { multiboot /boot/xen.gz }\nmenuentry ok { linux "
                "/boot/vmlinuz-1\n initrd /boot/initrd-1 }\n");
    const auto facts = inspect(one_partition());
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_EQ(facts.first_refusal(), nullptr);
    EXPECT_TRUE(facts.must_set_default);
    const auto* told = find_finding(facts, "default-entry-does-not-boot");
    ASSERT_NE(told, nullptr);
    EXPECT_THAT(told->seen, HasSubstr("starts the hypervisor /boot/xen.gz"));
}

TEST_F(PartitionedFacts, F10F11ReadsAGrubLegacyMenuOfASeparateBoot) {
    image_.file("/boot/grub/grub.conf",
                "default=1\ntitle other\nroot (hd0,4)\nkernel /vmlinuz-2\n"
                "title main\nroot (hd0,0)\nkernel /vmlinuz-2 ro root=/dev/sda2\ninitrd /initrd-2\n"
                "title explicit\nkernel (hd0,1)/boot/vmlinuz-1 root=/dev/sda2\n"
                "title none\nkernel /vmlinuz-1\n");
    auto disk = separate_boot();
    disk.code = BootCode::grub_legacy;
    const auto facts = inspect(disk);
    EXPECT_EQ(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.menu_kind, BootMenuKind::grub_legacy);
    ASSERT_EQ(facts.boot_entries.size(), 4U);
    EXPECT_EQ(facts.boot_entries[0].other_disk, "(hd0,4)");
    EXPECT_EQ(facts.boot_entries[1].kernel, "/boot/vmlinuz-2");
    EXPECT_EQ(facts.boot_entries[2].kernel, "/boot/vmlinuz-1");
    EXPECT_EQ(facts.boot_entries[3].kernel, "/boot/vmlinuz-1");
    EXPECT_EQ(facts.boot_entry, 1U);
}

TEST_F(PartitionedFacts, F23LeavesEntriesByUuidToWhereTheMenuLies) {
    image_.file("/boot/grub/menu.lst",
                "default 0\ntitle uuid\nuuid 1111-2222\nkernel /boot/vmlinuz-2\ninitrd "
                "/boot/initrd-2\ntitle find\nfind --set-root /boot/x\nkernel /boot/vmlinuz-1\n");
    auto disk = one_partition();
    disk.code = BootCode::grub_legacy;
    EXPECT_EQ(inspect(disk).boot_entry, 0U);
}

TEST_F(PartitionedFacts, RefusesADiskThatNothingStarts) {
    image_.file("/boot/grub/grub.cfg", "menuentry a { linux /boot/vmlinuz-1 }\n");
    auto disk = one_partition();
    disk.code = BootCode::none;
    const auto refused = inspect(disk);
    ASSERT_NE(refused.first_refusal(), nullptr);
    EXPECT_EQ(refused.first_refusal()->id, "no-boot-loader");
    disk.has_system_partition = true;
    const auto by_uefi = inspect(disk);
    ASSERT_NE(by_uefi.first_refusal(), nullptr);
    EXPECT_EQ(by_uefi.first_refusal()->id, "uefi-only");
}

TEST_F(PartitionedFacts, ReadsAnEarlierConversion) {
    image_.file("/boot/amilift/grub.cfg", "legacy_configfile /boot/grub/menu.lst\n");
    image_.file("/boot/grub/menu.lst",
                "title a\nroot (hd0,0)\nkernel /boot/vmlinuz-1\ninitrd /boot/initrd-1\n");
    image_.link("/etc/grub.conf", "../boot/grub/menu.lst");
    const auto facts = inspect(one_partition());
    EXPECT_EQ(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.menu_kind, BootMenuKind::grub_legacy);
    EXPECT_EQ(facts.menu_path, "/boot/grub/menu.lst");
    EXPECT_THAT(facts.menu_links, ElementsAre("/boot/grub/menu.lst", "/etc/grub.conf"));
    EXPECT_EQ(facts.boot_entry, 0U);
}

}  // namespace
}  // namespace amilift::image
