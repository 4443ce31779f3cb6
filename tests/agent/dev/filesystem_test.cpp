// SPDX-License-Identifier: Apache-2.0
#include "dev/filesystem.hpp"

#include <gtest/gtest.h>

#include <random>

#include "dev/byte_order.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::make_sparse;
using testing::open_disk;
using testing::read_at;
using testing::run;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kSize = 40U << 20;
constexpr const char* kUuid = "01234567-89ab-cdef-0123-456789abcdef";

class Superblock : public ::testing::Test {
  protected:
    void mke2fs(std::vector<std::string> options) {
        std::vector<std::string> argv{"mke2fs", "-q", "-F", "-U", kUuid, "-L", "root"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.push_back(path_);
        run(argv);
    }
    [[nodiscard]] core::Result<FilesystemInfo> read(std::uint64_t offset = 0) const {
        return read_filesystem_info(open_disk(path_), offset);
    }
    /// Overwrites an integer of the ext superblock.
    template <class T>
    void set_ext(std::size_t at, T value) const {
        std::array<std::byte, sizeof(T)> bytes{};
        store_le(std::span<std::byte>(bytes), 0, value);
        write_at(path_, 1024 + at, bytes);
    }
    void expect_corrupt(const std::string& words) const {
        const auto info = read();
        ASSERT_FALSE(info) << words;
        EXPECT_TRUE(info.error().is(Errc::corrupt));
        EXPECT_NE(info.error().what.find(words), std::string::npos) << info.error().what;
        EXPECT_NE(info.error().what.find(path_), std::string::npos) << info.error().what;
        EXPECT_FALSE(info.error().hint.empty());
    }
    TemporaryDirectory directory_;
    std::string path_ = make_sparse(directory_, "disk", kSize);
};

TEST_F(Superblock, TellsTheExtFamilyApart) {
    struct Case {
        std::vector<std::string> options;
        Filesystem type;
        std::uint32_t block_bytes;
    };
    const std::vector<Case> cases{
        {{"-t", "ext2"}, Filesystem::ext2, 0},
        {{"-t", "ext3", "-b", "1024"}, Filesystem::ext3, 1024},
        {{"-t", "ext4", "-b", "4096"}, Filesystem::ext4, 4096},
        // As Enterprise Linux 5 and the distributions of 2006 made them.
        {{"-t", "ext3", "-b", "4096", "-I", "128", "-O",
          "none,has_journal,resize_inode,dir_index,filetype,sparse_super,large_file"},
         Filesystem::ext3,
         4096},
        {{"-t", "ext2", "-O", "none,filetype,sparse_super"}, Filesystem::ext2, 0},
        // Uninitialised groups are an ext4 feature, with or without journal.
        {{"-t", "ext4", "-O", "none,filetype,uninit_bg,extent"}, Filesystem::ext4, 0},
    };
    for (const auto& wanted : cases) {
        mke2fs(wanted.options);
        const auto info = read();
        ASSERT_TRUE(info) << info.error().message();
        EXPECT_EQ(info->type, wanted.type) << to_string(info->type);
        EXPECT_EQ(info->size_bytes, kSize);
        if (wanted.block_bytes != 0) {
            EXPECT_EQ(info->block_bytes, wanted.block_bytes);
        }
        EXPECT_EQ(info->uuid, kUuid);
        EXPECT_EQ(info->label, "root");
        EXPECT_TRUE(info->clean);
        EXPECT_FALSE(info->needs_recovery);
        EXPECT_FALSE(info->has_errors);
    }
}

TEST_F(Superblock, ReadsXfs) {
    std::filesystem::resize_file(path_, 320U << 20);
    run({"mkfs.xfs", "-q", "-f", "-m", std::string("uuid=") + kUuid, "-L", "data", path_});
    const auto info = read();
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::xfs);
    EXPECT_EQ(info->size_bytes, 320U << 20);
    EXPECT_EQ(info->block_bytes, 4096U);
    EXPECT_EQ(info->uuid, kUuid);
    EXPECT_EQ(info->label, "data");
    EXPECT_TRUE(info->clean);
    EXPECT_FALSE(info->needs_recovery);
}

TEST_F(Superblock, ReadsAtAnOffset) {
    mke2fs({"-t", "ext4"});
    const auto fs = read_at(path_, 0, kSize);
    std::filesystem::resize_file(path_, kSize + (1U << 20));
    write_at(path_, 1U << 20, fs);
    const auto info = read(1U << 20);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::ext4);
    const auto outside = read(kSize + (1U << 20));
    ASSERT_FALSE(outside);
    EXPECT_TRUE(outside.error().is(Errc::corrupt));
}

TEST_F(Superblock, NamesNothingAndTheUnknown) {
    auto info = read();
    ASSERT_TRUE(info);
    EXPECT_EQ(info->type, Filesystem::none);
    run({"mkswap", "-q", path_});
    info = read();
    ASSERT_TRUE(info);
    EXPECT_EQ(info->type, Filesystem::unknown);
}

TEST_F(Superblock, JournalDevicesAndBackupsAreNoFilesystems) {
    run({"mke2fs", "-q", "-F", "-O", "journal_dev", "-b", "4096", path_});
    auto info = read();
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::unknown);
    mke2fs({"-t", "ext3"});
    set_ext<std::uint16_t>(90, 1);
    info = read();
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::unknown);
}

TEST_F(Superblock, TellsWhatIsNotClean) {
    mke2fs({"-t", "ext2"});
    set_ext<std::uint16_t>(58, 0);
    auto info = read();
    ASSERT_TRUE(info);
    EXPECT_FALSE(info->clean);
    EXPECT_FALSE(info->needs_recovery);
    EXPECT_FALSE(info->has_errors);

    mke2fs({"-t", "ext3"});
    set_ext<std::uint16_t>(58, 3);
    info = read();
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->has_errors);
    EXPECT_FALSE(info->clean);

    mke2fs({"-t", "ext3"});
    run({"debugfs", "-w", "-R", "feature needs_recovery", path_});
    info = read();
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->needs_recovery);
    EXPECT_FALSE(info->clean);
}

TEST_F(Superblock, RefusesContradictions) {
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(24, 7);
    expect_corrupt("block size exponent is 7");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(4, kSize / 1024 + 1);
    expect_corrupt("is 40961, expected 1 to 40960");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(32, 0);
    expect_corrupt("blocks per group is 0");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(32, 8);
    expect_corrupt("blocks per group is 8");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(40, 0);
    expect_corrupt("inodes per group is 0");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(20, 2);
    expect_corrupt("first data block is 2");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint16_t>(88, 100);
    expect_corrupt("inode is 100");
    mke2fs({"-t", "ext3", "-b", "1024"});
    set_ext<std::uint32_t>(0, 5);
    expect_corrupt("number of inodes is 5");
    mke2fs({"-t", "ext4", "-O", "64bit"});
    set_ext<std::uint16_t>(254, 48);
    expect_corrupt("group descriptor is 48");
}

/// Flips bits of a real superblock: the answer is an error or a filesystem inside the device.
void mutate(std::vector<std::byte> start, std::uint64_t device_bytes, std::size_t from,
            std::size_t count) {
    std::mt19937 random(5);
    int refused = 0;
    for (int round = 0; round < 20000; ++round) {
        auto bytes = start;
        const auto flips = 1 + random() % 6;
        for (unsigned i = 0; i < flips; ++i) {
            bytes.at(from + random() % count) = static_cast<std::byte>(random() & 0xffU);
        }
        XfsShape shape;
        const auto info = parse_filesystem_info(bytes, device_bytes, "fuzzed", &shape);
        if (!info) {
            ++refused;
            EXPECT_TRUE(info.error().is(Errc::corrupt));
            continue;
        }
        EXPECT_LE(info->size_bytes, device_bytes);
        if (info->size_bytes > 0) {
            EXPECT_GE(info->block_bytes, 512U);
        }
        if (shape.has_internal_log) {
            EXPECT_LE(shape.log_offset_bytes + shape.log_bytes, info->size_bytes);
        }
    }
    EXPECT_GT(refused, 0);
}

TEST_F(Superblock, SurvivesAnyBytes) {
    mke2fs({"-t", "ext4", "-O", "64bit"});
    mutate(read_at(path_, 0, 4096), kSize, 1024, 340);
    std::filesystem::resize_file(path_, 320U << 20);
    run({"mkfs.xfs", "-q", "-f", path_});
    mutate(read_at(path_, 0, 4096), 320U << 20, 0, 200);
}

TEST_F(Superblock, SurvivesAnyLength) {
    mke2fs({"-t", "ext4"});
    const auto start = read_at(path_, 0, 4096);
    for (std::size_t length = 0; length < start.size(); length += 37) {
        const auto info = parse_filesystem_info(std::span(start).first(length), length, "short");
        if (info) {
            EXPECT_NE(info->type, Filesystem::ext4);
        }
    }
}

TEST_F(Superblock, SurvivesADamagedXfsLog) {
    std::filesystem::resize_file(path_, 320U << 20);
    run({"mkfs.xfs", "-q", "-f", path_});
    XfsShape shape;
    ASSERT_TRUE(parse_filesystem_info(read_at(path_, 0, 4096), 320U << 20, path_, &shape));
    ASSERT_TRUE(shape.has_internal_log);
    const auto good = read_at(path_, shape.log_offset_bytes, 4096);
    std::mt19937 random(9);
    int clean = 0;
    for (int round = 0; round < 300; ++round) {
        auto bytes = good;
        for (int i = 0; i < 4; ++i) {
            bytes.at(random() % 1024) = static_cast<std::byte>(random() & 0xffU);
        }
        write_at(path_, shape.log_offset_bytes, bytes);
        const auto info = read();
        ASSERT_TRUE(info) << info.error().message();
        EXPECT_EQ(info->clean, !info->needs_recovery);
        clean += info->clean ? 1 : 0;
    }
    EXPECT_LT(clean, 300);
    write_at(path_, shape.log_offset_bytes, std::vector<std::byte>(4096));
    const auto info = read();
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->needs_recovery);
}

/// Overwrites an integer of the superblock of btrfs, whose checksum nobody but the kernel looks at.
template <class T>
void set_btrfs(const std::string& path, std::size_t at, T value) {
    std::array<std::byte, sizeof(T)> bytes{};
    store_le(std::span<std::byte>(bytes), 0, value);
    write_at(path, 65536 + at, bytes);
}

TEST(BtrfsSuperblock, ThatContradictsItselfIsCorrupt) {
    const TemporaryDirectory directory;
    const auto path = make_sparse(directory, "disk", 128U << 20);
    const auto make = [&] { run({"mkfs.btrfs", "-q", "-f", "-U", kUuid, "-L", "root", path}); };
    make();
    const auto info = read_filesystem_info(open_disk(path), 0);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::btrfs);
    EXPECT_EQ(info->uuid, kUuid);
    EXPECT_EQ(info->label, "root");
    EXPECT_EQ(info->size_bytes, 128U << 20);
    EXPECT_TRUE(info->clean);

    struct Case {
        std::size_t at;
        std::uint64_t value;
        const char* words;
    };
    for (const auto& [at, value, words] :
         {Case{0x30, 4096, "its own place"}, Case{0x88, 0, "number of devices"},
          Case{0xd1, std::uint64_t{1} << 60, "size of this device"},
          Case{0xd1, 4095, "size of this device"}, Case{0xd1, 0, "size of this device"},
          Case{0x90, std::uint64_t{16384} << 32 | 512, "sector size"},
          Case{0x90, std::uint64_t{3000} << 32 | 4096, "size of a tree node"}}) {
        set_btrfs<std::uint64_t>(path, at, value);
        const auto bad = read_filesystem_info(open_disk(path), 0);
        ASSERT_FALSE(bad) << words;
        EXPECT_TRUE(bad.error().is(Errc::corrupt));
        EXPECT_NE(bad.error().what.find(words), std::string::npos) << bad.error().what;
        make();
    }
    set_btrfs<std::uint64_t>(path, 0x60, 4096);
    EXPECT_TRUE(read_filesystem_info(open_disk(path), 0)->needs_recovery);
    set_btrfs<std::uint64_t>(path, 0x88, 3);
    EXPECT_EQ(read_filesystem_info(open_disk(path), 0).error().id, "btrfs-several-devices");
}

}  // namespace
}  // namespace amilift::dev
