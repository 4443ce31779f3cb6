// SPDX-License-Identifier: Apache-2.0
#include "image/facts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class Facts : public testing::Test {
  protected:
    Facts() { add_usual_files(image_); }
    ImageFacts inspect() const { return inspect_image(image_.open()).value(); }
    std::string refusal() const {
        const auto facts = inspect();
        return facts.first_refusal() == nullptr ? "" : facts.first_refusal()->id;
    }
    void remove(std::string_view inside) const {
        std::filesystem::remove_all(image_.on_host(inside));
    }
    TemporaryRoot image_;
};

TEST_F(Facts, DescribesAnImage) {
    image_.file("/etc/os-release", "ID=amzn\nVERSION_ID=2014.03\nPRETTY_NAME=\"Amazon Linux\"\n");
    image_.link("/boot/grub/grub.conf", "./menu.lst");
    image_.link("/etc/grub.conf", "/boot/grub/menu.lst");
    const auto facts = inspect();
    EXPECT_EQ(facts.os_id, "amzn");
    EXPECT_EQ(facts.menu_path, "/boot/grub/menu.lst");
    EXPECT_THAT(facts.menu_links,
                ElementsAre("/boot/grub/menu.lst", "/boot/grub/grub.conf", "/etc/grub.conf"));
    EXPECT_EQ(facts.menu_text, kTwoEntries);
    EXPECT_EQ(facts.boot_entry, 0U);
    EXPECT_TRUE(facts.has_fstab);
    EXPECT_EQ(facts.fstab_text, "LABEL=/ / ext3 defaults 1 1\n");
    EXPECT_TRUE(facts.findings.empty()) << facts.findings.front().id;
}

TEST_F(Facts, FindsTheMenuBehindItsNames) {
    remove("/boot/grub/menu.lst");
    EXPECT_EQ(refusal(), "no-menu");
    image_.file("/grub/menu.lst", kTwoEntries);
    image_.link("/boot/boot", ".");
    EXPECT_EQ(inspect().menu_path, "/grub/menu.lst");
    image_.file("/boot/grub/grub.conf", kTwoEntries);
    EXPECT_EQ(inspect().menu_path, "/boot/grub/grub.conf");
    image_.link("/boot/grub/menu.lst", "/boot/grub/grub.conf");
    EXPECT_EQ(inspect().menu_path, "/boot/grub/grub.conf");
    EXPECT_THAT(inspect().menu_links, ElementsAre("/boot/grub/menu.lst", "/boot/grub/grub.conf"));
}

TEST_F(Facts, DoesNotBootFromEtc) {
    remove("/boot/grub/menu.lst");
    image_.file("/etc/grub.conf", kTwoEntries);
    EXPECT_EQ(refusal(), "no-menu");
}

TEST_F(Facts, TellsMenusThatDiffer) {
    image_.file("/boot/grub/grub.conf", "default=1\n" + std::string(kTwoEntries));
    const auto facts = inspect();
    EXPECT_EQ(facts.menu_path, "/boot/grub/menu.lst");
    ASSERT_NE(find_finding(facts, "menus-differ"), nullptr);
    EXPECT_EQ(find_finding(facts, "menus-differ")->where, "/boot/grub/grub.conf");
}

TEST_F(Facts, PassesADanglingMenuLink) {
    remove("/boot/grub/menu.lst");
    image_.link("/boot/grub/menu.lst", "gone.conf");
    image_.file("/boot/grub/grub.conf", kTwoEntries);
    const auto facts = inspect();
    EXPECT_EQ(facts.menu_path, "/boot/grub/grub.conf");
    EXPECT_NE(find_finding(facts, "dangling-menu-link"), nullptr);
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(Facts, RefusesAMenuThatLeadsElsewhere) {
    for (const std::string_view text :
         {"/etc/passwd", "../../../etc/passwd", "../../../../../../boot/grub/grub.cfg"}) {
        remove("/boot/grub/menu.lst");
        image_.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
        image_.link("/boot/grub/menu.lst", text);
        EXPECT_EQ(refusal(), "link-out-of-image") << text;
    }
}

TEST_F(Facts, RefusesABootDirectoryThatLeadsElsewhere) {
    remove("/boot");
    image_.file("/etc/grub/menu.lst", kTwoEntries);
    image_.link("/boot", "/etc");
    EXPECT_EQ(refusal(), "link-out-of-image");
}

TEST_F(Facts, RefusesAMenuThatIsNoText) {
    remove("/boot/grub/menu.lst");
    ASSERT_EQ(::mkfifo(image_.on_host("/boot/grub/menu.lst").c_str(), 0644), 0);
    EXPECT_EQ(refusal(), "menu-unreadable");
    remove("/boot/grub/menu.lst");
    image_.directory("/boot/grub/menu.lst");
    EXPECT_EQ(refusal(), "menu-unreadable");
    remove("/boot/grub/menu.lst");
    image_.link("/boot/grub/menu.lst", "menu.lst");
    EXPECT_EQ(refusal(), "menu-unreadable");
    remove("/boot/grub/menu.lst");
    image_.file("/boot/grub/menu.lst", "");
    ASSERT_EQ(::truncate(image_.on_host("/boot/grub/menu.lst").c_str(), off_t{5} << 30), 0);
    EXPECT_EQ(refusal(), "menu-unreadable");
}

TEST_F(Facts, ReportsAllRefusalsAtOnce) {
    remove("/boot");
    remove("/etc/fstab");
    image_.directory("/etc/fstab");
    const auto facts = inspect();
    std::vector<std::string> ids;
    for (const auto& finding : facts.findings) {
        if (finding.severity == Severity::refusal) ids.push_back(finding.id);
    }
    EXPECT_THAT(ids, ElementsAre("no-menu", "fstab-unreadable"));
}

TEST_F(Facts, TakesAnImageWithoutFstab) {
    remove("/etc/fstab");
    EXPECT_FALSE(inspect().has_fstab);
    EXPECT_EQ(refusal(), "");
}

TEST_F(Facts, RefusesAnEmptyImage) {
    const TemporaryRoot empty;
    const auto facts = inspect_image(empty.open()).value();
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "no-menu");
    EXPECT_THAT(facts.first_refusal()->seen, HasSubstr("/boot/grub/menu.lst"));
}

TEST_F(Facts, F28_TellsALabelThatIsUsedTwice) {
    image_.file("/etc/fstab", "LABEL=/ / ext4 defaults 1 1\nLABEL=/ /second ext4 defaults 0 2\n");
    const auto facts = inspect();
    ASSERT_NE(find_finding(facts, "label-used-twice"), nullptr);
    EXPECT_EQ(find_finding(facts, "label-used-twice")->where, "/etc/fstab:2");
    EXPECT_THAT(find_finding(facts, "label-used-twice")->action,
                HasSubstr("amilift names the root by its UUID"));
    EXPECT_EQ(shared_root_label(facts), "LABEL=/");
    ImageFacts disk;
    disk.fstab_text = "LABEL=/ / ext4 defaults 1 1\nLABEL=x /x ext4 defaults 0 2\n";
    disk.disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "1", .label = "/"},
                         {.partition = 2, .mount_point = {}, .uuid = "2", .label = "x"}};
    EXPECT_EQ(shared_root_label(disk), "");
    disk.disk.volumes[1].label = "/";
    EXPECT_EQ(shared_root_label(disk), "LABEL=/");
    disk.fstab_text.clear();
    EXPECT_EQ(shared_root_label(disk), "LABEL=/") << "root= can name it";
}

TEST(SharedRootLabel, IsThatOfTheRootHoweverItIsWritten) {
    ImageFacts facts;
    facts.disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "1", .label = "rootfs"},
                          {.partition = 2, .mount_point = {}, .uuid = "2", .label = "rootfs"}};
    for (const std::string root : {"LABEL=rootfs", "LABEL=\"rootfs\"", "label='rootfs'",
                                   "/dev/disk/by-label/rootfs", "UUID=1", "LABEL=gone"}) {
        facts.fstab_text = root + " / ext4 defaults 1 1\n";
        EXPECT_EQ(shared_root_label(facts), "LABEL=rootfs") << root;
    }
    facts.disk.volumes.pop_back();
    for (const std::string other :
         {"LABEL=\"rootfs\"", "label=rootfs", "/dev/disk/by-label/rootfs"}) {
        facts.fstab_text = "LABEL=rootfs / ext4 defaults 1 1\n" + other + " /x ext4 defaults 0 2\n";
        EXPECT_EQ(shared_root_label(facts), "LABEL=rootfs") << other;
    }
    facts.fstab_text = "LABEL=rootfs / ext4 defaults 1 1\nUUID=2 /x ext4 defaults 0 2\n";
    EXPECT_EQ(shared_root_label(facts), "");
}

TEST_F(Facts, TellsMarksAndGrub2Configurations) {
    image_.file("/boot/grub/menu.lst", "\xef\xbb\xbf" + std::string(kTwoEntries));
    image_.file("/boot/grub/grub.cfg", "set root='hd0'\n");
    const auto facts = inspect();
    EXPECT_NE(find_finding(facts, "menu-byte-order-mark"), nullptr);
    EXPECT_EQ(find_finding(facts, "grub-cfg-not-used")->severity, Severity::info);
}

TEST_F(Facts, CollectsTheNamesOfTheRoot) {
    image_.file("/boot/grub/menu.lst",
                "title a\nkernel /boot/vmlinuz-2 root=/dev/sda2\ninitrd /boot/initrd-2\n");
    image_.file("/etc/fstab", "/dev/disk/by-id/scsi-x / ext3 defaults 1 1\n");
    const auto names = old_root_devices(inspect());
    EXPECT_THAT(names, Contains("/dev/sda1"));
    EXPECT_THAT(names, Contains("/dev/xvde1"));
    EXPECT_THAT(names, Contains("/dev/sda2"));
    EXPECT_THAT(names, Contains("/dev/disk/by-id/scsi-x"));
}

TEST_F(Facts, NeverChangesTheImage) {
    const auto before = std::filesystem::last_write_time(image_.on_host("/boot/grub"));
    inspect();
    EXPECT_EQ(std::filesystem::last_write_time(image_.on_host("/boot/grub")), before);
    EXPECT_EQ(image_.text_of("/boot/grub/menu.lst"), kTwoEntries);
}

}  // namespace
}  // namespace amilift::image
