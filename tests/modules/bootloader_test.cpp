// SPDX-License-Identifier: Apache-2.0
#include "modules/bootloader.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "image/efi_loader.hpp"
#include "image/grub_commands.hpp"
#include "modules/copy.hpp"
#include "modules/grub2_image.hpp"
#include "modules/grub_legacy.hpp"
#include "modules/in_place.hpp"
#include "modules/partition.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using test::open_root_of;
using test::PlanFixture;
using test::TemporaryDirectory;
using test::write_text;

/// A made-up loader with the marks of boot.img and core.img, for tests without a helper's GRUB.
Grub2Image made_up_grub2(std::size_t core_bytes = 1500) {
    Grub2Image image;
    image.boot.assign(512, std::byte{0xb0});
    image.core.assign(core_bytes, std::byte{0xc0});
    return image;
}

Sector old_sector() {
    Sector sector{};
    for (std::size_t i = 0; i < sector.size(); ++i) sector[i] = static_cast<std::byte>(i * 7);
    return sector;
}

std::string hex(std::span<const std::byte> bytes, std::size_t offset, std::size_t count) {
    std::string text;
    for (std::size_t i = offset; i < offset + count; ++i) {
        text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
    }
    return text;
}

TEST(Grub2BootArea, KeepsWhatBelongsToTheDisk) {
    const auto old = old_sector();
    const auto area = make_grub2_boot_area(made_up_grub2(), old);
    ASSERT_TRUE(area) << area.error().message();
    const auto same = [&](std::size_t from, std::size_t to) {
        return std::equal(old.begin() + static_cast<std::ptrdiff_t>(from),
                          old.begin() + static_cast<std::ptrdiff_t>(to),
                          area->begin() + static_cast<std::ptrdiff_t>(from));
    };
    EXPECT_TRUE(same(0x03, 0x5a)) << "BIOS parameter block";
    EXPECT_TRUE(same(0x1b8, 0x1fe)) << "disk signature and partition table";
    EXPECT_EQ(hex(*area, 0x00, 3), "b0b0b0");
    EXPECT_EQ(hex(*area, 0x5a, 2), "b0b0");
    EXPECT_EQ(hex(*area, 0x1fe, 2), "b0b0") << "the loader's own signature";
}

TEST(Grub2BootArea, PointsToTheCoreImageInTheGap) {
    const auto area = make_grub2_boot_area(made_up_grub2(1500), Sector{});
    ASSERT_TRUE(area);
    EXPECT_EQ(area->size(), 4U * 512) << "1500 bytes take three sectors";
    EXPECT_EQ(hex(*area, 0x5c, 8), "0100000000000000");
    EXPECT_EQ(hex(*area, 0x64, 4), "ffb09090");
    EXPECT_EQ(hex(*area, 512 + 0x1f4, 12), "020000000000000002002008");
    EXPECT_EQ(hex(*area, 512 + 1500, 4), "00000000") << "padding";
}

TEST(Grub2BootArea, LeavesRoomForAGpt) {
    const auto area = make_grub2_boot_area(made_up_grub2(1500), Sector{}, kBiosBootSector);
    ASSERT_TRUE(area);
    EXPECT_EQ(area->size(), 37U * 512);
    EXPECT_EQ(hex(*area, 0x5c, 8), "2200000000000000");
    EXPECT_EQ(hex(*area, 34 * 512, 2), "c0c0");
    EXPECT_EQ(hex(*area, 34 * 512 + 0x1f4, 12), "230000000000000002002008");
}

TEST(Grub2BootArea, MustFitIntoTheGap) {
    EXPECT_TRUE(make_grub2_boot_area(made_up_grub2(2047 * 512), Sector{}));
    const auto area = make_grub2_boot_area(made_up_grub2(2047 * 512 + 1), Sector{});
    ASSERT_FALSE(area);
    EXPECT_TRUE(area.error().is(Errc::no_space));
    EXPECT_NE(area.error().what.find("2049 sectors"), std::string::npos) << area.error().what;
}

std::vector<std::byte> empty_core(std::size_t bytes) {
    std::vector<std::byte> core(bytes, std::byte{0xc0});
    std::fill_n(core.begin() + 0x1a0, 0x200 - 0x1a0, std::byte{0});
    return core;
}

TEST(BlockList, GrowsDownwardsAndCountsSegments) {
    const auto core = empty_core(9 * 512 + 1);
    const auto listed = with_block_list(core, {{1000, 3}, {500, 4}, {70000, 8}});
    ASSERT_TRUE(listed) << listed.error().message();
    EXPECT_EQ(listed->size(), 10U * 512);
    // The boot record loads sector 1000; 1001, 1002 go to 0x8200 (segment 0x820), and so on.
    EXPECT_EQ(hex(*listed, 0x1f4, 12), "e90300000000000002002008");
    EXPECT_EQ(hex(*listed, 0x1e8, 12), "f40100000000000004006008");
    EXPECT_EQ(hex(*listed, 0x1dc, 12), "70110100000000000300e008");
    EXPECT_EQ(hex(*listed, 0x1d0, 12), std::string(24, '0')) << "the end of the list";
    EXPECT_EQ(hex(*listed, 0, 4), "c0c0c0c0");
    Sector first{};
    std::copy_n(listed->begin(), 512, first.begin());
    const auto runs = read_block_list(first);
    ASSERT_TRUE(runs) << runs.error().message();
    EXPECT_EQ(*runs, (std::vector<SectorRun>{{1001, 2}, {500, 4}, {70000, 3}}));
}

TEST(BlockList, FirstPieceOfOneSectorIsNotListed) {
    const auto listed = with_block_list(empty_core(2 * 512), {{8, 1}, {64, 1}});
    ASSERT_TRUE(listed) << listed.error().message();
    EXPECT_EQ(hex(*listed, 0x1f4, 12), "400000000000000001002008");
}

TEST(BlockList, NeverOverwritesCodeAndKeepsItsEnd) {
    // Room for eight entries from 0x1a0 on, one of which ends the list.
    std::vector<SectorRun> runs{{8, 1}};
    for (std::uint64_t i = 0; i < 7; ++i) runs.push_back({100 + 10 * i, 1});
    EXPECT_TRUE(with_block_list(empty_core(8 * 512), runs));
    runs.push_back({900, 1});
    const auto listed = with_block_list(empty_core(9 * 512), runs);
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().id, "file-fragmented");
    EXPECT_FALSE(with_block_list(empty_core(9 * 512), {{8, 4}})) << "the file is longer";
}

TEST(BlockList, HostileListIsAnError) {
    Sector first{};
    first.fill(std::byte{0x01});
    EXPECT_TRUE(read_block_list(first).error().is(Errc::corrupt));
    first.fill(std::byte{0xff});
    EXPECT_TRUE(read_block_list(first).error().is(Errc::corrupt));
    EXPECT_TRUE(read_block_list(Sector{})->empty());
}

TEST(BlockList, RealCoreImageHasRoomForSeveralPieces) {
    core::ProcessRunner commands;
    const auto image = build_grub2_image(commands, job::Layout::in_place);
    ASSERT_TRUE(image) << image.error().message();
    const auto sectors = sectors_of(image->core.size());
    std::vector<SectorRun> runs;
    for (std::size_t i = 0; i < 5; ++i) runs.push_back({1000 * (i + 1), sectors / 5 + 1});
    const auto listed = with_block_list(image->core, runs);
    ASSERT_TRUE(listed) << listed.error().message();
    Sector first{};
    std::copy_n(listed->begin(), 512, first.begin());
    EXPECT_EQ(read_block_list(first)->size(), 5U);
}

TEST(Grub2Config, ShowsTheImagesOwnMenu) {
    const auto config = grub2_config("/boot/grub/menu.lst");
    ASSERT_TRUE(config);
    EXPECT_NE(config->find("\nlegacy_configfile '/boot/grub/menu.lst'\n"), std::string::npos);
    EXPECT_NE(config->find("\nexport timeout\n"), std::string::npos);
}

TEST(Grub2Config, PathThatCouldEndTheQuoteIsRefused) {
    for (const char* path : {"/boot/x'; reboot; '", "/boot/a\nb", "", "boot/menu.lst"}) {
        const auto config = grub2_config(path);
        ASSERT_FALSE(config) << path;
        EXPECT_EQ(config.error().id, "menu-path-unusual");
    }
}

TEST(Grub2Environment, IsABlockOf1024Bytes) {
    const auto block = grub2_environment();
    EXPECT_EQ(block.size(), 1024U);
    EXPECT_TRUE(block.starts_with("# GRUB Environment Block\n#"));
    EXPECT_EQ(block.back(), '#');
}

TEST(Grub2Image, MissingFilesNameTheirPackage) {
    core::ProcessRunner commands;
    TemporaryDirectory empty;
    const auto image = build_grub2_image(commands, job::Layout::mbr, empty.path());
    ASSERT_FALSE(image);
    EXPECT_TRUE(image.error().is(Errc::not_installed));
    EXPECT_EQ(image.error().hint, "install the package grub-pc-bin");
}

TEST(Grub2Efi, IsAUefiProgramAndAlwaysTheSame) {
    core::ProcessRunner commands;
    const auto one = build_grub2_efi(commands);
    ASSERT_TRUE(one) << one.error().message();
    const auto two = build_grub2_efi(commands);
    ASSERT_TRUE(two);
    EXPECT_TRUE(*one == *two);
    EXPECT_EQ(hex(*one, 0, 2), "4d5a");
    EXPECT_GT(one->size(), 500000U);
    EXPECT_LT(one->size(), 4000000U);
}

/// Before its module 'normal' is started, GRUB knows single commands of what it has inside.
TEST(Grub2Efi, SaysNothingThatGrubDoesNotUnderstandYet) {
    core::ProcessRunner commands;
    const auto bytes = build_grub2_efi(commands);
    ASSERT_TRUE(bytes) << bytes.error().message();
    std::string text;
    for (const auto byte : *bytes) text += static_cast<char>(byte);
    const auto program = image::read_efi_program(text);
    EXPECT_EQ(program.kind, image::EfiProgramKind::grub2) << program.problem;
    EXPECT_EQ(program.config,
              "regexp --set=1:amidisk '^\\(([^,]+),' \"$cmdpath\"\n"
              "set root=\"$amidisk,gpt1\"\n"
              "set prefix=($root)/boot/amilift\n");
    EXPECT_EQ(image::grub_script::rescue_commands(program.config), program.config);
    EXPECT_TRUE(program.modules.contains("regexp"));
}

TEST(Grub2Efi, MissingFilesNameTheirPackage) {
    core::ProcessRunner commands;
    TemporaryDirectory empty;
    const auto program = build_grub2_efi(commands, empty.path());
    ASSERT_FALSE(program);
    EXPECT_TRUE(program.error().is(Errc::not_installed));
    EXPECT_EQ(program.error().hint, "install the package grub-efi-amd64-bin");
}

TEST(Grub2Image, ForeignBootRecordIsNotPatched) {
    core::ProcessRunner commands;
    TemporaryDirectory other;
    std::filesystem::copy(kGrub2Directory, other / "i386-pc",
                          std::filesystem::copy_options::recursive);
    auto boot = test::read_text(other / "i386-pc/boot.img");
    boot[0x66] = '\x74';
    write_text(other / "i386-pc/boot.img", boot);
    const auto image = build_grub2_image(commands, job::Layout::mbr, other / "i386-pc");
    ASSERT_FALSE(image);
    EXPECT_TRUE(image.error().is(Errc::corrupt));
    EXPECT_NE(image.error().what.find("has 74 05 at byte 0x66, expected eb 05"), std::string::npos)
        << image.error().what;
}

TEST(Grub2Image, SameGrubGivesTheSameBytes) {
    core::ProcessRunner commands;
    const auto one = build_grub2_image(commands);
    const auto two = build_grub2_image(commands);
    ASSERT_TRUE(one && two) << one.error().message();
    EXPECT_EQ(one->core, two->core);
    EXPECT_GT(one->core.size(), 100000U);
}

/// A made-up stage1 and stage1_5 with the marks of GRUB 0.97.
class LegacyTree : public ::testing::Test {
  protected:
    static std::string stage1() {
        std::string s(512, '\x11');
        put(s, 0x3e, {3, 2, 0xff});
        put(s, 0x42, {0x00, 0x80, 1, 0, 0, 0, 0x00, 0x08, 0xfa, 0xeb, 0x07});
        put(s, 0x1fe, {0x55, 0xaa});
        return s;
    }
    static std::string stage2(int id, const std::string& config, std::size_t bytes = 9460) {
        std::string s(bytes, '\x22');
        put(s, 0x1f8, {2, 0, 0, 0, 0, 0, 0x20, 0x02});
        put(s, 0x200, {0xea, 0x70, 0x22, 0, 0});
        put(s, 0x206, {3, 2});
        put(s, 0x210, {id, 0});
        s.replace(0x212, 5, std::string("0.97\0", 5));
        if (id == 2) {
            put(s, 0x217, {0xff, 0xff, 0xff, 0xff});
            s.replace(0x21b, config.size() + 1, config + '\0');
        } else {
            s.replace(0x217, config.size() + 1, config + '\0');
        }
        return s;
    }
    static void put(std::string& text, std::size_t offset, std::initializer_list<int> bytes) {
        for (const int byte : bytes) text[offset++] = static_cast<char>(byte);
    }
    void write_stages(const std::string& directory) {
        write_text(tree / (directory + "/stage1"), stage1());
        write_text(tree / (directory + "/e2fs_stage1_5"), stage2(2, "/boot/grub/stage2"));
        write_text(tree / (directory + "/stage2"), stage2(0, "/boot/grub/menu.lst"));
    }
    TemporaryDirectory tree;
    image::SafeRoot root = open_root_of(tree.path());
};

TEST_F(LegacyTree, PackagesOwnCopiesComeFirst) {
    write_stages("boot/grub");
    EXPECT_EQ(find_legacy_stages(root)->directory, "/boot/grub");
    write_stages("usr/share/grub/x86_64-redhat");
    EXPECT_EQ(find_legacy_stages(root)->directory, "/usr/share/grub/x86_64-redhat");
    write_stages("usr/lib/grub/x86_64-pc");
    const auto stages = find_legacy_stages(root);
    ASSERT_TRUE(stages) << stages.error().message();
    EXPECT_EQ(stages->directory, "/usr/lib/grub/x86_64-pc");
    EXPECT_EQ(stages->stage2_source, "/boot/grub/stage2");
    EXPECT_EQ(stages->menu_path, "/boot/grub/menu.lst");
}

TEST_F(LegacyTree, ImageWithoutStagesIsRefused) {
    write_text(tree / "boot/grub/stage1", stage1());
    const auto stages = find_legacy_stages(root);
    ASSERT_FALSE(stages);
    EXPECT_EQ(stages.error().id, "no-grub-legacy");
    EXPECT_TRUE(stages.error().is(Errc::refused));
}

TEST_F(LegacyTree, OtherVersionsAreNotPatched) {
    struct Damage {
        const char* file;
        std::size_t offset;
        char byte;
    };
    for (const auto& damage :
         {Damage{"stage1", 0x3e, 4}, Damage{"stage1", 0x4b, 0x74}, Damage{"stage1", 0x1ff, 0},
          Damage{"e2fs_stage1_5", 0x1f8, 3}, Damage{"e2fs_stage1_5", 0x206, 4},
          Damage{"e2fs_stage1_5", 0x210, 5}, Damage{"e2fs_stage1_5", 0x215, '5'},
          Damage{"stage2", 0x210, 2}, Damage{"stage2", 0x206, 1}}) {
        write_stages("boot/grub");
        const auto path = tree / (std::string("boot/grub/") + damage.file);
        auto text = test::read_text(path);
        text[damage.offset] = damage.byte;
        write_text(path, text);
        const auto stages = find_legacy_stages(root);
        ASSERT_FALSE(stages) << damage.file << " " << damage.offset;
        EXPECT_TRUE(stages.error().is(Errc::corrupt)) << stages.error().message();
        EXPECT_NE(stages.error().what.find(damage.file), std::string::npos);
    }
}

TEST_F(LegacyTree, TruncatedAndHugeStagesAreErrors) {
    for (const std::size_t bytes : {0UL, 100UL, 511UL, 513UL, 600UL << 10}) {
        for (const char* file : {"stage1", "e2fs_stage1_5", "stage2"}) {
            write_stages("boot/grub");
            test::make_file(tree / (std::string("boot/grub/") + file), bytes);
            EXPECT_FALSE(find_legacy_stages(root)) << file << " of " << bytes;
        }
    }
}

TEST_F(LegacyTree, BootAreaHasTheShellsValues) {
    write_stages("boot/grub");
    const auto old = old_sector();
    const auto area = make_legacy_boot_area(*find_legacy_stages(root), 1, old);
    ASSERT_TRUE(area) << area.error().message();
    EXPECT_EQ(area->size(), 20U * 512) << "stage1 and 19 sectors";
    EXPECT_EQ(hex(*area, 0x40, 1), "ff");
    EXPECT_EQ(hex(*area, 0x42, 8), "0020010000000002");
    EXPECT_EQ(hex(*area, 0x4a, 3), "fa9090");
    EXPECT_EQ(hex(*area, 0x1b8, 4), hex(old, 0x1b8, 4));
    EXPECT_EQ(hex(*area, 512 + 0x1f8, 8), "0200000012002002");
    EXPECT_EQ(hex(*area, 512 + 0x217, 4), "ffff01ff") << "partition 1 of the boot drive";
    std::string paths;
    for (std::size_t i = 512 + 0x21b; i < 512 + 0x270; ++i) {
        paths.push_back(static_cast<char>(std::to_integer<unsigned char>((*area)[i])));
    }
    EXPECT_EQ(paths.substr(0, 38), std::string("/boot/grub/stage2 /boot/grub/menu.lst") + '\0');
    EXPECT_EQ(paths.find_first_not_of('\0', 38), std::string::npos);
    EXPECT_EQ(hex(*area, 512 + 0x270, 1), "22") << "code begins here";
}

TEST_F(LegacyTree, PathsThatWouldOverwriteCodeAreAnError) {
    write_stages("boot/grub");
    auto stages = *find_legacy_stages(root);
    stages.menu_path = "/" + std::string(80, 'x');
    const auto area = make_legacy_boot_area(stages, 0, Sector{});
    ASSERT_FALSE(area);
    EXPECT_TRUE(area.error().is(Errc::corrupt));
}

class InPlacePlan : public PlanFixture {
  protected:
    InPlacePlan() {
        options.layout = job::Layout::in_place;
        facts.menu_text = menu("(hd0)", "root=UUID=5d41402a-bc4b-4a76-b971-9d911017c592");
    }
    static std::string menu(const std::string& device, const std::string& root) {
        return "default 0\ntitle one\nroot " + device + "\nkernel /boot/vmlinuz " + root +
               "\ninitrd /boot/initrd\n";
    }
};

TEST_F(InPlacePlan, EntryMustBootWithoutAPartition) {
    EXPECT_TRUE(require_in_place_entry(facts, facts.menu_text));
    const auto upper = require_in_place_entry(facts, menu("(HD0)", "root=LABEL=/"));
    EXPECT_TRUE(upper) << upper.error().message();
    for (const char* device : {"(hd0,0)", "(hd1)", "(hd0,msdos1)"}) {
        const auto seen = require_in_place_entry(facts, menu(device, "root=LABEL=/"));
        ASSERT_FALSE(seen) << device;
        EXPECT_EQ(seen.error().id, "in-place-partition-named");
    }
    for (const char* argument : {"root=/dev/sda1", "root=/dev/xvda", "ro", "root=PARTUUID=1-01"}) {
        const auto seen = require_in_place_entry(facts, menu("(hd0)", argument));
        ASSERT_FALSE(seen) << argument;
        EXPECT_EQ(seen.error().id, "in-place-root-device");
    }
    const auto text = menu("(hd0)", "root=LABEL=/");
    const auto without = text.substr(0, text.find("initrd"));
    EXPECT_EQ(require_in_place_entry(facts, without).error().id, "in-place-root-device");
}

TEST_F(InPlacePlan, FilesystemMustLeaveRoomAndHaveAName) {
    EXPECT_TRUE(require_in_place(context()));
    filesystem.uuid.clear();
    filesystem.label.clear();
    EXPECT_EQ(require_in_place(context()).error().id, "in-place-root-unnamed");
    options.bootloader = job::Bootloader::grub_legacy;
    EXPECT_EQ(require_in_place(context()).error().id, "in-place-needs-grub2");
    filesystem.type = dev::Filesystem::xfs;
    EXPECT_EQ(require_in_place(context()).error().id, "in-place-not-ext");
}

TEST_F(InPlacePlan, NothingIsCopiedAndNoTableIsWritten) {
    auto of_volume = context(filesystem.size_bytes);
    of_volume.target_has_content = true;
    EXPECT_TRUE(partition_module().plan(of_volume)->empty());
    EXPECT_TRUE(copy_module().plan(of_volume)->empty());
    const auto steps = bootloader_module().plan(of_volume);
    ASSERT_TRUE(steps) << steps.error().message();
    ASSERT_EQ(steps->size(), 4U);
    EXPECT_TRUE((*steps)[2].text.starts_with("write GRUB 2: core image of "));
    EXPECT_EQ((*steps)[3].text,
              "write GRUB 2: boot record with an empty partition table to sector 0, zeros to "
              "sector 1");
    // A file of the user is made: there the filesystem is copied, to the start.
    EXPECT_EQ(copy_module().plan(context())->size(), 1U);
    EXPECT_TRUE(partition_module().plan(context())->empty());
    EXPECT_EQ(plan_disk(options, filesystem, std::nullopt)->needed_bytes(), 64U << 20);
    const auto small = partition_module().plan(context(filesystem.size_bytes - 512));
    ASSERT_FALSE(small);
    EXPECT_TRUE(small.error().is(Errc::no_space));
}

class BootloaderPlan : public PlanFixture {
  protected:
    core::Error refusal() {
        const auto steps = bootloader_module().plan(context());
        EXPECT_FALSE(steps);
        return steps ? core::Error{} : steps.error();
    }
};

TEST_F(BootloaderPlan, Grub2StepsAreReadable) {
    const auto steps = bootloader_module().plan(context());
    ASSERT_TRUE(steps) << steps.error().message();
    ASSERT_EQ(steps->size(), 3U);
    EXPECT_EQ((*steps)[0].text,
              "write /boot/amilift/grub.cfg: GRUB 2 shows the menu /boot/grub/menu.lst");
    EXPECT_EQ((*steps)[1].text, "write /boot/amilift/grubenv: empty environment block");
    EXPECT_TRUE((*steps)[2].text.starts_with("write GRUB 2: boot record to sector 0, core image"));
}

TEST_F(BootloaderPlan, FeaturesThatGrubCannotReadAreRefused) {
    filesystem.type = dev::Filesystem::ext4;
    for (const std::uint32_t bit : {0x8000U, 0x20000U, 0x400U}) {
        filesystem.feature_incompat = 0x2 | bit;
        EXPECT_EQ(refusal().id, "grub-cannot-read") << bit;
    }
    filesystem.feature_incompat = 0x2c2;
    EXPECT_TRUE(bootloader_module().plan(context()));
    // The same bits mean something else in other filesystems.
    filesystem.type = dev::Filesystem::xfs;
    filesystem.feature_incompat = 0x8000;
    EXPECT_TRUE(bootloader_module().plan(context()));
}

TEST_F(BootloaderPlan, NoEntryNoKernelNoMenuAreRefused) {
    facts.boot_entry.reset();
    EXPECT_EQ(refusal().id, "no-bootable-entry");
    facts.boot_entry = 7;
    EXPECT_EQ(refusal().id, "no-bootable-entry");
    facts.boot_entry = 0;
    facts.kernel_of_entry = {std::nullopt};
    EXPECT_EQ(refusal().id, "no-bootable-entry");
    facts.kernel_of_entry = {3};
    EXPECT_EQ(refusal().id, "no-bootable-entry");
    facts.kernel_of_entry = {0};
    facts.menu_path.clear();
    EXPECT_EQ(refusal().id, "no-bootable-entry");
}

TEST_F(BootloaderPlan, LegacyRefusesWhatItCannotRead) {
    options.bootloader = job::Bootloader::grub_legacy;
    EXPECT_EQ(refusal().id, "no-grub-legacy");
    filesystem.type = dev::Filesystem::xfs;
    EXPECT_EQ(refusal().id, "grub-legacy-cannot-read");
    filesystem.type = dev::Filesystem::ext4;
    filesystem.feature_incompat = 0x2c2;  // 64bit
    EXPECT_EQ(refusal().id, "grub-legacy-cannot-read");
    filesystem.feature_incompat = 0x242;
    filesystem.feature_ro_compat = 0x400;  // metadata_csum
    EXPECT_EQ(refusal().id, "grub-legacy-cannot-read");
}

TEST_F(BootloaderPlan, CrcOfACraftedDiskIsGrubs) {
    const auto disk = tree / "disk.img";
    test::make_file(disk, 16U << 20);
    ASSERT_TRUE(
        commands.run_ok({.argv = {"mke2fs", "-q", "-t", "ext3", "-F", "-d", tree / "boot", disk}}));
    const auto crc = crc32_as_grub_reads(commands, disk, "(loop0)/vmlinuz");
    ASSERT_TRUE(crc) << crc.error().message();
    EXPECT_EQ(*crc, 0x5dd29aabU) << fmt::format("{:08x}", *crc);
    // A name that looks like an option, in the current directory.
    const auto before = std::filesystem::current_path();
    std::filesystem::copy_file(disk, tree / "-x.img");
    std::filesystem::current_path(tree.path());
    const auto odd = crc32_as_grub_reads(commands, "-x.img", "(loop0)/vmlinuz");
    std::filesystem::current_path(before);
    ASSERT_TRUE(odd) << odd.error().message();
    EXPECT_EQ(*odd, *crc);
    const auto missing = crc32_as_grub_reads(commands, disk, "(loop0)/nothing");
    ASSERT_FALSE(missing);
    EXPECT_TRUE(missing.error().is(Errc::corrupt));
    EXPECT_NE(missing.error().what.find("not found"), std::string::npos) << missing.error().what;
}

}  // namespace
}  // namespace amilift::modules
