// SPDX-License-Identifier: Apache-2.0
#include "dev/partitions.hpp"

#include <gmock/gmock.h>

#include "dev/byte_order.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::TemporaryDirectory;

/// A sparse disk into which tests write tables by hand.
class Partitions : public ::testing::Test {
  protected:
    static constexpr std::uint64_t kBytes = std::uint64_t{8} << 20;

    void put(std::uint64_t offset, std::string_view bytes) const {
        const core::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
                  static_cast<ssize_t>(bytes.size()));
    }
    template <class T>
    void number(std::uint64_t offset, T value) const {
        std::array<std::byte, sizeof(T)> bytes{};
        store_le(std::span<std::byte>(bytes), 0, value);
        std::string text;
        for (const auto b : bytes) text += static_cast<char>(b);
        put(offset, text);
    }
    void entry(std::uint64_t table, unsigned index, std::uint8_t type, std::uint32_t start,
               std::uint32_t count) const {
        const auto at = table * 512 + 446 + std::uint64_t{index} * 16;
        number(at + 4, type);
        number(at + 8, start);
        number(at + 12, count);
        number(table * 512 + 510, std::uint16_t{0xaa55});
    }
    [[nodiscard]] BlockDevice disk() const { return *BlockDevice::open(path, Access::read_only); }
    [[nodiscard]] core::Result<std::vector<Partition>> read() const {
        return read_partitions(disk(), DiskLayout::mbr);
    }
    [[nodiscard]] BootCodeKind code(const std::vector<Partition>& partitions = {}) const {
        return read_boot_code(disk(), partitions)->kind;
    }

    TemporaryDirectory directory;
    std::string path = testing::make_sparse(directory, "disk", kBytes);
};

TEST_F(Partitions, LogicalOnesCountFromFive) {
    entry(0, 0, 0x83, 64, 64);
    entry(0, 1, 0x0f, 1024, 8192);
    entry(1024, 0, 0x83, 8, 100);
    entry(1024, 1, 0x05, 1000, 500);
    entry(2024, 0, 0x82, 8, 100);
    number(440, std::uint32_t{0xa1b2c3d4});
    const auto partitions = read();
    ASSERT_TRUE(partitions) << partitions.error().message();
    ASSERT_EQ(partitions->size(), 3U);
    EXPECT_EQ((*partitions)[0].number, 1);
    EXPECT_EQ((*partitions)[0].uuid, "a1b2c3d4-01");
    EXPECT_EQ((*partitions)[1].number, 5);
    EXPECT_EQ((*partitions)[1].offset_bytes, 1032U * 512);
    EXPECT_EQ((*partitions)[2].number, 6);
    EXPECT_EQ((*partitions)[2].offset_bytes, 2032U * 512);
    EXPECT_EQ((*partitions)[2].uuid, "a1b2c3d4-06");
}

/// The kernel counts logical partitions, not the tables that name them.
TEST_F(Partitions, ATableMayHoldTwoLogicalOnesOrNone) {
    entry(0, 0, 0x05, 1024, 8192);
    entry(1024, 0, 0x83, 8, 10);
    entry(1024, 1, 0x82, 20, 10);
    entry(1024, 2, 0x05, 1000, 500);
    entry(2024, 1, 0x05, 2000, 500);
    entry(3024, 0, 0x83, 8, 10);
    const auto partitions = read();
    ASSERT_TRUE(partitions) << partitions.error().message();
    ASSERT_EQ(partitions->size(), 3U);
    EXPECT_EQ((*partitions)[0].number, 5);
    EXPECT_EQ((*partitions)[1].number, 6);
    EXPECT_EQ((*partitions)[2].number, 7);
    EXPECT_EQ((*partitions)[2].offset_bytes, 3032U * 512);
}

TEST_F(Partitions, AChainThatTurnsBackEnds) {
    entry(0, 0, 0x05, 1024, 8192);
    entry(1024, 0, 0x83, 8, 10);
    entry(1024, 1, 0x05, 1000, 500);
    entry(2024, 0, 0x83, 8, 10);
    entry(2024, 1, 0x05, 0, 500);
    const auto partitions = read();
    ASSERT_TRUE(partitions) << partitions.error().message();
    EXPECT_EQ(partitions->size(), 2U);
}

TEST_F(Partitions, OutsideOfTheirExtendedOneAreDamage) {
    entry(0, 0, 0x05, 1024, 100);
    entry(1024, 0, 0x83, 8, 10000);
    const auto partitions = read();
    ASSERT_FALSE(partitions);
    EXPECT_TRUE(partitions.error().is(Errc::corrupt));
}

TEST_F(Partitions, AreToldByWhatTheyHold) {
    entry(0, 0, 0x83, 2048, 1024);
    const std::uint64_t at = 2048 * 512;
    EXPECT_EQ(read()->at(0).content, PartitionContent::empty);
    put(at + 4086, "SWAPSPACE2");
    put(at + 1036, std::string(16, '\x11'));
    EXPECT_EQ(read()->at(0).content, PartitionContent::swap);
    EXPECT_EQ(read()->at(0).content_uuid, "11111111-1111-1111-1111-111111111111");
    put(at + 512, "LABELONE");
    EXPECT_EQ(read()->at(0).content, PartitionContent::lvm);
    put(at + 4096, "\xfc\x4e\x2b\xa9");
    EXPECT_EQ(read()->at(0).content, PartitionContent::raid);
    put(at, "LUKS\xba\xbe");
    EXPECT_EQ(read()->at(0).content, PartitionContent::luks);
}

/// mke2fs(8) clears the first 4 KiB only: what a kernel with large pages swapped to leaves its
/// mark.
TEST_F(Partitions, AFilesystemIsNoSwapForAnOldMark) {
    testing::run({"mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", path, "4096"});
    entry(0, 0, 0x83, 2048, 8192);
    put(2048 * 512 + 65526, "SWAPSPACE2");
    EXPECT_EQ(read()->at(0).content, PartitionContent::filesystem);
}

TEST_F(Partitions, TellRaidBySuperblocksAtTheEndToo) {
    entry(0, 0, 0x83, 2048, 1024);
    // 0.90: the last whole 64 KiB but one of 512 KiB.
    put(2048 * 512 + (std::uint64_t{448} << 10), "\xfc\x4e\x2b\xa9");
    EXPECT_EQ(read()->at(0).content, PartitionContent::raid);
}

TEST_F(Partitions, FatHasItsSerialForAUuid) {
    entry(0, 0, 0xef, 2048, 1024);
    put(2048 * 512 + 82, "FAT32   ");
    number(2048 * 512 + 67, std::uint32_t{0x1234abcd});
    number(2048 * 512 + 510, std::uint16_t{0xaa55});
    EXPECT_EQ(read()->at(0).content, PartitionContent::fat);
    EXPECT_EQ(read()->at(0).content_uuid, "1234-ABCD");
}

TEST_F(Partitions, BootCodeIsToldByItsSectors) {
    EXPECT_EQ(code(), BootCodeKind::none);
    put(0, "\xfa some master boot code");
    EXPECT_EQ(code(), BootCodeKind::unknown);

    Partition active;
    active.number = 2;
    active.offset_bytes = 64 * 512;
    active.active = true;
    put(64 * 512 + 3, "EXTLINUX");
    EXPECT_EQ(code({active}), BootCodeKind::extlinux);
    EXPECT_EQ(code(), BootCodeKind::unknown);

    put(0, std::string("\xeb\x48\x90", 3));
    put(0x180, "GRUB ");
    number(0x3e, std::uint16_t{0x0203});
    number(0x44, std::uint32_t{1});
    EXPECT_EQ(code(), BootCodeKind::unknown) << "without its next stage";
    put(512 + 100, "Loading stage1.5");
    EXPECT_EQ(code(), BootCodeKind::grub_legacy);

    put(0, std::string("\xeb\x63\x90", 3));
    number(0x5c, std::uint64_t{1} << 40);
    EXPECT_EQ(code(), BootCodeKind::unknown) << "a core image behind the end of the disk";
    number(0x5c, std::uint64_t{3});
    put(3 * 512, "loading");
    EXPECT_EQ(code(), BootCodeKind::grub2);
}

}  // namespace
}  // namespace amilift::dev
