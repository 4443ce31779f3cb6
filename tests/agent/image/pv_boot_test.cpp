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
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64"));
    EXPECT_EQ(facts.pv_console, "hvc0");
    EXPECT_EQ(facts.pv_entries, std::vector<std::size_t>{0});
    EXPECT_TRUE(facts.boot_kernel()->is_64_bit);
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
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, ""));
    EXPECT_EQ(facts.pv_console, "xvc0");
    EXPECT_EQ(facts.pv_entries, std::vector<std::size_t>{1});
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
    EXPECT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64"));
    EXPECT_EQ(facts.boot_entry, 0U);
    EXPECT_EQ(facts.first_refusal(), nullptr);
}

TEST_F(PvBootTest, RefusesWithTheReason) {
    image_.file("/boot/vmlinuz-5", bz_image_with("\x28\xb5\x2f\xfd zstd", "5"));
    image_.file("/boot/initrd-5", "initrd");
    auto facts = this->facts(entry("5") + entry("6"));
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64"));
    EXPECT_TRUE(facts.pv_entries.empty());
    ASSERT_NE(facts.first_refusal(), nullptr);
    EXPECT_EQ(facts.first_refusal()->id, "pv-kernel-compression");
    EXPECT_THAT(facts.first_refusal()->seen, HasSubstr("zstd"));
    EXPECT_EQ(facts.boot_entry, std::nullopt);
}

TEST_F(PvBootTest, RefusesAnotherArchitecture) {
    kernel("3.2", elf_with_notes(pv_notes(), false));
    auto facts = this->facts(entry("3.2"));
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64"));
    EXPECT_TRUE(facts.pv_entries.empty());
    EXPECT_EQ(facts.first_refusal()->id, "aki-does-not-fit");
}

TEST_F(PvBootTest, RefusesAMissingInitrd) {
    image_.file("/boot/vmlinuz-3", bz_image_with(elf_with_notes(pv_notes()), "3"));
    auto facts = this->facts(entry("3"));
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, ""));
    EXPECT_TRUE(facts.pv_entries.empty());
    EXPECT_EQ(facts.first_refusal()->id, "kernel-missing");
}

TEST_F(PvBootTest, TakesAllEntriesThatBootTheDefaultFirst) {
    kernel("3.2", elf_with_notes(pv_notes()));
    kernel("2.6.32", elf_with_notes(pv_notes()));
    kernel("3.1", elf_with_notes(""));
    auto facts = this->facts("default 3\nfallback 1\n" + entry("3.1") + entry("2.6.32") +
                             entry("gone") + entry("3.2") + entry("3.2"));
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, ""));
    EXPECT_EQ(facts.pv_entries, (std::vector<std::size_t>{3, 1, 4}));
    EXPECT_EQ(facts.boot_entry, 3U);
    EXPECT_FALSE(facts.must_set_default);
    EXPECT_TRUE(has(facts, "pv-entry-does-not-boot", Severity::warning));
}

TEST_F(PvBootTest, KnowsTheDriversOfAXenLinuxKernel) {
    image_.file("/boot/vmlinuz-2.6.18-8.el5xen", pack_gzip(elf_with_notes(pv_notes())).value());
    image_.file("/boot/initrd-2.6.18-8.el5xen", "initrd");
    image_.file("/boot/config-2.6.18-8.el5xen",
                "CONFIG_X86_64_XEN=y\nCONFIG_XEN_NETDEV_FRONTEND=y\n");
    const std::string modules = "/lib/modules/2.6.18-8.el5xen/";
    image_.file(modules + "modules.dep", modules + "kernel/drivers/xen/blkfront/xenblk.ko:\n");
    image_.file(modules + "kernel/drivers/xen/blkfront/xenblk.ko", "module");
    auto facts = this->facts(entry("2.6.18-8.el5xen"));
    ASSERT_TRUE(choose_pv_boot(image_.open(), facts, "x86_64"));
    const auto* kernel = facts.boot_kernel();
    ASSERT_NE(kernel, nullptr);
    EXPECT_EQ(kernel->xen_blkfront.place, modules + "kernel/drivers/xen/blkfront/xenblk.ko");
    EXPECT_FALSE(kernel->xen_blkfront.in_initramfs);
    EXPECT_TRUE(kernel->xen_netfront.is_built_in());
    EXPECT_FALSE(kernel->ena.exists());
}

TEST(PvBoot, KnowsWhatAMenuCanName) {
    EXPECT_TRUE(is_menu_path("/boot/vmlinuz-6.1.0-18-amd64"));
    for (const auto* path : {"", "boot/vmlinuz", "/boot/a b", "/a\nb", "/(hd1)x", "/a\\"}) {
        EXPECT_FALSE(is_menu_path(path)) << path;
    }
}

}  // namespace
}  // namespace amilift::image
