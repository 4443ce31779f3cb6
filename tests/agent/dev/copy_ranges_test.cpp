// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_ranges.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace amilift::dev {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kKiB = 1024;

std::vector<std::byte> bytes_with_data_at(std::size_t size, std::vector<std::size_t> places) {
    std::vector<std::byte> bytes(size);
    for (const auto place : places) bytes.at(place) = std::byte{1};
    return bytes;
}

TEST(JoinSmallGaps, JoinsTouchingExtentsWithoutBudget) {
    EXPECT_THAT(join_small_gaps({{0, 10}, {10, 5}, {20, 1}}, 0),
                ElementsAre(Extent{0, 15}, Extent{20, 1}));
}

TEST(QueueFor, AsManyBytesInMoreChunksWhereRangesAreShort) {
    const auto ranges_of = [](std::uint64_t length, std::size_t count) {
        std::vector<Extent> ranges;
        for (std::size_t i = 0; i < count; ++i) ranges.push_back({i * 2 * length, length});
        return ranges;
    };
    const CopyQueue usual;
    EXPECT_EQ(queue_for({}), usual);
    EXPECT_EQ(queue_for(ranges_of(1024 * kKiB, 10)), usual);
    EXPECT_EQ(queue_for(ranges_of(128 * kKiB, 10)), usual);
    EXPECT_EQ(queue_for(ranges_of(127 * kKiB, 10)), (CopyQueue{128, 128U << 10U}));
    EXPECT_EQ(queue_for(ranges_of(4 * kKiB, 10)), (CopyQueue{256, 64U << 10U}));
    // One long range and some short ones: most of the bytes are in whole chunks.
    auto mixed = ranges_of(4 * kKiB, 10);
    mixed.push_back({mixed.back().offset + kKiB * kKiB, 8 * kKiB * kKiB});
    EXPECT_EQ(queue_for(mixed), usual);
}

TEST(JoinSmallGaps, LeavesGapsFrom64KiBOn) {
    const std::vector<Extent> extents{{0, kKiB}, {65 * kKiB, kKiB}};
    EXPECT_EQ(join_small_gaps(extents, 1U << 30), extents);
    const std::vector<Extent> nearer{{0, kKiB}, {64 * kKiB, kKiB}};
    EXPECT_THAT(join_small_gaps(nearer, 1U << 30), ElementsAre(Extent{0, 65 * kKiB}));
}

TEST(JoinSmallGaps, TakesTheSmallestGapsFirst) {
    // Gaps of 8, 4 and 4 KiB; there is room for the two small ones.
    EXPECT_THAT(join_small_gaps({{0, 4096}, {12288, 4096}, {20480, 4096}, {28672, 4096}}, 9000),
                ElementsAre(Extent{0, 4096}, Extent{12288, 20480}));
}

TEST(JoinSmallGaps, TakesAsManyOfOneSizeAsFit) {
    EXPECT_THAT(join_small_gaps({{0, 4096}, {8192, 4096}, {16384, 4096}, {24576, 4096}}, 2 * 4096),
                ElementsAre(Extent{0, 20480}, Extent{24576, 4096}));
}

TEST(JoinSmallGaps, NeverExceedsItsBudgetAndLosesNothing) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        std::vector<Extent> extents;
        std::uint64_t at = 0;
        for (int i = 0; i < 100; ++i) {
            at += random() % (96 * kKiB);
            const std::uint64_t length = 1 + random() % (64 * kKiB);
            extents.push_back({at, length});
            at += length;
        }
        const std::uint64_t budget = random() % (512 * kKiB);
        const auto joined = join_small_gaps(extents, budget);
        EXPECT_LE(total_bytes(joined), total_bytes(extents) + budget);
        std::size_t inside = 0;
        for (const auto& extent : extents) {
            for (const auto& range : joined) {
                if (extent.offset >= range.offset &&
                    extent.offset + extent.length <= range.offset + range.length) {
                    ++inside;
                    break;
                }
            }
        }
        EXPECT_EQ(inside, extents.size());
    }
}

TEST(AlignRanges, KeepsAlignedExtents) {
    const auto ranges = align_ranges({{0, 512}, {1024, 512}}, 512);
    EXPECT_THAT(ranges.aligned, ElementsAre(Extent{0, 512}, Extent{1024, 512}));
    EXPECT_THAT(ranges.edges, IsEmpty());
}

TEST(AlignRanges, WidensInsideAndListsTheEdgesApart) {
    // A filesystem of 1 KiB blocks on sectors of 4 KiB.
    const auto ranges = align_ranges({{1024, 8192}, {17408, 1024}, {21504, 7168}}, 4096);
    EXPECT_THAT(ranges.aligned, ElementsAre(Extent{4096, 8192}, Extent{16384, 12288}));
    EXPECT_THAT(ranges.edges, ElementsAre(Extent{1024, 3072}));
    const auto tail = align_ranges({{0, 5120}}, 4096);
    EXPECT_THAT(tail.aligned, ElementsAre(Extent{0, 4096}));
    EXPECT_THAT(tail.edges, ElementsAre(Extent{4096, 1024}));
}

TEST(AlignRanges, GivesOneEdgeWhenNothingIsAligned) {
    const auto ranges = align_ranges({{4097, 10}, {4200, 10}}, 4096);
    EXPECT_THAT(ranges.aligned, IsEmpty());
    EXPECT_THAT(ranges.edges, ElementsAre(Extent{4097, 113}));
    EXPECT_THAT(align_ranges({}, 4096).edges, IsEmpty());
}

TEST(AlignRanges, CoversEveryByteOnceAndNothingOutside) {
    std::mt19937 random(11);
    for (int round = 0; round < 500; ++round) {
        std::vector<Extent> extents;
        std::uint64_t at = random() % 9000;
        const auto count = 1 + random() % 8;
        for (unsigned i = 0; i < count; ++i) {
            const std::uint64_t length = 1 + random() % 9000;
            extents.push_back({at, length});
            at += length + 1 + random() % 9000;
        }
        const auto ranges = align_ranges(extents, 4096);
        const auto end = extents.back().offset + extents.back().length;
        std::vector<int> covered(static_cast<std::size_t>(end), 0);
        auto all = ranges.aligned;
        all.insert(all.end(), ranges.edges.begin(), ranges.edges.end());
        for (const auto& range : all) {
            ASSERT_GE(range.offset, extents.front().offset);
            ASSERT_LE(range.offset + range.length, end);
            for (auto i = range.offset; i < range.offset + range.length; ++i) {
                ++covered.at(static_cast<std::size_t>(i));
            }
        }
        for (const auto& range : ranges.aligned) {
            ASSERT_EQ(range.offset % 4096, 0U);
            ASSERT_EQ(range.length % 4096, 0U);
        }
        for (const auto& extent : extents) {
            for (auto i = extent.offset; i < extent.offset + extent.length; ++i) {
                ASSERT_EQ(covered.at(static_cast<std::size_t>(i)), 1) << "byte " << i;
            }
        }
    }
}

TEST(ChunkCursor, CutsAtMultiplesOfTheChunkSize) {
    ChunkCursor cursor({{3072, 6144}, {16384, 4096}}, 4096);
    EXPECT_EQ(cursor.next(), (Extent{3072, 1024}));
    EXPECT_EQ(cursor.next(), (Extent{4096, 4096}));
    EXPECT_EQ(cursor.next(), (Extent{8192, 1024}));
    EXPECT_EQ(cursor.next(), (Extent{16384, 4096}));
    EXPECT_EQ(cursor.next(), std::nullopt);
    EXPECT_EQ(cursor.next(), std::nullopt);
}

TEST(IsZero, SeesOneByteAnywhere) {
    EXPECT_TRUE(is_zero({}));
    EXPECT_TRUE(is_zero(std::vector<std::byte>(4096)));
    for (const std::size_t place : {0U, 1U, 2047U, 4095U}) {
        EXPECT_FALSE(is_zero(bytes_with_data_at(4096, {place}))) << place;
    }
}

TEST(FindDataRuns, SkipsLongZeroRunsOnly) {
    std::vector<DataRun> runs;
    find_data_runs(std::vector<std::byte>(256 * kKiB), kZeroStepBytes, runs);
    EXPECT_THAT(runs, IsEmpty());
    // Data in the first block, then 60 KiB of zeros: written through. Then 64 KiB: left out.
    find_data_runs(bytes_with_data_at(256 * kKiB, {0, 64 * kKiB, 132 * kKiB}), kZeroStepBytes,
                   runs);
    EXPECT_THAT(runs, ElementsAre(DataRun{0, 68 * kKiB}, DataRun{132 * kKiB, 4 * kKiB}));
}

TEST(FindDataRuns, KeepsAShortLastStep) {
    std::vector<DataRun> runs;
    find_data_runs(bytes_with_data_at(5120, {5119}), kZeroStepBytes, runs);
    EXPECT_THAT(runs, ElementsAre(DataRun{4096, 1024}));
}

TEST(FindDataRuns, StaysWithinItsOwnBound) {
    std::vector<std::size_t> places;
    for (std::size_t at = 0; at < 1024 * kKiB; at += 68 * kKiB) places.push_back(at);
    std::vector<DataRun> runs;
    find_data_runs(bytes_with_data_at(1024 * kKiB, places), kZeroStepBytes, runs);
    EXPECT_EQ(runs.size(), places.size());
    EXPECT_LE(runs.size(), max_data_runs(1024 * kKiB));
}

TEST(SubtractExtents, LeavesWhatIsNotGone) {
    const std::vector<Extent> ranges{{0, 100}, {200, 100}, {400, 100}};
    EXPECT_EQ(subtract_extents(ranges, {}), ranges);
    EXPECT_EQ(subtract_extents({}, ranges), std::vector<Extent>{});
    EXPECT_EQ(subtract_extents(ranges, ranges), std::vector<Extent>{});
    EXPECT_EQ(subtract_extents(ranges, {{0, 500}}), std::vector<Extent>{});
    EXPECT_EQ(subtract_extents(ranges, {{0, 10}, {20, 10}, {90, 120}, {290, 10}, {450, 10}}),
              (std::vector<Extent>{{10, 10}, {30, 60}, {210, 80}, {400, 50}, {460, 40}}));
    EXPECT_EQ(subtract_extents(ranges, {{100, 100}, {300, 100}, {500, 5}}), ranges);
}

}  // namespace
}  // namespace amilift::dev
