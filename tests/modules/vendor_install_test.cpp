// SPDX-License-Identifier: Apache-2.0
// The boot areas that amilift writes, byte for byte against what GRUB's own installers write.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "modules/grub2_image.hpp"
#include "modules/grub_legacy.hpp"
#include "modules/partition.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using test::open_root_of;
using test::read_text;
using test::TemporaryDirectory;
using test::write_text;

constexpr std::uint64_t kFilesystemBytes = 32U << 20;

class VendorInstall : public ::testing::TestWithParam<const char*> {
  protected:
    /// A disk with one partition whose ext filesystem holds `tree_`.
    std::string make_disk() {
        auto disk = work_ / "disk.img";
        test::make_file(disk, kRootOffset + kFilesystemBytes);
        const auto made = commands_.run_ok(
            {.argv = {"mke2fs", "-q", "-F", "-t", GetParam(), "-E", "offset=1048576", "-d",
                      tree_.path(), disk, fmt::format("{}k", kFilesystemBytes >> 10)}});
        EXPECT_TRUE(made) << made.error().message();
        dev::MbrPartition partition;
        partition.active = true;
        partition.start_sector = dev::kRootStartSector;
        partition.sector_count = kFilesystemBytes / 512;
        const auto table = dev::make_mbr(partition, 0x1234abcd);
        EXPECT_TRUE(table);
        const auto fd = core::open_file(disk, O_RDWR);
        EXPECT_TRUE(fd && core::write_all_at(*fd, *table, 0, disk));
        return disk;
    }

    static Sector first_sector(const std::string& disk) {
        Sector sector{};
        const auto text = read_text(disk);
        for (std::size_t i = 0; i < sector.size(); ++i) sector[i] = static_cast<std::byte>(text[i]);
        return sector;
    }

    /// The disk's bytes with `area` in front.
    static std::string with_area(const std::string& disk, const BootArea& area) {
        auto text = read_text(disk);
        for (std::size_t i = 0; i < area.size(); ++i) {
            text[i] = static_cast<char>(std::to_integer<unsigned char>(area[i]));
        }
        return text;
    }

    static void expect_same(const std::string& ours, const std::string& theirs) {
        ASSERT_EQ(ours.size(), theirs.size());
        const auto differs = std::ranges::mismatch(ours, theirs);
        EXPECT_TRUE(differs.in1 == ours.end())
            << fmt::format("first difference at byte 0x{:x}", differs.in1 - ours.begin());
    }

    TemporaryDirectory work_;
    TemporaryDirectory tree_;
    core::ProcessRunner commands_;
};

TEST_P(VendorInstall, Grub2IsWhatGrubBiosSetupWrites) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root for loop devices";
    if (!std::filesystem::exists("/usr/lib/grub/i386-pc/grub-bios-setup")) {
        GTEST_SKIP() << "this grub-pc-bin has no grub-bios-setup";
    }
    const auto image = build_grub2_image(commands_);
    ASSERT_TRUE(image) << image.error().message();
    const auto text_of = [](const std::vector<std::byte>& bytes) {
        std::string text;
        for (const auto b : bytes) text.push_back(static_cast<char>(b));
        return text;
    };
    write_text(tree_ / "boot/amilift/boot.img", text_of(image->boot));
    write_text(tree_ / "boot/amilift/core.img", text_of(image->core));
    const auto disk = make_disk();
    const auto area = make_grub2_boot_area(*image, first_sector(disk));
    ASSERT_TRUE(area) << area.error().message();
    const auto ours = with_area(disk, *area).substr(0, kRootOffset);

    const auto installed =
        commands_.run_ok({.argv = {"tests/modules/vendor/grub_bios_setup", disk, "/boot/amilift"}});
    ASSERT_TRUE(installed) << installed.error().message();
    expect_same(ours, read_text(disk).substr(0, kRootOffset));
}

TEST_P(VendorInstall, LegacyIsWhatTheGrubShellWrites) {
    const auto fetched = commands_.run({.argv = {"tests/modules/vendor/fetch_grub_legacy"}});
    ASSERT_TRUE(fetched) << fetched.error().message();
    if (fetched->exit_code != 0) GTEST_SKIP() << fetched->err;
    const auto package = fetched->out.substr(0, fetched->out.find('\n'));
    for (const char* stage : {"stage1", "stage2", "e2fs_stage1_5"}) {
        write_text(tree_ / (std::string("boot/grub/") + stage),
                   read_text(package + "/usr/lib/grub/x86_64-pc/" + stage));
    }
    write_text(tree_ / "boot/grub/menu.lst", "title none\n");
    const auto disk = make_disk();
    const auto stages = find_legacy_stages(open_root_of(tree_.path()));
    ASSERT_TRUE(stages) << stages.error().message();
    const auto area = make_legacy_boot_area(*stages, 0, first_sector(disk));
    ASSERT_TRUE(area) << area.error().message();
    const auto ours = with_area(disk, *area);

    write_text(work_ / "device.map", fmt::format("(hd0) {}\n", disk));
    const auto installed =
        commands_.run_ok({.argv = {package + "/usr/sbin/grub", "--batch", "--no-floppy",
                                   "--device-map=" + (work_ / "device.map")},
                          .input = "root (hd0,0)\nsetup (hd0)\nquit\n"});
    ASSERT_TRUE(installed) << installed.error().message();
    ASSERT_NE(installed->out.find("succeeded"), std::string::npos) << installed->out;
    // All of the disk: the shell patches nothing inside the filesystem either.
    expect_same(ours, read_text(disk));
}

INSTANTIATE_TEST_SUITE_P(Filesystems, VendorInstall, ::testing::Values("ext2", "ext3"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace amilift::modules
