// SPDX-License-Identifier: Apache-2.0
#include "dev/gpt.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>

#include "dev/byte_order.hpp"
#include "dev/partition_table.hpp"
#include "dev/partitions.hpp"

namespace amilift::dev {
namespace {

using core::Errc;

constexpr std::uint64_t kSectors = 262144;

GptEntry entry(int number, std::uint64_t first, std::uint64_t last) {
    GptEntry e;
    e.number = number;
    e.type = guid_of(kGptTypeLinux);
    e.id = guid_of("00112233-4455-6677-8899-aabbccddeeff");
    e.first_sector = first;
    e.last_sector = last;
    e.name = "root";
    return e;
}

/// The CRC of the specification, bit by bit: reflected polynomial 0xEDB88320.
std::uint32_t slow_crc(std::span<const std::byte> bytes) {
    std::uint32_t crc = 0xffffffffU;
    for (const auto b : bytes) {
        crc ^= std::to_integer<std::uint32_t>(b);
        for (int i = 0; i < 8; ++i) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
    }
    return ~crc;
}

void expect_header(std::span<const std::byte> sector, std::span<const std::byte> entries,
                   std::uint64_t own, std::uint64_t other, std::uint64_t entries_at) {
    std::string magic;
    for (const auto b : sector.first(8)) magic += std::to_integer<char>(b);
    EXPECT_EQ(magic, "EFI PART");
    EXPECT_EQ(load_le<std::uint32_t>(sector, 8), 0x00010000U);
    std::vector<std::byte> header(sector.begin(), sector.begin() + 92);
    store_le(std::span(header), 16, std::uint32_t{0});
    EXPECT_EQ(load_le<std::uint32_t>(sector, 16), slow_crc(header));
    EXPECT_EQ(load_le<std::uint64_t>(sector, 24), own);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 32), other);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 40), 34U);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 48), kSectors - 34);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 72), entries_at);
    EXPECT_EQ(load_le<std::uint32_t>(sector, 80), 128U);
    EXPECT_EQ(load_le<std::uint32_t>(sector, 84), 128U);
    EXPECT_EQ(load_le<std::uint32_t>(sector, 88), slow_crc(entries));
}

TEST(Gpt, BothCopiesSayTheSameAndTheirChecksumsAreRight) {
    const auto tables =
        make_gpt(guid_of(kGptTypeBiosBoot), std::array{entry(1, 2048, 200000)}, kSectors);
    ASSERT_TRUE(tables) << tables.error().message();
    const std::span<const std::byte> front(tables->front);
    const std::span<const std::byte> back(tables->back);
    ASSERT_EQ(front.size(), 34U * 512);
    ASSERT_EQ(back.size(), 33U * 512);
    const auto entries = front.subspan(1024);
    EXPECT_TRUE(std::ranges::equal(entries, back.first(32U * 512)));
    expect_header(front.subspan(512, 512), entries, 1, kSectors - 1, 2);
    expect_header(back.subspan(32U * 512), entries, kSectors - 1, 1, kSectors - 33);
}

TEST(Gpt, EntryLiesAtItsNumber) {
    const auto tables =
        make_gpt(guid_of(kGptTypeBiosBoot), std::array{entry(15, 2048, 4095)}, kSectors);
    ASSERT_TRUE(tables);
    const auto bytes = std::span<const std::byte>(tables->front).subspan(1024 + 14 * 128, 128);
    // 0FC63DAF-8483-4772-...: three little-endian numbers, then bytes.
    constexpr std::array kStart{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79};
    for (std::size_t i = 0; i < kStart.size(); ++i) {
        EXPECT_EQ(std::to_integer<int>(bytes[i]), kStart[i]) << i;
    }
    EXPECT_EQ(load_le<std::uint64_t>(bytes, 32), 2048U);
    EXPECT_EQ(load_le<std::uint64_t>(bytes, 40), 4095U);
    EXPECT_EQ(std::to_integer<char>(bytes[56]), 'r');
    EXPECT_EQ(std::to_integer<char>(bytes[57]), '\0');
    EXPECT_EQ(std::to_integer<char>(bytes[58]), 'o');
}

TEST(Gpt, ProtectiveRecordCoversTheDisk) {
    const auto tables = make_gpt({}, {}, kSectors);
    ASSERT_TRUE(tables);
    const std::span<const std::byte, 512> sector(tables->front.data(), 512);
    const auto partitions = parse_mbr(sector, kSectors);
    ASSERT_TRUE(partitions) << partitions.error().message();
    ASSERT_EQ(partitions->size(), 1U);
    EXPECT_EQ(partitions->front().type, 0xee);
    EXPECT_FALSE(partitions->front().active);
    EXPECT_EQ(partitions->front().start_sector, 1U);
    EXPECT_EQ(partitions->front().sector_count, kSectors - 1);

    const auto large = make_gpt({}, {}, std::uint64_t{1} << 33);
    ASSERT_TRUE(large);
    EXPECT_EQ(load_le<std::uint32_t>(large->front, 446 + 12),
              std::numeric_limits<std::uint32_t>::max());
}

TEST(Gpt, EntriesThatDoNotFitAreRefused) {
    const auto refused = [](std::vector<GptEntry> entries, std::uint64_t sectors) {
        const auto tables = make_gpt({}, entries, sectors);
        return !tables && tables.error().is(Errc::invalid_input);
    };
    EXPECT_FALSE(refused({entry(1, 34, kSectors - 34)}, kSectors));
    EXPECT_TRUE(refused({entry(1, 33, 100)}, kSectors)) << "in the first table";
    EXPECT_TRUE(refused({entry(1, 34, kSectors - 33)}, kSectors)) << "in the backup";
    EXPECT_TRUE(refused({entry(1, 100, 99)}, kSectors));
    EXPECT_TRUE(refused({entry(0, 100, 200)}, kSectors));
    EXPECT_TRUE(refused({entry(129, 100, 200)}, kSectors));
    EXPECT_TRUE(refused({entry(1, 100, 200), entry(2, 200, 300)}, kSectors)) << "overlap";
    EXPECT_TRUE(refused({entry(1, 100, 200), entry(1, 201, 300)}, kSectors)) << "same number";
    EXPECT_TRUE(refused({}, 67));
}

TEST(Gpt, GuidOfAnythingElseIsZero) {
    EXPECT_EQ(guid_of(""), Guid{});
    EXPECT_EQ(guid_of("0fc63daf-8483-4772-8e79"), Guid{});
    EXPECT_EQ(guid_of("xyc63daf-8483-4772-8e79-3d69d8477de4"), Guid{});
}

class GptOnDisk : public ::testing::Test {
  protected:
    static constexpr std::uint64_t kLonger = kSectors * 2;
    void SetUp() override {
        const auto tables =
            make_gpt(guid_of(kGptTypeBiosBoot),
                     std::array{entry(14, 34, 2047), entry(1, 2048, kSectors - 40)}, kSectors);
        ASSERT_TRUE(tables) << tables.error().message();
        write(tables->front, 0);
        write(tables->back, kSectors * 512 - tables->back.size());
        std::filesystem::resize_file(path_, kLonger * 512);
    }
    void TearDown() override { std::filesystem::remove(path_); }
    void write(std::span<const std::byte> bytes, std::uint64_t at) const {
        const core::Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        ASSERT_TRUE(core::write_all_at(fd, bytes, at, path_.string()));
    }
    [[nodiscard]] core::Result<BlockDevice> open() const {
        return BlockDevice::open(path_.string(), Access::read_write);
    }
    const std::filesystem::path path_ =
        std::filesystem::temp_directory_path() / ("amilift-gpt-" + std::to_string(::getpid()));
};

TEST_F(GptOnDisk, BothCopiesTellOfTheLongerPartition) {
    const auto disk = open();
    ASSERT_TRUE(disk);
    const auto table = read_gpt_copy(*disk, 1);
    ASSERT_TRUE(table) << table.error().message();
    const auto written = write_longer_gpt(*disk, *table, 1, kLonger - 2048);
    ASSERT_TRUE(written) << written.error().message();
    const auto first = read_gpt_copy(*disk, 1);
    const auto second = read_gpt_copy(*disk, kLonger - 1);
    ASSERT_TRUE(first) << first.error().message();
    ASSERT_TRUE(second) << second.error().message();
    EXPECT_EQ(first->entries, second->entries);
    EXPECT_EQ(second->entries_sector, kLonger - 33);
    EXPECT_EQ(load_le<std::uint64_t>(std::span(first->header), 32), kLonger - 1);
    EXPECT_EQ(load_le<std::uint64_t>(std::span(first->header), 48), kLonger - 34);
    EXPECT_EQ(load_le<std::uint64_t>(first->entry(0), 40), kLonger - 2049);
    EXPECT_EQ(load_le<std::uint64_t>(first->entry(13), 40), 2047U);
    std::array<std::byte, 512> record{};
    ASSERT_TRUE(core::read_exactly_at(disk->fd(), record, 0, "disk"));
    EXPECT_EQ(load_le<std::uint32_t>(std::span<const std::byte>(record), 446 + 12), kLonger - 1);
}

TEST_F(GptOnDisk, EitherCopyAloneIsEnoughAtEveryMoment) {
    const auto disk = open();
    ASSERT_TRUE(disk);
    const auto table = read_gpt_copy(*disk, 1);
    ASSERT_TRUE(table);
    std::array<std::byte, 34 * 512> front{};
    ASSERT_TRUE(core::read_exactly_at(disk->fd(), front, 0, "disk"));
    ASSERT_TRUE(write_longer_gpt(*disk, *table, 1, kLonger - 2048));
    // The writing stopped in the middle of the first copy: new entries, the old header.
    write(std::span(front).subspan(512, 512), 512);
    EXPECT_FALSE(read_gpt_copy(*disk, 1));
    const auto partitions = read_partitions(*disk, DiskLayout::gpt);
    ASSERT_TRUE(partitions) << partitions.error().message();
    EXPECT_EQ(partitions->back().size_bytes, (kLonger - 4096) * 512);
    // From the second copy, the first is written again.
    const auto second = read_gpt_copy(*disk, kLonger - 1);
    ASSERT_TRUE(second);
    ASSERT_TRUE(write_longer_gpt(*disk, *second, 1, kLonger - 2048));
    EXPECT_TRUE(read_gpt_copy(*disk, 1));
}

TEST_F(GptOnDisk, NothingIsWrittenForAnEndThatDoesNotFit) {
    const auto disk = open();
    ASSERT_TRUE(disk);
    const auto table = read_gpt_copy(*disk, 1);
    ASSERT_TRUE(table);
    for (const std::uint64_t end : {std::uint64_t{2048}, kLonger - 32, kLonger}) {
        EXPECT_FALSE(write_longer_gpt(*disk, *table, 1, end)) << end;
    }
    EXPECT_FALSE(write_longer_gpt(*disk, *table, 129, kLonger - 2048));
    const auto still = read_gpt_copy(*disk, 1);
    ASSERT_TRUE(still);
    EXPECT_EQ(still->entries, table->entries);
}

}  // namespace
}  // namespace amilift::dev
