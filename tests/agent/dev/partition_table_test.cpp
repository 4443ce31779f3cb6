// SPDX-License-Identifier: Apache-2.0
#include "dev/partition_table.hpp"

#include <gtest/gtest.h>

#include <random>

#include "dev/byte_order.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::make_sparse;
using testing::open_disk;
using testing::random_bytes;
using testing::run;
using testing::TemporaryDirectory;
using testing::write_at;
using Sector = std::array<std::byte, 512>;

constexpr std::uint64_t kDiskBytes = 64U << 20;
constexpr std::uint64_t kDiskSectors = kDiskBytes / 512;

Sector table_of(const MbrPartition& partition) {
    const auto sector = make_mbr(partition, 0x12345678);
    if (!sector) throw std::runtime_error(sector.error().message());
    return *sector;
}

MbrPartition root_partition() {
    return {
        .number = 1, .type = 0x83, .active = true, .start_sector = 2048, .sector_count = 100000};
}

void set_entry(Sector& sector, int number, std::uint8_t status, std::uint8_t type,
               std::uint32_t start, std::uint32_t count) {
    const std::span<std::byte> bytes(sector);
    const auto at = 446 + static_cast<std::size_t>(number - 1) * 16;
    sector[at] = std::byte{status};
    sector[at + 4] = std::byte{type};
    store_le(bytes, at + 8, start);
    store_le(bytes, at + 12, count);
}

TEST(Mbr, WritesTheBytesThatAPartitionTableHas) {
    const auto sector = table_of(root_partition());
    const std::array<std::uint8_t, 16> entry{0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff,
                                             0x00, 0x08, 0x00, 0x00, 0xa0, 0x86, 0x01, 0x00};
    for (std::size_t i = 0; i < entry.size(); ++i) {
        EXPECT_EQ(std::to_integer<std::uint8_t>(sector.at(446 + i)), entry.at(i)) << i;
    }
    EXPECT_EQ(load_le<std::uint32_t>(sector, 440), 0x12345678U);
    EXPECT_EQ(sector[510], std::byte{0x55});
    EXPECT_EQ(sector[511], std::byte{0xaa});
    for (std::size_t i = 0; i < 440; ++i) EXPECT_EQ(sector.at(i), std::byte{0});
}

TEST(Mbr, ReadsBackWhatItWrote) {
    auto partition = root_partition();
    partition.number = 3;
    partition.active = false;
    partition.type = 0x0c;
    const auto parsed = parse_mbr(table_of(partition), kDiskSectors);
    ASSERT_TRUE(parsed) << parsed.error().message();
    ASSERT_EQ(parsed->size(), 1U);
    EXPECT_EQ(parsed->at(0).number, 3);
    EXPECT_EQ(parsed->at(0).type, 0x0c);
    EXPECT_FALSE(parsed->at(0).active);
    EXPECT_EQ(parsed->at(0).start_sector, 2048U);
    EXPECT_EQ(parsed->at(0).sector_count, 100000U);
}

TEST(Mbr, RefusesWhatDoesNotFitIt) {
    auto partition = root_partition();
    partition.sector_count = std::uint64_t{1} << 32;
    auto made = make_mbr(partition, 1);
    ASSERT_FALSE(made);
    EXPECT_TRUE(made.error().is(Errc::invalid_input));
    EXPECT_NE(made.error().what.find("4294967296"), std::string::npos);
    partition = root_partition();
    partition.number = 5;
    EXPECT_FALSE(make_mbr(partition, 1));
    partition = root_partition();
    partition.start_sector = 0;
    EXPECT_FALSE(make_mbr(partition, 1));
    partition = root_partition();
    partition.type = 0;
    EXPECT_FALSE(make_mbr(partition, 1));
    partition = root_partition();
    partition.sector_count = 0;
    EXPECT_FALSE(make_mbr(partition, 1));
}

TEST(Mbr, RefusesASectorWithoutSignature) {
    auto sector = table_of(root_partition());
    sector[511] = std::byte{0};
    const auto parsed = parse_mbr(sector, kDiskSectors);
    ASSERT_FALSE(parsed);
    EXPECT_TRUE(parsed.error().is(Errc::corrupt));
    EXPECT_NE(parsed.error().what.find("55 00"), std::string::npos);
}

TEST(Mbr, RefusesEntriesThatCannotBe) {
    auto status = table_of(root_partition());
    set_entry(status, 2, 0x41, 0x83, 200000 / 2, 10);
    EXPECT_FALSE(parse_mbr(status, kDiskSectors));

    auto overlap = table_of(root_partition());
    set_entry(overlap, 2, 0, 0x83, 102047, 100);
    const auto overlapping = parse_mbr(overlap, kDiskSectors);
    ASSERT_FALSE(overlapping);
    EXPECT_NE(overlapping.error().what.find("1 and 2 overlap at sector 102047"), std::string::npos);

    auto beyond = table_of(root_partition());
    set_entry(beyond, 4, 0, 0x83, kDiskSectors - 1, 2);
    EXPECT_FALSE(parse_mbr(beyond, kDiskSectors));
    EXPECT_TRUE(parse_mbr(beyond, kDiskSectors + 1));

    auto zero = table_of(root_partition());
    set_entry(zero, 2, 0, 0x83, 0, 1);
    EXPECT_FALSE(parse_mbr(zero, kDiskSectors));
}

TEST(Mbr, SkipsUnusedEntries) {
    auto sector = table_of(root_partition());
    set_entry(sector, 2, 0, 0x83, 5, 0);
    set_entry(sector, 3, 0, 0, 5, 7);
    const auto parsed = parse_mbr(sector, kDiskSectors);
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->size(), 1U);
}

TEST(Mbr, SurvivesAnyBytes) {
    std::mt19937 random(3);
    std::size_t accepted = 0;
    for (int round = 0; round < 20000; ++round) {
        auto sector = table_of(root_partition());
        const auto flips = 1 + random() % 4;
        for (unsigned i = 0; i < flips; ++i) {
            sector.at(440 + random() % 72) ^= static_cast<std::byte>(1U << random() % 8);
        }
        const auto parsed = parse_mbr(sector, kDiskSectors);
        if (!parsed) {
            EXPECT_TRUE(parsed.error().is(Errc::corrupt));
            continue;
        }
        ++accepted;
        for (const auto& partition : *parsed) {
            EXPECT_GT(partition.start_sector, 0U);
            EXPECT_LE(partition.start_sector + partition.sector_count, kDiskSectors);
        }
    }
    EXPECT_GT(accepted, 0U);
    EXPECT_LT(accepted, 20000U);
}

class Disk : public ::testing::Test {
  protected:
    [[nodiscard]] DiskLayout layout() const { return contents().layout; }
    [[nodiscard]] DiskContents contents() const {
        const auto found = read_disk_contents(open_disk(path_));
        if (!found) throw std::runtime_error(found.error().message());
        return *found;
    }
    void make_filesystem(const std::string& type, const std::string& path) {
        run({"mke2fs", "-q", "-F", "-t", type, path});
    }
    /// Filesystem `type` at byte `offset` of the disk.
    void place_filesystem(const std::string& type, std::uint64_t offset, std::uint64_t bytes) {
        const auto part = make_sparse(directory_, "part", bytes);
        make_filesystem(type, part);
        write_at(path_, offset, testing::read_at(part, 0, static_cast<std::size_t>(bytes)));
    }
    TemporaryDirectory directory_;
    std::string path_ = make_sparse(directory_, "disk", kDiskBytes);
};

TEST_F(Disk, IsEmptyWhenItsFirstMiBIsZeros) {
    EXPECT_EQ(layout(), DiskLayout::empty);
    const std::array one{std::byte{1}};
    write_at(path_, (1U << 20) - 1, one);
    EXPECT_EQ(layout(), DiskLayout::unknown);
}

TEST_F(Disk, IsAFilesystemWithoutTable) {
    make_filesystem("ext3", path_);
    EXPECT_EQ(layout(), DiskLayout::bare_filesystem);
}

TEST_F(Disk, IsAFilesystemInSpiteOfABootSectorsJunk) {
    make_filesystem("ext3", path_);
    auto junk = random_bytes(512, 1);
    junk[510] = std::byte{0x55};
    junk[511] = std::byte{0xaa};
    write_at(path_, 0, junk);
    EXPECT_EQ(layout(), DiskLayout::bare_filesystem);
    // Even a well-formed table leads nowhere.
    write_at(path_, 0, table_of(root_partition()));
    EXPECT_EQ(layout(), DiskLayout::bare_filesystem);
}

TEST_F(Disk, BackupSuperblocksAreNoPartitions) {
    // With 1 KiB blocks the first backup superblock is at byte 8193 * 1024: just where the
    // superblock of a partition from sector 16384 on would be.
    run({"mke2fs", "-q", "-F", "-t", "ext3", "-b", "1024", path_});
    auto partition = root_partition();
    partition.start_sector = 16384;
    write_at(path_, 0, table_of(partition));
    EXPECT_EQ(layout(), DiskLayout::bare_filesystem);
}

TEST_F(Disk, IsATableInSpiteOfAnOldSuperblockInTheGap) {
    make_filesystem("ext3", path_);
    place_filesystem("ext4", 1U << 20, 32U << 20);
    write_at(path_, 0, table_of(root_partition()));
    const auto found = contents();
    EXPECT_EQ(found.layout, DiskLayout::mbr);
    ASSERT_EQ(found.partitions.size(), 1U);
    EXPECT_EQ(found.partitions[0].start_sector, 2048U);
}

TEST_F(Disk, IsATableWhateverThePartitionsHold) {
    write_at(path_, 0, table_of(root_partition()));
    EXPECT_EQ(layout(), DiskLayout::mbr);
}

TEST_F(Disk, GptIsKnownByItsProtectiveEntry) {
    run({"sfdisk", "-q", path_}, {0}, "label: gpt\n,,L\n");
    EXPECT_EQ(layout(), DiskLayout::gpt);
    // The header alone is what an earlier use left.
    write_at(path_, 0, table_of(root_partition()));
    EXPECT_EQ(layout(), DiskLayout::mbr);
}

TEST_F(Disk, ReadsWhatSfdiskWrites) {
    run({"sfdisk", "-q", path_}, {0}, "label: dos\nstart=2048,size=4096,type=83,bootable\n,,82\n");
    const auto found = contents();
    ASSERT_EQ(found.layout, DiskLayout::mbr);
    ASSERT_EQ(found.partitions.size(), 2U);
    EXPECT_TRUE(found.partitions[0].active);
    EXPECT_EQ(found.partitions[0].sector_count, 4096U);
    EXPECT_EQ(found.partitions[1].type, 0x82);
}

TEST_F(Disk, SaysThatAFilesystemIsCutShort) {
    make_filesystem("ext4", path_);
    std::filesystem::resize_file(path_, kDiskBytes / 2);
    const auto found = read_disk_contents(open_disk(path_));
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().is(Errc::corrupt));
    EXPECT_NE(found.error().hint.find("cut short"), std::string::npos);
}

TEST_F(Disk, OfLessThanASectorIsRefused) {
    std::filesystem::resize_file(path_, 511);
    EXPECT_FALSE(read_disk_contents(open_disk(path_)));
}

}  // namespace
}  // namespace amilift::dev
