// SPDX-License-Identifier: Apache-2.0
#include "image/pv_boot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/compression.hpp"
#include "pv_kernel_samples.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

class PvBootTest : public testing::Test {
  protected:
    void kernel(const std::string& version, const std::string& elf) const {
        image_.file("/boot/vmlinuz-" + version, bz_image_with(pack_gzip(elf).value(), version));
        image_.file("/boot/initrd-" + version, "initrd");
    }
    static std::string entry(const std::string& version) {
        return "title " + version + "\nroot (hd0)\nkernel /boot/vmlinuz-" + version +
               " root=LABEL=/\ninitrd /boot/initrd-" + version + "\n";
    }
    ImageFacts facts(const std::string& menu) const {
        image_.file("/boot/grub/menu.lst", menu);
        image_.file("/etc/fstab", "LABEL=/ / ext3 defaults 1 1\n");
        return inspect_image(image_.open()).value();
    }
    static bool has(const ImageFacts& facts, std::string_view id, Severity severity) {
        return std::ranges::any_of(facts.findings, [&](const Finding& finding) {
            return finding.id == id && finding.severity == severity;
        });
    }

    const TemporaryRoot image_;
};

TEST_F(PvBootTest, TakesTheDefaultThatPvGrubStarts) {
    kernel("3.2", elf_with_notes(pv_notes()));
    auto facts = this->facts("timeout 0\n" + entry("3.2"));
    const auto boot = choose_pv_boot(image_.open(), facts, "x86_64").value();
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->console, "hvc0");
    EXPECT_TRUE(boot->kernel.is_64_bit);
    EXPECT_EQ(facts.boot_entry, 0U);
    EXPECT_FALSE(facts.must_set_default);
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(PvBootTest, PassesOverTheKernelForHvm) {
    kernel("2.6.18-8.el5", elf_with_notes(""));
    image_.file("/boot/vmlinuz-2.6.18-8.el5xen", pack_gzip(elf_with_notes(pv_notes())).value());
    image_.file("/boot/initrd-2.6.18-8.el5xen", "initrd");
    auto facts = this->facts("default 0\n" + entry("2.6.18-8.el5") + entry("2.6.18-8.el5xen"));
    EXPECT_EQ(facts.boot_entry, 0U);
    const auto boot = choose_pv_boot(image_.open(), facts, "").value();
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->console, "xvc0");
    EXPECT_EQ(facts.boot_entry, 1U);
    EXPECT_TRUE(facts.must_set_default);
    EXPECT_EQ(facts.kernels.at(facts.kernel_of_entry.at(1).value()).version, "2.6.18-8.el5xen");
    EXPECT_TRUE(has(facts, "default-entry-does-not-boot", Severity::warning));
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(PvBootTest, TakesAnImageThatHvmRefuses) {
    image_.file("/boot/vmlinuz-2.6.18-8.el5xen", pack_gzip(elf_with_notes(pv_notes())).value());
    image_.file("/boot/initrd-2.6.18-8.el5xen", "initrd");
    auto facts = this->facts(entry("2.6.18-8.el5xen"));
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64").value());
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(PvBootTest, RefusesWithTheReason) {
    image_.file("/boot/vmlinuz-5", bz_image_with("\x28\xb5\x2f\xfd zstd", "5"));
    image_.file("/boot/initrd-5", "initrd");
    auto facts = this->facts(entry("5") + entry("6"));
    EXPECT_FALSE(choose_pv_boot(image_.open(), facts, "x86_64").value());
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "pv-kernel-compression");
    EXPECT_THAT(facts.first_refusal()->seen, HasSubstr("zstd"));
    EXPECT_EQ(facts.boot_entry, std::nullopt);
}

TEST_F(PvBootTest, RefusesAnotherArchitecture) {
    kernel("3.2", elf_with_notes(pv_notes(), false));
    auto facts = this->facts(entry("3.2"));
    EXPECT_FALSE(choose_pv_boot(image_.open(), facts, "x86_64").value());
    EXPECT_EQ(facts.first_refusal()->id, "aki-does-not-fit");
}

TEST_F(PvBootTest, RefusesAMissingInitrd) {
    image_.file("/boot/vmlinuz-3", bz_image_with(elf_with_notes(pv_notes()), "3"));
    auto facts = this->facts(entry("3"));
    EXPECT_FALSE(choose_pv_boot(image_.open(), facts, "").value());
    EXPECT_EQ(facts.first_refusal()->id, "kernel-missing");
}

TEST(PvBoot, KnowsWhatAMenuCanName) {
    EXPECT_TRUE(is_menu_path("/boot/vmlinuz-6.1.0-18-amd64"));
    for (const auto* path : {"", "boot/vmlinuz", "/boot/a b", "/a\nb", "/(hd1)x", "/a\\"}) {
        EXPECT_FALSE(is_menu_path(path)) << path;
    }
}

}  // namespace
}  // namespace amilift::image
