// SPDX-License-Identifier: Apache-2.0
#include "image/pv_kernel.hpp"

#include <bzlib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lzma.h>

#include <random>

#include "image/compression.hpp"
#include "pv_kernel_samples.hpp"

namespace amilift::image {
namespace {

using std::string_view_literals::operator""sv;
using testing::HasSubstr;

std::string bzip2(std::string bytes) {
    std::string out(bytes.size() + 1024, '\0');
    auto size = static_cast<unsigned>(out.size());
    EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, bytes.data(),
                                       static_cast<unsigned>(bytes.size()), 9, 0, 0),
              BZ_OK);
    out.resize(size);
    return out;
}

std::string xz(std::string_view bytes) {
    std::string out(bytes.size() + 4096, '\0');
    std::size_t size = 0;
    EXPECT_EQ(lzma_easy_buffer_encode(
                  6, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                  bytes.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
              LZMA_OK);
    out.resize(size);
    return out;
}

std::string gzip(std::string_view bytes) {
    return pack_gzip(bytes).value();
}

/// The id of the refusal; "" for a kernel that is taken.
std::string refusal(std::string_view bytes) {
    const auto kernel = parse_pv_kernel(bytes);
    if (kernel) return "";
    EXPECT_TRUE(kernel.error().is(core::Errc::refused)) << kernel.error().message();
    EXPECT_FALSE(kernel.error().hint.empty());
    return kernel.error().id;
}

TEST(PvKernel, TakesWhatPvGrubUnpacks) {
    const auto elf = elf_with_notes(pv_notes());
    EXPECT_EQ(parse_pv_kernel(bz_image_with(gzip(elf))).value().compression, "gzip");
    EXPECT_EQ(parse_pv_kernel(bz_image_with(bzip2(elf))).value().compression, "bzip2");
    EXPECT_EQ(parse_pv_kernel(bz_image_with(xz(elf))).value().compression, "xz");
    EXPECT_EQ(parse_pv_kernel(gzip(elf)).value().compression, "gzip");
    EXPECT_EQ(parse_pv_kernel(elf).value().compression, "");
    EXPECT_EQ(parse_pv_kernel(bz_image_with(elf)).value().compression, "");
}

TEST(PvKernel, ReadsTheNotes) {
    const auto kernel = parse_pv_kernel(bz_image_with(xz(elf_with_notes(pv_notes())))).value();
    EXPECT_TRUE(kernel.is_64_bit);
    EXPECT_EQ(kernel.notes,
              (XenNotes{"linux", "xen-3.0", "generic", "yes", "!writable_page_tables", true}));
    // Notes of others lie in the same segment.
    auto mixed = xen_note(3, "build-id");
    mixed.replace(12, 3, "GNU");
    mixed += pv_notes();
    EXPECT_EQ(parse_pv_kernel(elf_with_notes(mixed)).value().notes, kernel.notes);
}

TEST(PvKernel, TakesTheWidthFromTheImage) {
    EXPECT_FALSE(parse_pv_kernel(elf_with_notes(pv_notes(), false)).value().is_64_bit);
    EXPECT_FALSE(
        parse_pv_kernel(bz_image_with(gzip(elf_with_notes(pv_notes(), false)), "3.2.0", true))
            .value()
            .is_64_bit);
}

TEST(PvKernel, RefusesWhatPvGrubCannotUnpack) {
    EXPECT_EQ(refusal(bz_image_with("\x02\x21\x4c\x18 lz4")), "pv-kernel-compression");
    EXPECT_EQ(refusal(bz_image_with("\x28\xb5\x2f\xfd zstd")), "pv-kernel-compression");
    EXPECT_EQ(refusal(bz_image_with("\x5d\0\0 lzma"sv)), "pv-kernel-compression");
    EXPECT_EQ(refusal(bz_image_with("what?")), "pv-kernel-compression");
    EXPECT_THAT(parse_pv_kernel(bz_image_with("\x28\xb5\x2f\xfd zstd")).error().message(),
                HasSubstr("zstd"));
}

TEST(PvKernel, RefusesOldProtocolsAndOtherFiles) {
    auto old = bz_image_with(gzip(elf_with_notes(pv_notes())));
    old[0x206] = 0x07;
    EXPECT_EQ(refusal(old), "pv-kernel-format");
    EXPECT_THAT(parse_pv_kernel(old).error().what, HasSubstr("2.07"));
    EXPECT_EQ(refusal("MZ is no kernel"), "pv-kernel-format");
    EXPECT_EQ(refusal(""), "pv-kernel-format");
}

TEST(PvKernel, RefusesDamage) {
    const auto packed = gzip(elf_with_notes(pv_notes()));
    EXPECT_EQ(refusal(packed.substr(0, packed.size() / 2)), "pv-kernel-damaged");
    EXPECT_EQ(refusal(bz_image_with(gzip("no ELF image"))), "pv-kernel-damaged");
    auto cut = bz_image_with(packed);
    put_number(cut, 0x24c, 4, 0xffffffff);
    EXPECT_EQ(refusal(cut), "pv-kernel-damaged");
    put_number(cut, 0x24c, 4, 10);
    put_number(cut, 0x248, 4, 0xfffffff0);
    EXPECT_EQ(refusal(cut), "pv-kernel-damaged");
    EXPECT_EQ(refusal(bz_image("3.2.0")), "pv-kernel-damaged");
    auto arm = elf_with_notes(pv_notes());
    put_number(arm, 18, 2, 183);
    EXPECT_EQ(refusal(arm), "pv-kernel-damaged");
}

TEST(PvKernel, RefusesKernelsWithoutPv) {
    EXPECT_EQ(refusal(elf_with_notes("")), "pv-kernel-no-xen");
    const auto names = xen_note(6, "linux\0"sv) + xen_note(5, "xen-3.0\0"sv);
    EXPECT_EQ(refusal(elf_with_notes(names + xen_note(18, "\0\0\0\1"sv))), "pv-kernel-no-xen");
    EXPECT_EQ(refusal(elf_with_notes(xen_note(6, "linux\0"sv) + xen_note(5, "xen-2.0\0"sv))),
              "pv-kernel-no-xen");
    EXPECT_EQ(refusal(elf_with_notes(xen_note(6, "other\0"sv) + xen_note(5, "xen-3.0\0"sv))),
              "pv-kernel-no-xen");
    // Both entries: the kernel starts either way.
    EXPECT_EQ(refusal(elf_with_notes(pv_notes() + xen_note(18, "\0\0\0\1"sv))), "");
}

TEST(PvKernel, RefusesThirtyTwoBitsWithoutPae) {
    const auto names = xen_note(6, "linux\0"sv) + xen_note(5, "xen-3.0\0"sv);
    EXPECT_EQ(refusal(elf_with_notes(names, false)), "pv-kernel-no-pae");
    EXPECT_EQ(refusal(elf_with_notes(names + xen_note(9, "no\0"sv), false)), "pv-kernel-no-pae");
    EXPECT_EQ(refusal(elf_with_notes(names + xen_note(9, "bimodal\0"sv), false)), "");
    EXPECT_EQ(refusal(elf_with_notes(names, true)), "");
}

TEST(PvKernel, ReadsTheSectionsOfXenLinux) {
    const auto guest = elf_with_sections(
        {{".text", 1, "code"},
         {"__xen_guest", 1, "GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,LOADER=generic,PAE=yes"},
         {".data", 1, "data"}});
    EXPECT_EQ(parse_pv_kernel(gzip(guest)).value().notes,
              (XenNotes{"linux", "xen-3.0", "generic", "yes", "", true}));
    EXPECT_EQ(parse_pv_kernel(elf_with_sections({{".notes", 7, pv_notes()}})).value().notes.loader,
              "generic");
    EXPECT_EQ(refusal(elf_with_sections({{"__xen_guest", 1, "GUEST_OS=linux"}})),
              "pv-kernel-no-xen");
}

TEST(PvKernel, ReadsDamagedImagesWithoutHarm) {
    std::mt19937 random(11);
    const std::vector<std::string> samples{
        elf_with_notes(pv_notes()), elf_with_notes(pv_notes(), false),
        elf_with_sections({{"__xen_guest", 1, "GUEST_OS=linux,XEN_VER=xen-3.0"}}),
        bz_image_with(elf_with_notes(pv_notes()))};
    for (int i = 0; i < 4000; ++i) {
        auto bytes = samples[random() % samples.size()];
        for (int j = 0; j < 6; ++j) {
            bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
        }
        bytes.resize(random() % bytes.size());
        const auto kernel = parse_pv_kernel(bytes);
        EXPECT_TRUE(!kernel || kernel->notes.xen_version.starts_with("xen-3.0"));
    }
}

TEST(PvKernel, JudgesLzoByTheConfig) {
    const TemporaryRoot image;
    const auto lzo = bz_image_with("\x89LZO\0\r\n\x1a\n"sv, "3.2.0-1", false);
    EXPECT_EQ(parse_pv_kernel(lzo).value().compression, "lzo");
    image.file("/boot/vmlinuz-3.2.0-1", lzo);
    const auto root = image.open();
    EXPECT_EQ(inspect_pv_kernel(root, "/boot/vmlinuz-3.2.0-1").error().id, "pv-kernel-no-xen");
    image.file("/boot/config-3.2.0-1", "CONFIG_XEN=y\nCONFIG_XEN_DOM0=y\n");
    EXPECT_FALSE(inspect_pv_kernel(root, "/boot/vmlinuz-3.2.0-1").value().is_64_bit);
    image.file("/boot/config-3.2.0-1", "CONFIG_XEN=y\n# CONFIG_XEN_PV is not set\n");
    EXPECT_EQ(inspect_pv_kernel(root, "/boot/vmlinuz-3.2.0-1").error().id, "pv-kernel-no-xen");
    image.file("/boot/config-3.2.0-1", "CONFIG_XEN=y\nCONFIG_XEN_PV=y\n");
    EXPECT_TRUE(inspect_pv_kernel(root, "/boot/vmlinuz-3.2.0-1"));
}

TEST(PvKernel, NamesTheFile) {
    const TemporaryRoot image;
    image.file("/boot/vmlinuz", "no kernel");
    image.link("/vmlinuz", "boot/vmlinuz");
    const auto root = image.open();
    EXPECT_THAT(inspect_pv_kernel(root, "/vmlinuz").error().what, HasSubstr("'/vmlinuz'"));
    EXPECT_EQ(inspect_pv_kernel(root, "/none").error().code, core::Errc::not_found);
}

}  // namespace
}  // namespace amilift::image
