// SPDX-License-Identifier: Apache-2.0
#include "modules/menu.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/agent/image/menu_samples.hpp"
#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class MenuModule : public TextModuleTest {
  protected:
    MenuModule() { image::add_usual_files(source_); }
};

TEST_F(MenuModule, ConvertsTheLiveMenu) {
    REQUIRE_ROOT_TO_WRITE();
    convert(menu_module());
    EXPECT_EQ(target_.text_of("/boot/grub/menu.lst"),
              "default=0\n"
              "timeout=1\n"
              "title new\n"
              "root (hd0,0)\n"
              "kernel /boot/vmlinuz-2 root=LABEL=/ console=tty0 console=ttyS0,115200n8\n"
              "initrd /boot/initrd-2\n"
              "title old\n"
              "root (hd0,0)\n"
              "kernel /boot/vmlinuz-1 root=LABEL=/ console=tty0 console=ttyS0,115200n8\n"
              "initrd /boot/initrd-1\n");
    EXPECT_THAT(texts_, ElementsAre("edit /boot/grub/menu.lst:\n"
                                    "    line 4: root: '(hd0)' -> '(hd0,0)'\n"
                                    "    line 5: kernel: 'console=hvc0' -> 'console=tty0 "
                                    "console=ttyS0,115200n8'\n"
                                    "    line 8: root: '(hd0)' -> '(hd0,0)'\n"
                                    "    line 9: kernel: 'console=hvc0' -> 'console=tty0 "
                                    "console=ttyS0,115200n8'"));
    EXPECT_THAT(proofs_, Contains("/boot/grub/menu.lst: entry 0 has root=LABEL=/ console=tty0 "
                                  "console=ttyS0,115200n8"));
    ASSERT_THAT(manifest_.entries(), SizeIs(1));
    EXPECT_EQ(manifest_.entries()[0].path, "/boot/grub/menu.lst");
    EXPECT_EQ(manifest_.entries()[0].module, "menu");
}

TEST_F(MenuModule, PlansWithoutTouchingTheSource) {
    plan(menu_module());
    EXPECT_EQ(source_.text_of("/boot/grub/menu.lst"), image::kTwoEntries);
}

TEST_F(MenuModule, KeepsLinksAndEditsWhatTheyLeadToOnce) {
    REQUIRE_ROOT_TO_WRITE();
    std::filesystem::rename(source_.on_host("/boot/grub/menu.lst"),
                            source_.on_host("/boot/grub/grub.conf"));
    source_.link("/boot/grub/menu.lst", "./grub.conf");
    source_.link("/etc/grub.conf", "/boot/grub/grub.conf");
    convert(menu_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("edit /boot/grub/grub.conf:")));
    const auto root = target_.open();
    EXPECT_EQ(root.read_link("/boot/grub/menu.lst").value(), "./grub.conf");
    EXPECT_EQ(root.read_link("/etc/grub.conf").value(), "/boot/grub/grub.conf");
    EXPECT_THAT(target_.text_of("/boot/grub/grub.conf"), HasSubstr("root (hd0,0)\n"));
}

TEST_F(MenuModule, EditsEveryMenuThatIsThere) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/grub/grub.conf", "default=1\n" + std::string(image::kTwoEntries));
    source_.file("/grub/menu.lst", image::kTwoEntries);
    source_.file("/etc/grub.conf", image::kTwoEntries);
    convert(menu_module());
    EXPECT_THAT(texts_, SizeIs(4));
    EXPECT_THAT(texts_.front(), HasSubstr("edit /boot/grub/menu.lst:"));
    for (const std::string_view path :
         {"/boot/grub/grub.conf", "/grub/menu.lst", "/etc/grub.conf"}) {
        EXPECT_THAT(target_.text_of(path), HasSubstr("root (hd0,0)\n")) << path;
    }
}

TEST_F(MenuModule, NamesTheRootByUuidWhereAnInitrdIs) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/grub/menu.lst",
                 "title a\nroot (hd0)\nkernel /boot/vmlinuz-2 root=/dev/sda2 ro\n"
                 "initrd /boot/initrd-2\n"
                 "title b\nroot (hd0)\nkernel /boot/vmlinuz-1 root=/dev/sda2 ro\n");
    convert(menu_module());
    const auto text = target_.text_of("/boot/grub/menu.lst");
    EXPECT_THAT(text, HasSubstr("/boot/vmlinuz-2 root=UUID=" + std::string(kRootUuid) + " ro "));
    EXPECT_THAT(text, HasSubstr("/boot/vmlinuz-1 root=/dev/sda2 ro "));
}

TEST_F(MenuModule, MakesTheEntryThatBootsTheDefaultInTheLiveMenuOnly) {
    REQUIRE_ROOT_TO_WRITE();
    std::filesystem::remove(source_.on_host("/boot/vmlinuz-2"));
    source_.file("/boot/grub/grub.conf", image::kTwoEntries.substr(0, 80));
    convert(menu_module());
    EXPECT_THAT(target_.text_of("/boot/grub/menu.lst"), HasSubstr("default=1\n"));
    EXPECT_THAT(target_.text_of("/boot/grub/grub.conf"), HasSubstr("default=0\n"));
    EXPECT_THAT(texts_.front(), HasSubstr("line 1: default: '0' -> '1'"));
}

TEST_F(MenuModule, HasNothingToDoForAConvertedMenu) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/grub/menu.lst",
                 "title a\nroot (hd0,0)\nkernel /boot/vmlinuz-2 root=LABEL=/ console=ttyS0\n"
                 "initrd /boot/initrd-2\n");
    convert(menu_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_THAT(manifest_.entries(), IsEmpty());
}

TEST_F(MenuModule, DoesNotOverwriteWhatItDidNotPlanFor) {
    REQUIRE_ROOT_TO_WRITE();
    const auto steps = plan(menu_module());
    target_.file("/boot/grub/menu.lst", "title other\n");
    const auto applied = apply(steps);
    ASSERT_FALSE(applied.has_value());
    EXPECT_EQ(applied.error().code, core::Errc::conflict);
    EXPECT_EQ(target_.text_of("/boot/grub/menu.lst"), "title other\n");
}

TEST_F(MenuModule, CanBeAppliedAgainAfterACrash) {
    REQUIRE_ROOT_TO_WRITE();
    const auto steps = plan(menu_module());
    ASSERT_TRUE(apply(steps).has_value());
    const auto text = target_.text_of("/boot/grub/menu.lst");
    ASSERT_TRUE(apply(steps).has_value());
    EXPECT_EQ(target_.text_of("/boot/grub/menu.lst"), text);
}

TEST_F(MenuModule, FailsToVerifyWhatIsNotConverted) {
    plan(menu_module());  // the target is a copy of the source, nothing was applied
    const auto proofs = verify(menu_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, AllOf(HasSubstr("/boot/grub/menu.lst"), HasSubstr("line 4")));
    std::filesystem::remove(target_.on_host("/boot/grub/menu.lst"));
    EXPECT_FALSE(verify(menu_module()).has_value());
}

TEST_F(MenuModule, FailsToVerifyAMenuWithoutTheEntryThatBoots) {
    plan(menu_module());
    target_.file("/boot/grub/menu.lst", "timeout 1\n");
    const auto proofs = verify(menu_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, HasSubstr("has no entry 0"));
}

TEST_F(MenuModule, ConvertsTheMenusOfTheField) {
    REQUIRE_ROOT_TO_WRITE();
    for (const auto& sample : image::kMenuSamples) {
        const auto menu = image::parse_menu(sample.text);
        if (menu.entries.empty()) continue;
        // Each file that the menu names is made, so that the entry boots.
        for (const auto& entry : menu.entries) {
            if (entry.kernel.starts_with('/')) source_.file(entry.kernel, image::bz_image("1"));
            if (entry.initrd.starts_with('/')) source_.file(entry.initrd, "initrd");
        }
        source_.file("/boot/grub/menu.lst", sample.text);
        if (!image::inspect_image(source_.open()).value().boot_entry) continue;
        SCOPED_TRACE(sample.name);
        texts_.clear();
        manifest_ = Manifest();
        convert(menu_module());
    }
}

}  // namespace
}  // namespace amilift::modules
