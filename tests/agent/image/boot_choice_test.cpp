// SPDX-License-Identifier: Apache-2.0
#include "image/boot_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image_builder.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

class BootChoice : public testing::Test {
  protected:
    BootChoice() { add_kernels(image_); }

    ImageFacts choose(std::string_view menu) {
        ImageFacts facts;
        facts.menu_path = "/boot/grub/menu.lst";
        facts.menu_text = menu;
        read_legacy_entries(facts);
        EXPECT_TRUE(choose_boot_entry(image_.open(), facts).has_value());
        return facts;
    }
    void remove(std::string_view inside) const { std::filesystem::remove(image_.on_host(inside)); }

    TemporaryRoot image_;
};

TEST_F(BootChoice, TakesTheDefault) {
    const auto facts = choose(kTwoEntries);
    EXPECT_EQ(facts.boot_entry, 0U);
    EXPECT_FALSE(facts.must_set_default);
    EXPECT_TRUE(facts.findings.empty()) << facts.findings.front().id;
    ASSERT_EQ(facts.kernels.size(), 2U);
    EXPECT_EQ(facts.kernels[0].path, "/boot/vmlinuz-2");
    EXPECT_EQ(facts.kernels[0].initrd, "/boot/initrd-2");
    EXPECT_EQ(facts.kernel_of_entry[1], 1U);
}

TEST_F(BootChoice, MakesAnotherEntryTheDefaultWhenTheKernelIsMissing) {
    remove("/boot/vmlinuz-2");
    const auto facts = choose(kTwoEntries);
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_TRUE(facts.must_set_default);
    EXPECT_EQ(facts.kernel_of_entry[0], std::nullopt);
    const auto* missing = find_finding(facts, "entry-names-missing-file");
    ASSERT_NE(missing, nullptr);
    EXPECT_EQ(missing->where, "/boot/grub/menu.lst:5");
    EXPECT_THAT(missing->seen, HasSubstr("the image has no '/boot/vmlinuz-2'"));
    const auto* changed = find_finding(facts, "default-entry-does-not-boot");
    ASSERT_NE(changed, nullptr);
    EXPECT_THAT(changed->consequence, HasSubstr("entry 1 'old' boots instead"));
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(BootChoice, PassesOverAKernelThatNobodyCouldReadToItsEnd) {
    std::filesystem::resize_file(image_.on_host("/boot/vmlinuz-2"), std::uintmax_t{1} << 40);
    const auto facts = choose(kTwoEntries);
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_THAT(find_finding(facts, "entry-names-missing-file")->seen,
                HasSubstr("has 1099511627776 bytes, expected at most 1073741824"));
}

TEST_F(BootChoice, LetsGrubFallBackByItself) {
    remove("/boot/vmlinuz-2");
    const auto facts = choose("fallback 7 1\n" + std::string(kTwoEntries));
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_FALSE(facts.must_set_default);
    EXPECT_THAT(find_finding(facts, "default-entry-does-not-boot")->action,
                HasSubstr("nothing is changed"));
}

TEST_F(BootChoice, DoesNotCountOnAFallbackForAMissingInitrd) {
    remove("/boot/initrd-2");
    const auto facts = choose("fallback 1\n" + std::string(kTwoEntries));
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_TRUE(facts.must_set_default);
}

TEST_F(BootChoice, DoesNotCountOnAFallbackForAXenLinuxBzImage) {
    image_.file("/boot/config-2", "CONFIG_X86_XEN=y\n");
    const auto facts = choose("fallback 1\n" + std::string(kTwoEntries));
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_TRUE(facts.must_set_default);
    EXPECT_NE(find_finding(facts, "xen-only-kernel"), nullptr);
}

TEST_F(BootChoice, FallsBackFromAKernelThatGrubCannotLoad) {
    image_.file("/boot/vmlinuz-2", "\x1f\x8b");
    const auto facts = choose("fallback 1\n" + std::string(kTwoEntries));
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_FALSE(facts.must_set_default);
}

TEST_F(BootChoice, PassesAHypervisor) {
    image_.file("/boot/xen.gz", "\x1f\x8b");
    const auto facts = choose(
        "title xen\nroot (hd0)\nkernel /boot/xen.gz\nmodule /boot/vmlinuz-2\nmodule "
        "/boot/initrd-2\n"
        "title plain\nroot (hd0)\nkernel /boot/vmlinuz-1 root=LABEL=/\ninitrd /boot/initrd-1\n");
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_TRUE(facts.must_set_default);
    EXPECT_NE(find_finding(facts, "hypervisor-entry"), nullptr);
}

TEST_F(BootChoice, RefusesXenOnlyImages) {
    image_.file("/boot/vmlinuz-1", "\x1f\x8b");
    image_.file("/boot/vmlinuz-2",
                "\x7f"
                "ELF");
    const auto facts = choose(kTwoEntries);
    EXPECT_EQ(facts.boot_entry, std::nullopt);
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "xen-only-kernel");
    EXPECT_THAT(facts.first_refusal()->seen, HasSubstr("entry 0 'new'"));
    EXPECT_THAT(facts.first_refusal()->action, HasSubstr("kernel-xen"));
}

TEST_F(BootChoice, RefusesWhenAllKernelsAreMissing) {
    remove("/boot/vmlinuz-1");
    remove("/boot/vmlinuz-2");
    const auto facts = choose(kTwoEntries);
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "kernel-missing");
    EXPECT_TRUE(facts.kernels.empty());
}

TEST_F(BootChoice, RefusesAMenuWithNothingToBoot) {
    for (const std::string_view menu : {"", "default 0\n", "title a\n", "title a\nchainloader +1\n",
                                        "title a\nkernel (hd1)/boot/vmlinuz-1\n",
                                        "title a\nkernel boot/vmlinuz-1\nroot (hd3)\n"}) {
        const auto facts = choose(menu);
        ASSERT_NE(facts.first_refusal(), nullptr) << menu;
        EXPECT_EQ(facts.first_refusal()->id, "no-bootable-entry") << menu;
    }
}

TEST_F(BootChoice, KnowsEntriesOfOtherDisks) {
    const auto facts = choose(
        "title a\nroot (hd1,0)\nkernel /boot/vmlinuz-1\n"
        "title b\nroot (hd0,0)\nkernel /boot/vmlinuz-1\n");
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_THAT(find_finding(facts, "entry-names-other-disk")->seen, HasSubstr("(hd1,0)"));
}

TEST_F(BootChoice, ResolvesAKernelNamedByALink) {
    image_.link("/vmlinuz", "boot/vmlinuz-2");
    image_.link("/vmlinuz.old", "boot/vmlinuz-none");
    const auto facts = choose(
        "default 1\n"
        "title a\nkernel /vmlinuz root=LABEL=/\ninitrd /boot/initrd-2\n"
        "title b\nkernel /vmlinuz.old root=LABEL=/\ninitrd /boot/initrd-2\n");
    EXPECT_EQ(facts.boot_entry, 0U);
    EXPECT_TRUE(facts.must_set_default);
    EXPECT_EQ(facts.kernels.at(0).version, "2");
    EXPECT_THAT(find_finding(facts, "entry-names-missing-file")->seen,
                HasSubstr("the link '/vmlinuz.old' leads to it"));
}

TEST_F(BootChoice, DoesNotFollowAKernelOutOfTheImage) {
    remove("/boot/vmlinuz-2");
    image_.link("/boot/vmlinuz-2", "../../../../boot/vmlinuz");
    const auto facts = choose(kTwoEntries);
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_THAT(find_finding(facts, "entry-names-missing-file")->seen,
                HasSubstr("leads out of the image"));
}

TEST_F(BootChoice, TellsWhatTheUserShouldKnow) {
    image_.file("/boot/vmlinuz-2", bz_image("2.6.32-5-xen-amd64", false));
    const auto facts = choose("default saved\ntitle a\nkernel /boot/vmlinuz-2 root=/dev/sda1\n");
    EXPECT_EQ(find_finding(facts, "i386-image")->severity, Severity::info);
    EXPECT_NE(find_finding(facts, "saved-default"), nullptr);
    EXPECT_NE(find_finding(facts, "kernel-name-looks-xen-only"), nullptr);
    EXPECT_THAT(find_finding(facts, "root-device-name")->seen, HasSubstr("root=/dev/sda1"));
    EXPECT_NE(find_finding(choose("title a\nkernel /boot/vmlinuz-1 root=LABEL=/\n"),
                           "label-without-initrd"),
              nullptr);
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(BootChoice, TellsWhoLooksUpALabelWithoutInitrd) {
    for (const char* root : {"UUID=1-2", "/dev/disk/by-uuid/1-2"}) {
        const auto facts =
            choose(std::string("title a\nkernel /boot/vmlinuz-1 root=") + root + "\n");
        EXPECT_NE(find_finding(facts, "label-without-initrd"), nullptr) << root;
        EXPECT_EQ(find_finding(facts, "root-device-name"), nullptr) << root;
    }
    image_.file("/boot/config-1", "CONFIG_INITRAMFS_SOURCE=\"/usr/src/initramfs\"\n");
    const auto facts = choose("title a\nkernel /boot/vmlinuz-1 root=LABEL=/\n");
    ASSERT_NE(find_finding(facts, "label-without-initrd"), nullptr);
    EXPECT_THAT(find_finding(facts, "label-without-initrd")->consequence,
                HasSubstr("initramfs that is built into the kernel"));
}

TEST_F(BootChoice, LooksAtABoundedNumberOfEntries) {
    std::string menu;
    for (int i = 0; i < 5000; ++i) menu += "title t\nkernel /boot/none-" + std::to_string(i) + "\n";
    menu += "title good\nkernel /boot/vmlinuz-1 root=LABEL=/\ninitrd /boot/initrd-1\n";
    const auto facts = choose(menu);
    EXPECT_EQ(facts.kernel_of_entry.size(), 5001U);
    EXPECT_NE(find_finding(facts, "menu-too-many-entries"), nullptr);
    EXPECT_LT(facts.findings.size(), 2 * kMaxEntries);
    EXPECT_EQ(facts.first_refusal()->id, "kernel-missing");
    // What GRUB boots is looked at wherever it stands.
    const auto good = choose("default 5000\n" + menu);
    EXPECT_EQ(good.boot_entry, 5000U);
    EXPECT_FALSE(good.must_set_default);
    EXPECT_TRUE(good.kernel_of_entry[5000].has_value());
}

}  // namespace
}  // namespace amilift::image
