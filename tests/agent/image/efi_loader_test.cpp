// SPDX-License-Identifier: Apache-2.0
#include "image/efi_loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/command.hpp"
#include "core/fd.hpp"
#include "tests/agent/image/efi_samples.hpp"
#include "tests/agent/image/temporary_root.hpp"

namespace amilift::image {
namespace {

using namespace samples;

TEST(EfiLoader, KnowsWhatNoFirmwareStarts) {
    const auto good = efi_program({{".text", "code"}});
    ASSERT_EQ(read_efi_program(good).kind, EfiProgramKind::unknown);
    struct Case {
        const char* what;
        std::size_t at;
        std::uint64_t value;
        std::size_t size;
        const char* problem;
    };
    for (const auto& c :
         {Case{"no DOS header", 0, 'x', 1, "it is no PE image"},
          Case{"header behind the end", 0x3c, 0xfffffff0, 4, "it is no PE image"},
          Case{"no PE header", 0x80, 'x', 1, "it is no PE image"},
          Case{"i386", 0x84, 0x14c, 2, "it is for machine 0x014c, x86-64 is 0x8664"},
          Case{"arm64", 0x84, 0xaa64, 2, "it is for machine 0xaa64, x86-64 is 0x8664"},
          Case{"PE32", 0x98, 0x10b, 2, "it is no PE32+ image"},
          Case{"a driver", 0x98 + 68, 11, 2, "it is no application for UEFI"},
          Case{"no section", 0x86, 0, 2, "it has 0 sections"},
          Case{"too many sections", 0x86, 0xffff, 2, "it has 65535 sections"},
          Case{"table behind the end", 0x94, 0xffff, 2, "it ends within its headers"},
          Case{"optional header too small", 0x94, 8, 2, "it is no PE32+ image"},
          Case{"no entry point", 0x98 + 16, 0, 4, "its entry point lies in none of its sections"},
          Case{"section behind the end", 0x98 + 240 + 20, 0xfffffffe, 4,
               "it is cut off: it ends before its section 1"}}) {
        auto bytes = good;
        put_le(bytes, c.at, c.value, c.size);
        const auto program = read_efi_program(bytes);
        EXPECT_EQ(program.kind, EfiProgramKind::not_startable) << c.what;
        EXPECT_EQ(program.problem, c.problem) << c.what;
    }
    EXPECT_EQ(read_efi_program("").problem, "it is no PE image");
    EXPECT_EQ(read_efi_program("a text of somebody\n").problem, "it is no PE image");
}

TEST(EfiLoader, IsStartableOnlyAsAWhole) {
    const auto whole = efi_program({{".text", std::string(100, 'c')}, {".data", "data"}});
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_EQ(read_efi_program(whole.substr(0, size)).kind, EfiProgramKind::not_startable)
            << size;
    }
    EXPECT_EQ(read_efi_program(whole).kind, EfiProgramKind::unknown);
}

TEST(EfiLoader, TellsProgramsApart) {
    const auto shim = read_efi_program(shim_program());
    EXPECT_EQ(shim.kind, EfiProgramKind::shim);
    EXPECT_EQ(shim.second, "grubx64.efi");
    EXPECT_EQ(shim.fallback, "fbx64.efi");
    const auto suse = read_efi_program(shim_program("\\grub.efi"));
    EXPECT_EQ(suse.kind, EfiProgramKind::shim);
    EXPECT_EQ(suse.second, "grub.efi");
    EXPECT_EQ(suse.fallback, "fallback.efi");
    EXPECT_EQ(read_efi_program(shim_program("\\other.efi")).kind, EfiProgramKind::unknown);
    // One that was built to start something else.
    EXPECT_EQ(read_efi_program(efi_program({{".text", "UEFI SHIM\n$Version: 15.8 $\n"}})).kind,
              EfiProgramKind::unknown);
    EXPECT_EQ(read_efi_program(
                  efi_program({{".text", "x"}, {".sdmagic", "#### LoaderInfo: systemd-boot 252"}}))
                  .kind,
              EfiProgramKind::systemd_boot);
    EXPECT_EQ(read_efi_program(efi_program({{".text", "#### LoaderInfo: systemd-stub 252 ####"},
                                            {".linux", "a kernel"}}))
                  .kind,
              EfiProgramKind::unified_kernel);
}

TEST(EfiLoader, ReadsWhatGrubHasInside) {
    const auto area = grub_modules(
        grub_object(0, "\177ELF no module") + grub_object(2, std::string("set x=1\n\0\0", 10)) +
        grub_object(2, "the second one is not run") +
        grub_object(3, std::string("/EFI/debian\0", 12)) + grub_object(1, "archive"));
    const auto grub = read_efi_program(efi_program({{".text", "x"}, {"mods", area}}));
    EXPECT_EQ(grub.kind, EfiProgramKind::grub2);
    EXPECT_EQ(grub.config, "set x=1\n");
    EXPECT_EQ(grub.prefix, "/EFI/debian");
    EXPECT_EQ(grub.archive, "archive");
    EXPECT_TRUE(grub.modules.empty());
    const auto named = grub_modules(grub_object(0, grub_module("linux")) +
                                    grub_object(0, grub_module("search_fs_uuid")));
    EXPECT_THAT(read_efi_program(efi_program({{".text", "x"}, {"mods", named}})).modules,
                testing::ElementsAre("linux", "search_fs_uuid"));
}

TEST(EfiLoader, RefusesAModuleAreaWithoutSense) {
    const auto good = grub_modules(grub_object(3, "/boot/grub"));
    struct Case {
        std::size_t at;
        std::uint64_t value;
        std::size_t size;
    };
    for (const auto& c : {Case{8, 0, 8}, Case{8, 1U << 30U, 8}, Case{16, 1U << 30U, 8},
                          Case{16, ~std::uint64_t{0}, 8}, Case{28, 0, 4}, Case{28, 7, 4},
                          Case{28, 0xffffffff, 4}}) {
        auto area = good;
        put_le(area, c.at, c.value, c.size);
        const auto program = read_efi_program(efi_program({{".text", "x"}, {"mods", area}}));
        EXPECT_EQ(program.kind, EfiProgramKind::not_startable) << c.at << ": " << c.value;
        EXPECT_EQ(program.problem, "the list of its modules makes no sense");
        EXPECT_EQ(program.prefix, "");
    }
}

/// What grub-mkimage of this machine writes.
TEST(EfiLoader, ReadsAnImageOfGrubMkimage) {
    const TemporaryRoot files;
    files.file("/early.cfg", "search.fs_uuid 11-22 root\n");
    files.file("/archive", "the archive");
    core::ProcessRunner commands;
    for (const bool with_normal : {true, false}) {
        core::Command make{.argv = {"grub-mkimage", "-O", "x86_64-efi", "-m",
                                    files.on_host("/archive"), "-p", "/EFI/x", "-c",
                                    files.on_host("/early.cfg"), "-o", files.on_host("/grub.efi"),
                                    "fat"}};
        if (with_normal) make.argv.emplace_back("normal");
        const auto made = commands.run_ok(make);
        ASSERT_TRUE(made) << made.error().message();
        const auto bytes = files.text_of("/grub.efi");
        const auto program = read_efi_program(bytes);
        EXPECT_EQ(program.kind, EfiProgramKind::grub2) << program.problem;
        EXPECT_EQ(program.prefix, "/EFI/x");
        EXPECT_EQ(program.config, "search.fs_uuid 11-22 root\n");
        EXPECT_TRUE(program.archive.starts_with("the archive"));
        EXPECT_EQ(program.modules.contains("normal"), with_normal);
        EXPECT_TRUE(program.modules.contains("fat"));
        EXPECT_TRUE(program.modules.contains("fshelp")) << "which fat needs";
        EXPECT_EQ(read_efi_program(std::string_view(bytes).substr(0, bytes.size() / 2)).kind,
                  EfiProgramKind::not_startable);
    }
}

}  // namespace
}  // namespace amilift::image
