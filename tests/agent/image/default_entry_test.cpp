// SPDX-License-Identifier: Apache-2.0
#include "image/default_entry.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

std::string block(std::string text) {
    text = "# GRUB Environment Block\n" + text;
    text.resize(1024, '#');
    return text;
}

/// Entries "new", whose kernel is gone with its initrd, and, in a submenu, older ones that boot.
constexpr std::string_view kEntries =
    "menuentry 'Linux 3' --id new {\n linux /boot/vmlinuz-2\n initrd /boot/initrd-gone\n}\n"
    "submenu 'Advanced options' --id=advanced {\n"
    " menuentry 'Linux 1' --id one { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n }\n"
    " menuentry 'Linux 2' { linux /boot/vmlinuz-2\n initrd /boot/initrd-2\n }\n"
    "}\n";

class DefaultEntry : public testing::Test {
  protected:
    DefaultEntry() {
        add_kernels(image_);
        disk_.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11", .label = {}}};
        disk_.code = BootCode::grub2;
    }
    ImageFacts inspect() const {
        auto facts = inspect_image(image_.open(), disk_);
        EXPECT_TRUE(facts.has_value()) << facts.error().message();
        return facts.value_or(ImageFacts{});
    }
    /// Does the edit that was found; the image then boots by itself what was chosen before.
    void repair(std::string_view path, DefaultForm form) {
        const auto facts = inspect();
        EXPECT_EQ(facts.first_refusal(), nullptr);
        ASSERT_TRUE(facts.must_set_default);
        ASSERT_TRUE(facts.default_edit.has_value());
        const auto& edit = *facts.default_edit;
        EXPECT_EQ(edit.path, path);
        EXPECT_EQ(edit.form, form);
        const auto* told = find_finding(facts, "default-entry-does-not-boot");
        ASSERT_NE(told, nullptr);
        EXPECT_EQ(told->action, "amilift makes that entry the default");
        const auto edited = set_default_entry(image_.text_of(path), edit);
        EXPECT_FALSE(edited.changes.empty());
        image_.file(path, edited.text);
        EXPECT_TRUE(boots_by_default(image_.open(), facts).value());
        const auto after = inspect();
        EXPECT_EQ(after.boot_entry, facts.boot_entry);
        EXPECT_FALSE(after.must_set_default);
        EXPECT_FALSE(after.default_edit.has_value());
        EXPECT_TRUE(set_default_entry(edited.text, edit).changes.empty());
    }
    TemporaryRoot image_;
    BootDisk disk_;
};

TEST_F(DefaultEntry, IsTheNewestThatBoots) {
    image_.file("/boot/grub/grub.cfg", kEntries);
    const auto facts = inspect();
    EXPECT_EQ(facts.boot_entry, 2U);
    EXPECT_EQ(facts.boot_entries[0].choice, "new");
    EXPECT_EQ(facts.boot_entries[1].choice, "advanced>one");
    EXPECT_EQ(facts.boot_entries[2].choice, "advanced>Linux 2");
}

TEST_F(DefaultEntry, IsSetInTheConfiguration) {
    image_.file("/boot/grub/grub.cfg",
                fmt::format("if [ \"${{next_entry}}\" ] ; then\n  set default=\"${{next_entry}}\"\n"
                            "else\n  set default=\"0\"\nfi\n{}",
                            kEntries));
    repair("/boot/grub/grub.cfg", DefaultForm::grub_cfg);
    EXPECT_THAT(image_.text_of("/boot/grub/grub.cfg"),
                HasSubstr("set default=\"${next_entry}\"\nelse\n  set default=\"advanced>Linux "
                          "2\"\nfi\n"));
}

TEST_F(DefaultEntry, IsAddedToAConfigurationWithoutOne) {
    image_.file("/boot/grub2/grub.cfg", kEntries);
    repair("/boot/grub2/grub.cfg", DefaultForm::grub_cfg);
    EXPECT_THAT(image_.text_of("/boot/grub2/grub.cfg"),
                testing::StartsWith("set default=\"advanced>Linux 2\"\nmenuentry"));
}

TEST_F(DefaultEntry, IsSavedWhereTheConfigurationAsksForIt) {
    image_.file("/boot/grub/grub.cfg",
                fmt::format("load_env\nset default=\"${{saved_entry}}\"\n{}", kEntries));
    for (const std::string_view saved : {"", "saved_entry=new\nkernelopts=ro\n"}) {
        image_.file("/boot/grub/grubenv", block(std::string(saved)));
        repair("/boot/grub/grubenv", DefaultForm::environment);
        const auto text = image_.text_of("/boot/grub/grubenv");
        EXPECT_EQ(text.size(), 1024U);
        EXPECT_THAT(text, HasSubstr("saved_entry=advanced>Linux 2\n"));
    }
    EXPECT_THAT(image_.text_of("/boot/grub/grubenv"), HasSubstr("kernelopts=ro\n"));
}

TEST_F(DefaultEntry, OfBootLoaderSpecificationEntriesIsSavedByTheirName) {
    image_.file("/boot/loader/entries/id-2.conf",
                "title Two\nversion 2\nlinux /boot/vmlinuz-2\ninitrd /boot/gone\n");
    image_.file("/boot/loader/entries/id-1.conf",
                "title One\nversion 1\nlinux /boot/vmlinuz-1\ninitrd /boot/initrd-1\n");
    image_.file("/boot/grub2/grub.cfg",
                "load_env\nif [ -z \"$saved_entry\" ]; then set default=0; else set "
                "default=\"${saved_entry}\"; fi\nblscfg\n");
    image_.file("/boot/grub2/grubenv", block("saved_entry=id-2\n"));
    repair("/boot/grub2/grubenv", DefaultForm::environment);
    EXPECT_THAT(image_.text_of("/boot/grub2/grubenv"), HasSubstr("saved_entry=id-1\n"));
}

TEST_F(DefaultEntry, F25_MayBeAPathOfNumbers) {
    constexpr std::string_view kThree =
        "menuentry a { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n}\n"
        "submenu b {\n"
        " menuentry c { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n}\n"
        " menuentry d { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n}\n"
        " menuentry e { linux /boot/vmlinuz-2\n initrd /boot/initrd-2\n}\n"
        "}\n";
    image_.file("/boot/grub/grub.cfg", fmt::format("set default=\"1>2\"\n{}", kThree));
    const auto facts = inspect();
    EXPECT_EQ(facts.boot_order, std::vector<std::size_t>{3});
    EXPECT_EQ(facts.boot_entry, 3U);
    EXPECT_FALSE(facts.must_set_default);
    // The one that it names does not boot any more.
    std::filesystem::remove(image_.on_host("/boot/initrd-2"));
    repair("/boot/grub/grub.cfg", DefaultForm::grub_cfg);
    EXPECT_THAT(image_.text_of("/boot/grub/grub.cfg"), testing::StartsWith("set default=\"a\"\n"));
    EXPECT_EQ(set_grub_default("GRUB_DEFAULT=\"1>2\"\n", "b>c").text, "GRUB_DEFAULT=\"b>c\"\n");
}

TEST_F(DefaultEntry, OfExtlinuxIsALabel) {
    disk_.code = BootCode::extlinux;
    constexpr std::string_view kLabels =
        "label l2\n linux /boot/vmlinuz-2\n initrd /boot/gone\n"
        "label l1\n linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n";
    for (const std::string_view head :
         {"default l2\ntimeout 30\n", "DEFAULT menu.c32\nontimeout l2\n", "default menu.c32\n",
          ""}) {
        image_.file("/boot/extlinux/extlinux.conf", fmt::format("{}{}", head, kLabels));
        repair("/boot/extlinux/extlinux.conf", DefaultForm::extlinux);
    }
}

TEST_F(DefaultEntry, ThatIsChosenByCodeIsRefused) {
    image_.file("/boot/grub/grub.cfg", fmt::format("{}x=0\nset default=${{x}}\n", kEntries));
    const auto facts = inspect();
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "default-does-not-boot");
    EXPECT_EQ(facts.first_refusal()->where, "/boot/grub/grub.cfg:1");
}

TEST_F(DefaultEntry, IsNeverWrittenWithQuotesOfTheImage) {
    image_.file("/boot/grub/grub.cfg",
                "set default=0\nmenuentry gone { linux /boot/gone\n initrd /boot/initrd-1\n}\n"
                "menuentry 'memtest' { linux16 /boot/memtest }\n"
                "menuentry 'a\"; halt; \"' { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n}\n"
                "menuentry 'x>y' { linux /boot/vmlinuz-1\n initrd /boot/initrd-1\n}\n");
    const auto facts = inspect();
    EXPECT_EQ(facts.boot_entries.at(2).choice, "2");
    EXPECT_EQ(facts.boot_entries.at(3).choice, "3");
}

TEST_F(DefaultEntry, IsKeptByGrubMkconfig) {
    EXPECT_EQ(set_grub_default("A=1\nGRUB_DEFAULT=0\n", "a>b c").text,
              "A=1\nGRUB_DEFAULT=\"a>b c\"\n");
    EXPECT_EQ(set_grub_default("export GRUB_DEFAULT='x y'\n", "b").text,
              "export GRUB_DEFAULT=\"b\"\n");
    EXPECT_TRUE(set_grub_default("GRUB_DEFAULT=saved\n", "b").changes.empty());
    EXPECT_EQ(set_grub_default("A=1", "b").text, "A=1\nGRUB_DEFAULT=\"b\"\n");
    EXPECT_TRUE(set_grub_default("GRUB_DEFAULT=\"b\"\n", "b").changes.empty());
    EXPECT_TRUE(assigns_grub_default("GRUB_DEFAULT=1\n"));
    EXPECT_FALSE(assigns_grub_default("# GRUB_DEFAULT=1\n"));
}

TEST_F(DefaultEntry, LeavesADamagedEnvironmentAlone) {
    const DefaultEdit edit{"/boot/grub/grubenv", "x", DefaultForm::environment};
    EXPECT_TRUE(set_default_entry("", edit).changes.empty());
    EXPECT_TRUE(set_default_entry("saved_entry=1\n", edit).changes.empty());
    EXPECT_TRUE(set_default_entry(std::string(1024, '#'), edit).changes.empty());
    auto full = block("a=" + std::string(960, 'b') + "\n");
    EXPECT_FALSE(set_default_entry(full, edit).changes.empty());
    full = block("a=" + std::string(994, 'b') + "\n");
    EXPECT_TRUE(set_default_entry(full, edit).changes.empty());
    EXPECT_EQ(set_default_entry(full, edit).text, full);
}

}  // namespace
}  // namespace amilift::image
