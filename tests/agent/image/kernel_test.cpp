// SPDX-License-Identifier: Apache-2.0
#include "image/kernel.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kElf =
    "\x7f"
    "ELF\x02";

TEST(Kernel, ReadsTheHeaderOfABzImage) {
    const auto header = parse_kernel_header(bz_image("3.2.0-23-virtual"));
    EXPECT_EQ(header.format, KernelFormat::bz_image);
    EXPECT_EQ(header.protocol, 0x020c);
    EXPECT_EQ(header.version, "3.2.0-23-virtual");
    EXPECT_EQ(header.is_64_bit, true);
    EXPECT_EQ(parse_kernel_header(bz_image("3.2", false)).is_64_bit, false);
}

TEST(Kernel, DoesNotKnowTheWidthOfAnOldHeader) {
    auto bytes = bz_image("2.6.18-398.el5");
    bytes[0x206] = 0x04;
    EXPECT_EQ(parse_kernel_header(bytes).is_64_bit, std::nullopt);
    EXPECT_EQ(parse_kernel_header(bytes).version, "2.6.18-398.el5");
}

TEST(Kernel, DoesNotTrustVersionPointers) {
    auto bytes = bz_image("3.2.0");
    bytes[0x20e] = '\xff';
    bytes[0x20f] = '\xff';
    EXPECT_EQ(parse_kernel_header(bytes).version, "");
    EXPECT_EQ(parse_kernel_header(bz_image("3.2\x1b[2J")).version, "");
    EXPECT_EQ(parse_kernel_header(bz_image("../../etc")).version, "");
    auto cut = bz_image("3.2.0-23-virtual");
    cut.resize(0x400 + 4);
    EXPECT_EQ(parse_kernel_header(cut).version, "");
}

TEST(Kernel, TellsWhatABiosLoaderCannotStart) {
    EXPECT_EQ(parse_kernel_header("\x1f\x8b\x08").format, KernelFormat::gzip);
    EXPECT_EQ(parse_kernel_header(kElf).format, KernelFormat::elf);
    EXPECT_EQ(parse_kernel_header("").format, KernelFormat::unknown);
    EXPECT_EQ(parse_kernel_header(std::string(70000, '\0')).format, KernelFormat::unknown);
    auto bytes = bz_image("1");
    bytes[0x202] = 'h';
    EXPECT_EQ(parse_kernel_header(bytes).format, KernelFormat::unknown);
}

/// The bzImage with a packed kernel `offset` bytes behind its setup.
std::string with_payload(std::string bytes, std::uint32_t offset, std::string_view payload) {
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[0x248 + i] = static_cast<char>((offset >> (8 * i)) & 0xff);
    }
    bytes[0x24c] = 64;
    const std::size_t at = std::size_t{5} * 512 + offset;
    bytes.resize(std::max(bytes.size(), at + 64));
    bytes.replace(at, payload.size(), payload);
    return bytes;
}

TEST(Kernel, FindsThePackedKernel) {
    auto bytes = with_payload(bz_image("3.2.0"), 0x3b0, "");
    EXPECT_EQ(parse_kernel_header(bytes).payload_at, 5U * 512 + 0x3b0);
    bytes[0x24b] = '\x7f';  // 2 GiB behind the setup
    EXPECT_EQ(parse_kernel_header(bytes).payload_at, 0U);
    bytes = with_payload(bz_image("3.2.0"), 0x3b0, "");
    bytes[0x206] = 0x07;  // protocol 2.07 does not have it
    EXPECT_EQ(parse_kernel_header(bytes).payload_at, 0U);
    EXPECT_EQ(parse_kernel_header(bz_image("3.2.0")).payload_at, 0U);
}

TEST(Kernel, KnowsHowAKernelIsPacked) {
    EXPECT_EQ(payload_compression("\x1f\x8b\x08"), "gzip");
    EXPECT_EQ(payload_compression("BZh9"), "bzip2");
    EXPECT_EQ(payload_compression(std::string_view("\x5d\0\0\x80", 4)), "lzma");
    EXPECT_EQ(payload_compression(std::string_view("\xfd"
                                                   "7zXZ\0",
                                                   6)),
              "xz");
    EXPECT_EQ(payload_compression("\x89LZO"), "lzo");
    EXPECT_EQ(payload_compression("\x02\x21\x4c\x18"), "lz4");
    EXPECT_EQ(payload_compression("\x28\xb5\x2f\xfd"), "zstd");
    EXPECT_EQ(payload_compression(kElf), "none");
    EXPECT_EQ(payload_compression("xxxx"), "");
    EXPECT_EQ(payload_compression(""), "");
}

TEST(Kernel, ReadsCompressionEfiAndXenPvOfAFile) {
    const TemporaryRoot image;
    auto bytes = with_payload(bz_image("6.1.0"), 0x200, "\x28\xb5\x2f\xfd");
    bytes[0] = 'M';
    bytes[1] = 'Z';
    bytes[0x3c] = 0x40;
    bytes.replace(0x40, 4, std::string_view("PE\0\0", 4));
    image.file("/boot/vmlinuz-6.1.0", bytes);
    image.file("/boot/vmlinuz-3.2.0", with_payload(bz_image("3.2.0"), 0x200, "\x1f\x8b"));
    image.file("/boot/config-3.2.0", "CONFIG_XEN=y\n# CONFIG_EFI is not set\n");
    auto cut = with_payload(bz_image("4.4.0"), 0x200, "");
    cut.resize(0x1000 - 0x600);
    image.file("/boot/vmlinuz-4.4.0", cut);
    const auto root = image.open();
    const auto modern = inspect_kernel(root, "/boot/vmlinuz-6.1.0").value();
    EXPECT_EQ(modern.compression, "zstd");
    EXPECT_EQ(modern.starts_on_efi, true);
    EXPECT_EQ(modern.starts_on_xen_pv, std::nullopt);
    const auto old = inspect_kernel(root, "/boot/vmlinuz-3.2.0").value();
    EXPECT_EQ(old.compression, "gzip");
    EXPECT_EQ(old.starts_on_efi, false);
    EXPECT_EQ(old.starts_on_xen_pv, true);
    EXPECT_EQ(inspect_kernel(root, "/boot/vmlinuz-4.4.0").value().compression, "");
}

TEST(Kernel, ReadsXenPvOfAConfig) {
    EXPECT_EQ(config_has_xen_pv("CONFIG_XEN=y\nCONFIG_XEN_PV=y\n"), true);
    EXPECT_EQ(config_has_xen_pv("CONFIG_XEN=y\n# CONFIG_XEN_PV is not set\n"), false);
    EXPECT_EQ(config_has_xen_pv("CONFIG_XEN=y\n"), true);
    EXPECT_EQ(config_has_xen_pv("# CONFIG_XEN is not set\n"), false);
    EXPECT_EQ(config_has_xen_pv("CONFIG_X86_64_XEN=y\n"), true);
    EXPECT_EQ(config_has_xen_pv("CONFIG_SMP=y\n"), std::nullopt);
}

TEST(Kernel, ReadsDamagedHeadersWithoutHarm) {
    std::mt19937 random(7);
    for (int i = 0; i < 2000; ++i) {
        auto bytes = bz_image("3.2.0-23-virtual");
        for (int j = 0; j < 40; ++j) {
            bytes[0x1e0 + random() % 0x260] = static_cast<char>(random() % 256);
        }
        bytes.resize(random() % bytes.size());
        const auto header = parse_kernel_header(bytes);
        EXPECT_LE(header.version.size(), 128U);
    }
}

TEST(Kernel, KnowsTheOptionsOfXenLinux) {
    EXPECT_EQ(xen_only_option("CONFIG_X86_64_XEN=y\n"), "CONFIG_X86_64_XEN");
    EXPECT_EQ(xen_only_option("CONFIG_A=y\nCONFIG_X86_XEN=y\n"), "CONFIG_X86_XEN");
    EXPECT_EQ(xen_only_option("CONFIG_XEN=y\nCONFIG_XEN_PVHVM=y\n"), "");
    EXPECT_EQ(xen_only_option("# CONFIG_X86_XEN is not set\n"), "");
}

TEST(Kernel, PassesAPvopsKernel) {
    const TemporaryRoot image;
    image.file("/boot/vmlinuz-3.10.34-37.137.amzn1.x86_64",
               bz_image("3.10.34-37.137.amzn1.x86_64"));
    image.file("/boot/config-3.10.34-37.137.amzn1.x86_64", "CONFIG_XEN=y\nCONFIG_PARAVIRT=y\n");
    const auto kernel =
        inspect_kernel(image.open(), "/boot/vmlinuz-3.10.34-37.137.amzn1.x86_64").value();
    EXPECT_EQ(kernel.cannot_boot_hvm, std::nullopt);
    EXPECT_EQ(kernel.version, "3.10.34-37.137.amzn1.x86_64");
    EXPECT_EQ(kernel.config_path, "/boot/config-3.10.34-37.137.amzn1.x86_64");
    EXPECT_TRUE(kernel.is_64_bit);
}

TEST(Kernel, TrustsTheConfigAndNotTheName) {
    const TemporaryRoot image;
    image.file("/boot/vmlinuz-2.6.32-5-xen-amd64", bz_image("2.6.32-5-xen-amd64"));
    image.file("/boot/config-2.6.32-5-xen-amd64", "CONFIG_XEN=y\n");
    image.file("/boot/vmlinuz-2.6.32-308-ec2", bz_image("2.6.32-308-ec2"));
    image.file("/boot/config-2.6.32-308-ec2", "CONFIG_X86_64_XEN=y\n");
    const auto root = image.open();
    EXPECT_EQ(inspect_kernel(root, "/boot/vmlinuz-2.6.32-5-xen-amd64").value().cannot_boot_hvm,
              std::nullopt);
    EXPECT_EQ(inspect_kernel(root, "/boot/vmlinuz-2.6.32-308-ec2").value().cannot_boot_hvm,
              "/boot/config-2.6.32-308-ec2 has CONFIG_X86_64_XEN=y: a kernel for Xen PV only");
    EXPECT_TRUE(has_xen_name("2.6.18-398.el5xen"));
    EXPECT_FALSE(has_xen_name("2.6.18-398.el5"));
}

TEST(Kernel, TellsAXenLinuxFileByItsForm) {
    const TemporaryRoot image;
    image.file("/boot/vmlinuz-2.6.18-398.el5xen", "\x1f\x8b\x08 gzip");
    image.file("/boot/vmlinux", std::string(kElf) + std::string(100, 'x'));
    image.file("/boot/text", "not a kernel");
    const auto root = image.open();
    const auto xen = inspect_kernel(root, "/boot/vmlinuz-2.6.18-398.el5xen").value();
    EXPECT_EQ(xen.version, "2.6.18-398.el5xen");
    EXPECT_THAT(xen.cannot_boot_hvm.value_or(""), HasSubstr("gzip data"));
    EXPECT_THAT(inspect_kernel(root, "/boot/vmlinux").value().cannot_boot_hvm.value_or(""),
                HasSubstr("ELF image"));
    EXPECT_THAT(inspect_kernel(root, "/boot/text").value().cannot_boot_hvm.value_or(""),
                HasSubstr("no Linux boot header"));
}

TEST(Kernel, FollowsALinkToTheNameWithTheVersion) {
    const TemporaryRoot image;
    auto bytes = bz_image("");
    image.file("/boot/vmlinuz-3.2.0-23-virtual", bytes);
    image.link("/vmlinuz", "boot/vmlinuz-3.2.0-23-virtual");
    const auto kernel = inspect_kernel(image.open(), "/vmlinuz").value();
    EXPECT_EQ(kernel.path, "/vmlinuz");
    EXPECT_EQ(kernel.version, "3.2.0-23-virtual");
}

TEST(Kernel, TakesTheWidthFromConfigNameOrUserland) {
    const TemporaryRoot image;
    auto old = bz_image("2.6.18");
    old[0x206] = 0x04;
    image.file("/boot/vmlinuz-2.6.18", old);
    image.file("/bin/bash", std::string("\x7f"
                                        "ELF\x01") +
                                "x");
    const auto root = image.open();
    EXPECT_FALSE(inspect_kernel(root, "/boot/vmlinuz-2.6.18").value().is_64_bit);
    image.file("/boot/config-2.6.18", "CONFIG_X86_64=y\n");
    EXPECT_TRUE(inspect_kernel(root, "/boot/vmlinuz-2.6.18").value().is_64_bit);
    image.file("/boot/config-2.6.18", "CONFIG_X86_32=y\n");
    EXPECT_FALSE(inspect_kernel(root, "/boot/vmlinuz-2.6.18").value().is_64_bit);
}

TEST(Kernel, SaysWhatIsNoFile) {
    const TemporaryRoot image;
    image.directory("/boot/vmlinuz");
    image.link("/boot/out", "../../x");
    const auto root = image.open();
    EXPECT_EQ(inspect_kernel(root, "/boot/none").error().code, core::Errc::not_found);
    EXPECT_EQ(inspect_kernel(root, "/boot/vmlinuz").error().code, core::Errc::corrupt);
    EXPECT_EQ(inspect_kernel(root, "/boot/out").error().id, "link-out-of-image");
}

}  // namespace
}  // namespace amilift::image
