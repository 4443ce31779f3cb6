// SPDX-License-Identifier: Apache-2.0
#include "dev/used_extents.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::make_sparse;
using testing::open_disk;
using testing::read_at;
using testing::run;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kSize = 48U << 20;

TEST(SubtractFree, LeavesWhatIsNotFree) {
    EXPECT_THAT(subtract_free(100, {}), ElementsAre(Extent{0, 100}));
    EXPECT_THAT(subtract_free(100, {{0, 100}}), IsEmpty());
    EXPECT_THAT(subtract_free(0, {{0, 100}}), IsEmpty());
    EXPECT_THAT(subtract_free(100, {{40, 10}, {10, 20}}),
                ElementsAre(Extent{0, 10}, Extent{30, 10}, Extent{50, 50}));
    EXPECT_THAT(subtract_free(100, {{10, 30}, {20, 5}, {90, 1000}}),
                ElementsAre(Extent{0, 10}, Extent{40, 50}));
    EXPECT_THAT(subtract_free(100, {{50, ~std::uint64_t{0}}, {200, 1}}),
                ElementsAre(Extent{0, 50}));
}

TEST(FreeRanges, AreTheLongestOfTooMany) {
    FreeRanges ranges(4);
    for (const std::uint64_t length : {4U, 1U, 64U, 2U}) ranges.add({1000 * length, length});
    ranges.add({0, 32});
    ranges.add({90, 1});  // what is too short by now
    EXPECT_THAT(std::move(ranges).take(),
                ElementsAre(Extent{4000, 4}, Extent{64000, 64}, Extent{2000, 2}, Extent{0, 32}));
    FreeRanges same(3);
    for (std::uint64_t i = 0; i < 9; ++i) same.add({8 * i, 4});
    EXPECT_THAT(std::move(same).take(), ::testing::SizeIs(::testing::Le(3U)));
}

class ExtMap : public ::testing::Test {
  protected:
    void mke2fs(std::vector<std::string> options) {
        std::vector<std::string> argv{"mke2fs", "-q", "-F"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.push_back(path_);
        run(argv);
    }
    [[nodiscard]] core::Result<ExtentMap> map() const {
        const auto disk = open_disk(path_);
        AMILIFT_TRY(const auto info, read_filesystem_info(disk, 0));
        return map_used_extents(disk, info, nullptr);
    }
    /// Free blocks as dumpe2fs(8) lists them, in bytes.
    [[nodiscard]] std::uint64_t free_bytes(std::uint32_t block_bytes) const {
        std::istringstream lines(run({"dumpe2fs", "-h", path_}));
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("Free blocks:")) return std::stoull(line.substr(12)) * block_bytes;
        }
        throw std::runtime_error("dumpe2fs names no free blocks");
    }
    TemporaryDirectory directory_;
    std::string path_ = make_sparse(directory_, "disk", kSize);
};

TEST_F(ExtMap, AgreesWithDumpe2fs) {
    struct Case {
        std::vector<std::string> options;
        std::uint32_t block_bytes;
    };
    const std::vector<Case> cases{
        {{"-t", "ext2", "-b", "1024"}, 1024},
        {{"-t", "ext3", "-b", "2048"}, 2048},
        {{"-t", "ext4", "-b", "4096"}, 4096},
        {{"-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum,uninit_bg"}, 1024},
        {{"-t", "ext4", "-b", "4096", "-O", "meta_bg,^resize_inode"}, 4096},
    };
    for (const auto& wanted : cases) {
        mke2fs(wanted.options);
        const auto found = map();
        ASSERT_TRUE(found) << found.error().message();
        EXPECT_EQ(found->method, "ext2fs");
        // The boot block of a filesystem with 1 KiB blocks is in no group, and counts as used.
        EXPECT_EQ(found->used_bytes, kSize - free_bytes(wanted.block_bytes));
        EXPECT_EQ(found->used_bytes, total_bytes(found->used));
        EXPECT_EQ(found->used.front().offset, 0U);
        EXPECT_LT(found->used_bytes, kSize / 2);
    }
}

TEST_F(ExtMap, CountsClustersWhole) {
    mke2fs({"-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "65536"});
    const auto found = map();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->method, "ext2fs");
    EXPECT_EQ(found->used_bytes, kSize - free_bytes(4096));
}

TEST_F(ExtMap, TakesAnUncleanFilesystemWhole) {
    mke2fs({"-t", "ext3"});
    run({"debugfs", "-w", "-R", "feature needs_recovery", path_});
    const auto found = map();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->method, "whole filesystem");
    EXPECT_THAT(found->used, ElementsAre(Extent{0, kSize}));
}

TEST_F(ExtMap, TakesAFilesystemWholeWhoseBitmapForgetsBlocks) {
    mke2fs({"-t", "ext3", "-b", "4096"});
    ASSERT_EQ(map()->method, "ext2fs");
    // A block of the journal, as a damaged disk would forget it: no checksum tells.
    run({"debugfs", "-w", "-R", "freeb 1600 8", path_});
    const auto found = map();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->method, "whole filesystem");
    EXPECT_THAT(found->used, ElementsAre(Extent{0, kSize}));
}

TEST_F(ExtMap, TakesAnUnknownFeatureWhole) {
    mke2fs({"-t", "ext4", "-O", "^metadata_csum"});
    const auto feature = read_at(path_, 1024 + 96, 4);
    auto changed = feature;
    changed[3] |= std::byte{0x40};
    write_at(path_, 1024 + 96, changed);
    const auto found = map();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->method, "whole filesystem");
}

TEST_F(ExtMap, TakesAnUnknownDeviceWhole) {
    const auto disk = open_disk(path_);
    FilesystemInfo info;
    info.type = Filesystem::unknown;
    const auto found = map_used_extents(disk, info, nullptr);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->method, "whole device");
    EXPECT_EQ(found->used_bytes, kSize);
}

TEST_F(ExtMap, RefusesABitmapThatFailsItsChecksum) {
    mke2fs({"-t", "ext4", "-b", "4096", "-O", "metadata_csum,^uninit_bg"});
    std::istringstream lines(run({"dumpe2fs", path_}));
    std::uint64_t bitmap = 0;
    for (std::string line; bitmap == 0 && std::getline(lines, line);) {
        const auto at = line.find("Block bitmap at ");
        if (at != std::string::npos) bitmap = std::stoull(line.substr(at + 16));
    }
    ASSERT_NE(bitmap, 0U);
    auto bytes = read_at(path_, bitmap * 4096 + 200, 1);
    bytes[0] ^= std::byte{0xff};
    write_at(path_, bitmap * 4096 + 200, bytes);
    const auto found = map();
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().is(Errc::corrupt));
    EXPECT_NE(found.error().what.find("block bitmap"), std::string::npos) << found.error().what;
}

TEST_F(ExtMap, NeedsAMountForXfs) {
    std::filesystem::resize_file(path_, 320U << 20);
    run({"mkfs.xfs", "-q", "-f", path_});
    const auto found = map();
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().is(Errc::invalid_input));
}

/// Damages the first blocks (superblock, group descriptors, bitmaps) at random: never a crash, and
/// what comes out is inside the device.
TEST_F(ExtMap, SurvivesDamagedMetadata) {
    constexpr std::size_t kMetadata = 256U << 10;
    for (const auto& options :
         {std::vector<std::string>{"-t", "ext3", "-b", "1024"},
          std::vector<std::string>{"-t", "ext4", "-b", "4096", "-O", "^metadata_csum"}}) {
        mke2fs(options);
        const auto good = read_at(path_, 0, kMetadata);
        std::mt19937 random(13);
        int mapped = 0;
        int refused = 0;
        for (int round = 0; round < 400; ++round) {
            auto bytes = good;
            for (int i = 0; i < 3; ++i) {
                const std::size_t range = random() % 2 == 0 ? 1024 : kMetadata - 1024;
                bytes.at(1024 + random() % range) = static_cast<std::byte>(random() & 0xffU);
            }
            write_at(path_, 0, bytes);
            const auto found = map();
            if (!found) {
                ++refused;
                continue;
            }
            ++mapped;
            std::uint64_t at = 0;
            for (const auto& extent : found->used) {
                EXPECT_GE(extent.offset, at);
                at = extent.offset + extent.length;
            }
            EXPECT_LE(at, kSize);
        }
        EXPECT_GT(mapped, 0);
        EXPECT_GT(refused, 0);
    }
}

}  // namespace
}  // namespace amilift::dev
