// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <string_view>
#include <thread>

#include "dev/byte_order.hpp"
#include "dev/copy_engine.hpp"
#include "dev/partition_table.hpp"
#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::attach;
using testing::describe_tree;
using testing::fill_like_a_machine;
using ::testing::HasSubstr;
using testing::kernel_has_filesystem;
using testing::make_sparse;
using testing::mount;
using testing::open_disk;
using testing::random_bytes;
using testing::run;
using testing::SectorLoop;
using testing::TemporaryDirectory;
using testing::unmount;
using testing::write_at;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kOffset = kRootStartSector * kSectorBytes;

struct Case {
    std::string name;
    std::vector<std::string> mkfs;  ///< without the device
    std::uint64_t bytes = 96 * kMiB;
    int percent = 30;
    unsigned target_sector = 512;
    TargetContent content = TargetContent::zeros;
    CopyEngine engine = CopyEngine::automatic;
    bool has_extents = false;             ///< besides those that are named so
    std::optional<std::uint32_t> seed{};  ///< that it comes from
};

void PrintTo(const Case& c, std::ostream* out) {
    *out << fmt::format("{}: {}, {} bytes", c.name, fmt::join(c.mkfs, " "), c.bytes);
    if (c.seed) *out << ", AMILIFT_TEST_SEED=" << *c.seed;
}

std::vector<Case> cases() {
    const std::vector<std::string> era{
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext3",
        "-b",
        "4096",
        "-I",
        "128",
        "-O",
        "none,has_journal,resize_inode,dir_index,filetype,sparse_super,large_file"};
    const std::vector<std::string> ext4{"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"};
    const std::vector<std::string> small{"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024"};
    const std::vector<std::string> xfs{"mkfs.xfs", "-q", "-f"};
    return {
        {.name = "Ext2Blocks1k", .mkfs = {"mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024"}},
        {.name = "Ext3OfEnterpriseLinux5", .mkfs = era},
        {.name = "Ext3NearlyFull", .mkfs = era, .percent = 93},
        {.name = "Ext4", .mkfs = ext4},
        {.name = "Ext4Threads", .mkfs = ext4, .engine = CopyEngine::threads},
        {.name = "Ext4OnUsedTarget", .mkfs = ext4, .content = TargetContent::unknown},
        // An odd number of 1 KiB blocks, so that the last sector of 4 KiB is not all its own.
        {.name = "Ext4Blocks1kOddSize", .mkfs = small, .bytes = 64 * kMiB + 1024},
        {.name = "Ext4Blocks1kSectors4k", .mkfs = small, .target_sector = 4096},
        {.name = "Ext4Blocks1kOddSizeSectors4k",
         .mkfs = small,
         .bytes = 64 * kMiB + 1024,
         .target_sector = 4096,
         .content = TargetContent::unknown},
        {.name = "Ext4Bigalloc",
         .mkfs = {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C",
                  "65536"},
         .content = TargetContent::unknown},
        {.name = "Ext4MetaBg",
         .mkfs = {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"},
         .content = TargetContent::unknown},
        {.name = "Xfs", .mkfs = xfs, .bytes = 320 * kMiB},
        {.name = "XfsOnUsedTarget",
         .mkfs = xfs,
         .bytes = 320 * kMiB,
         .content = TargetContent::unknown},
        {.name = "XfsBlocks1k",
         .mkfs = {"mkfs.xfs", "-q", "-f", "-b", "size=1024"},
         .bytes = 320 * kMiB},
        {.name = "XfsReverseMapAndReflink",
         .mkfs = {"mkfs.xfs", "-q", "-f", "-m", "rmapbt=1,reflink=1"},
         .bytes = 320 * kMiB},
        {.name = "Btrfs",
         .mkfs = {"mkfs.btrfs", "-q", "-f"},
         .bytes = 256 * kMiB,
         .percent = 10,
         .content = TargetContent::unknown},
    };
}

/// Filesystems that nobody chose: the same ones in each run, others with AMILIFT_TEST_SEED=NUMBER.
std::vector<Case> random_cases() {
    const char* wanted = std::getenv("AMILIFT_TEST_SEED");
    const auto seed =
        wanted == nullptr ? 2026U : static_cast<std::uint32_t>(std::strtoul(wanted, nullptr, 10));
    std::mt19937 random(seed);
    const auto one_of = [&random](const std::vector<std::string>& words) {
        return words[random() % words.size()];
    };
    std::vector<Case> out;
    for (int i = 0; i < 8; ++i) {
        const auto type = one_of({"ext2", "ext3", "ext4", "ext4"});
        std::vector<std::string> features{
            one_of({"sparse_super,resize_inode", "sparse_super,^resize_inode",
                    "^sparse_super,^resize_inode"}),
            one_of({"dir_index", "^dir_index"})};
        bool has_extents = false;
        if (type == "ext4") {
            has_extents = random() % 3 != 0;
            features.emplace_back(has_extents ? "extent" : "^extent,^64bit");
            features.push_back(one_of({"flex_bg", "^flex_bg"}));
            features.push_back(
                one_of({"metadata_csum", "^metadata_csum,^metadata_csum_seed,uninit_bg"}));
            features.push_back(one_of({"has_journal", "^has_journal,^orphan_file"}));
        }
        Case made{
            .name = fmt::format("Random{}", i),
            .mkfs = {"mke2fs", "-q", "-F", "-t", type, "-b", one_of({"1024", "2048", "4096"}), "-I",
                     one_of({"128", "256"}), "-O", fmt::format("{}", fmt::join(features, ","))}};
        made.bytes = (40 + random() % 90) * kMiB + random() % 4 * 1024;
        made.percent = static_cast<int>(10 + random() % 86);
        made.content = random() % 2 == 0 ? TargetContent::zeros : TargetContent::unknown;
        made.engine = random() % 3 == 0 ? CopyEngine::threads : CopyEngine::automatic;
        made.has_extents = has_extents;
        made.seed = seed;
        out.push_back(std::move(made));
    }
    return out;
}

class CopyFilesystem : public ::testing::TestWithParam<Case> {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        for (const auto* type : {"xfs", "btrfs"}) {
            if (is(type) && !kernel_has_filesystem(type)) {
                GTEST_SKIP() << "this kernel has no " << type;
            }
        }
        if (GetParam().seed) std::cout << "AMILIFT_TEST_SEED=" << *GetParam().seed << "\n";
        source_path_ = make_sparse(directory_, "source", GetParam().bytes);
        auto command = GetParam().mkfs;
        command.push_back(source_path_);
        run(command);
        source_.emplace(attach(source_path_));
        auto mounted = mount(source_->path(), info_of(source_->path()).type, Access::read_write);
        const bool extents =
            GetParam().name.find("Ext4") == 0 || GetParam().has_extents || is("xfs") || is("btrfs");
        fill_like_a_machine(mounted.directory(), GetParam().percent, extents);
        unmount(mounted);
    }

    [[nodiscard]] static bool is(std::string_view type) {
        return GetParam().mkfs.front() == fmt::format("mkfs.{}", type);
    }

    [[nodiscard]] static FilesystemInfo info_of(const std::string& device) {
        const auto info = read_filesystem_info(open_disk(device), 0);
        if (!info) throw std::runtime_error(info.error().message());
        return *info;
    }

    [[nodiscard]] static std::map<std::string, std::string> tree_of(const std::string& device) {
        auto mounted = mount(device, info_of(device).type, Access::read_only);
        auto tree = describe_tree(mounted.directory());
        unmount(mounted);
        return tree;
    }

    TemporaryDirectory directory_;
    std::string source_path_;
    std::optional<LoopDevice> source_;
};

TEST_P(CopyFilesystem, HasTheSameFilesAndIsClean) {
    const auto& wanted = GetParam();
    const auto info = info_of(source_->path());
    ASSERT_TRUE(info.clean);
    // The device is what the filesystem needs, and a sector of 4 KiB more where it needs less.
    const auto target_bytes = round_up(kOffset + wanted.bytes, 4096);
    const auto target_path = make_sparse(directory_, "target", target_bytes);
    if (wanted.content == TargetContent::unknown) {
        for (std::uint64_t at = 0; at < target_bytes; at += kMiB) {
            write_at(target_path, at,
                     std::vector<std::byte>(std::min(kMiB, target_bytes - at), std::byte{0xa5}));
        }
    }
    const SectorLoop target(target_path, wanted.target_sector);
    ExtentMap map;
    {
        const auto source = open_disk(source_->path());
        auto mounted = mount(source_->path(), info.type, Access::read_only);
        auto found = map_used_extents(source, info, &mounted.root());
        ASSERT_TRUE(found) << found.error().message();
        map = *std::move(found);
        unmount(mounted);
        EXPECT_EQ(map.method, is("xfs") ? "getfsmap" : is("btrfs") ? "btrfs trees" : "ext2fs");
        EXPECT_LT(map.used_bytes, info.size_bytes);

        const auto disk = open_disk(target.path(), Access::read_write);
        EXPECT_EQ(disk.logical_sector_bytes(), wanted.target_sector);
        CopyPlan plan;
        plan.extents = map.used;
        plan.target_offset = kOffset;
        plan.target_content = wanted.content;
        plan.engine = wanted.engine;
        const auto stats = copy_extents(source, disk, plan, {}, core::Cancel());
        ASSERT_TRUE(stats) << stats.error().message();
        if (wanted.engine == CopyEngine::threads) {
            EXPECT_STREQ(stats->engine, "threads");
        }
        EXPECT_GE(stats->read_bytes, map.used_bytes);
        if (wanted.target_sector == 512) {
            EXPECT_LE(stats->read_bytes, map.used_bytes + map.used_bytes / 50);
        }
        if (wanted.content == TargetContent::unknown) {
            EXPECT_EQ(stats->zero_bytes, 0U);
        } else {
            // Journals and inode tables are mostly zeros.
            EXPECT_GT(stats->zero_bytes, 0U);
        }
        ASSERT_TRUE(disk.flush());
    }
    const auto copy = attach(target_path, Access::read_only, kOffset, info.size_bytes / 512 * 512);
    if (is("xfs")) {
        run({"xfs_repair", "-n", copy.path()});
    } else if (is("btrfs")) {
        run({"btrfs", "check", "--readonly", "--check-data-csum", copy.path()});
    } else {
        run({"e2fsck", "-f", "-n", copy.path()});
    }
    EXPECT_EQ(info_of(copy.path()).uuid, info.uuid);
    const auto original = tree_of(source_->path());
    EXPECT_GT(original.size(), 50U);
    EXPECT_EQ(tree_of(copy.path()), original);
    // Used bytes are the same, those that read as zeros too.
    for (const auto& extent : map.used) {
        for (std::uint64_t at = 0; at < extent.length; at += kMiB) {
            const auto count = static_cast<std::size_t>(std::min(kMiB, extent.length - at));
            ASSERT_EQ(testing::read_at(source_path_, extent.offset + at, count),
                      testing::read_at(target_path, kOffset + extent.offset + at, count))
                << "byte " << extent.offset + at;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Copy, CopyFilesystem, ::testing::ValuesIn(cases()),
                         [](const auto& c) { return c.param.name; });

INSTANTIATE_TEST_SUITE_P(AnyFilesystem, CopyFilesystem, ::testing::ValuesIn(random_cases()),
                         [](const auto& c) { return c.param.name; });

/// The superblock that a repair falls back to lies far behind the files.
TEST(CopyBackupSuperblock, IsAsGoodAsThatOfTheSource) {
    AMILIFT_NEEDS_ROOT();
    const TemporaryDirectory directory;
    constexpr std::uint64_t kBytes = 1280 * kMiB;
    const auto source_path = make_sparse(directory, "source", kBytes);
    run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "x", source_path});
    {
        const auto loop = attach(source_path);
        auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_write);
        fill_like_a_machine(mounted.directory(), 4, true);
        unmount(mounted);
    }
    const auto copy_path = make_sparse(directory, "copy", kBytes);
    {
        const auto source = open_disk(source_path);
        const auto info = read_filesystem_info(source, 0);
        ASSERT_TRUE(info) << info.error().message();
        const auto map = map_used_extents(source, *info, nullptr);
        ASSERT_TRUE(map) << map.error().message();
        EXPECT_LT(map->used_bytes, kBytes / 4);
        CopyPlan plan;
        plan.extents = map->used;
        plan.target_content = TargetContent::zeros;
        const auto stats = copy_extents(source, open_disk(copy_path, Access::read_write), plan, {},
                                        core::Cancel());
        ASSERT_TRUE(stats) << stats.error().message();
    }
    for (const auto* block : {"32768", "98304", "163840", "229376"}) {
        // The kernel leaves the free counts of backups as mke2fs made them: 4, and told as wrong.
        const auto check = [&](const std::string& path) {
            return run({"e2fsck", "-f", "-n", "-b", block, "-B", "4096", path}, {0, 4});
        };
        const auto of_copy = check(copy_path);
        EXPECT_THAT(of_copy, HasSubstr("Pass 5"));
        EXPECT_EQ(of_copy, check(source_path)) << block;
    }
}

/// XFS of before 2013. New kernels are built without it, and mkfs.xfs may not make it any more.
TEST(CopyXfsVersion4, IsCopiedOrTheKernelIsNamedAsTheReason) {
    AMILIFT_NEEDS_ROOT();
    if (!kernel_has_filesystem("xfs")) GTEST_SKIP() << "this kernel has no xfs";
    const TemporaryDirectory directory;
    const auto source_path = make_sparse(directory, "source", 320 * kMiB);
    run({"mkfs.xfs", "-q", "-f", "-m", "crc=0", source_path});
    const auto loop = attach(source_path);
    const auto source = open_disk(loop.path());
    const auto info = read_filesystem_info(source, 0);
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->type, Filesystem::xfs);
    EXPECT_TRUE(info->clean);
    auto mounted = Mount::mount(loop.path(), Filesystem::xfs, Access::read_only);
    if (!mounted) {
        EXPECT_THAT(mounted.error().message(), HasSubstr(loop.path()));
        EXPECT_THAT(mounted.error().message(), HasSubstr("xfs"));
        GTEST_SKIP() << "this kernel cannot mount XFS version 4: " << mounted.error().message();
    }
    const auto map = map_used_extents(source, *info, &mounted->root());
    ASSERT_TRUE(map) << map.error().message();
    unmount(*mounted);
    const auto copy_path = make_sparse(directory, "copy", 320 * kMiB);
    CopyPlan plan;
    plan.extents = map->used;
    const auto stats =
        copy_extents(source, open_disk(copy_path, Access::read_write), plan, {}, core::Cancel());
    ASSERT_TRUE(stats) << stats.error().message();
    run({"xfs_repair", "-n", "-f", copy_path});
}

class CopyFailure : public ::testing::TestWithParam<CopyEngine> {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        source_ = make_sparse(directory_, "source", 32 * kMiB);
        write_at(source_, 0, random_bytes(32 * kMiB, 1));
    }
    [[nodiscard]] static CopyPlan plan() {
        CopyPlan plan;
        plan.extents = {{0, 32 * kMiB}};
        plan.engine = GetParam();
        return plan;
    }
    TemporaryDirectory directory_;
    std::string source_;
    core::Cancel cancel_;
};

TEST_P(CopyFailure, NamesDeviceAndByteOfAReadError) {
    const auto loop = attach(source_, Access::read_only);
    const auto source = open_disk(loop.path());
    // The kernel answers EIO for what the backing file has lost.
    std::filesystem::resize_file(source_, 20 * kMiB);
    const auto target = open_disk(make_sparse(directory_, "target", 32 * kMiB), Access::read_write);
    const auto stats = copy_extents(source, target, plan(), {}, cancel_);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::io_error)) << stats.error().message();
    EXPECT_EQ(stats.error().sys_errno, EIO);
    EXPECT_THAT(stats.error().what, HasSubstr(loop.path()));
    // One of the first chunks that are gone.
    const auto at = stats.error().what.find("at byte ");
    ASSERT_NE(at, std::string::npos);
    EXPECT_GE(std::stoull(stats.error().what.substr(at + 8)), 20 * kMiB);
}

TEST_P(CopyFailure, SaysThatTheTargetsFilesystemIsFull) {
    const auto small = make_sparse(directory_, "small", 16 * kMiB);
    run({"mke2fs", "-q", "-F", "-t", "ext4", small});
    const auto loop = attach(small);
    auto mounted = mount(loop.path(), Filesystem::ext4, Access::read_write);
    const auto path = mounted.directory() + "/target";
    {
        std::ofstream(path).close();
        std::filesystem::resize_file(path, 32 * kMiB);
        const auto source = open_disk(source_);
        const auto target = open_disk(path, Access::read_write);
        const auto stats = copy_extents(source, target, plan(), {}, cancel_);
        ASSERT_FALSE(stats);
        EXPECT_TRUE(stats.error().is(Errc::no_space)) << stats.error().message();
        EXPECT_THAT(stats.error().what, HasSubstr(path));
        EXPECT_THAT(stats.error().what, HasSubstr("at byte "));
    }
    // Nothing is under way any more that would hold the mount.
    EXPECT_TRUE(mounted.unmount());
}

/// A frozen filesystem: writes to it wait until it is thawed, which happens at the end at the
/// latest.
class Frozen {
  public:
    explicit Frozen(const Mount& mounted) : directory_(mounted.directory()) {
        run({"fsfreeze", "--freeze", directory_});
    }
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;
    ~Frozen() {
        try {
            run({"fsfreeze", "--unfreeze", directory_});
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
        }
    }

  private:
    std::string directory_;
};

class CopyToSilentDevice : public ::testing::TestWithParam<CopyEngine> {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        source_ = make_sparse(directory_, "source", 8 * kMiB);
        write_at(source_, 0, random_bytes(8 * kMiB, 1));
        const auto backing = make_sparse(directory_, "backing", 32 * kMiB);
        run({"mke2fs", "-q", "-F", "-t", "ext4", backing});
        loop_.emplace(attach(backing));
        mounted_.emplace(mount(loop_->path(), Filesystem::ext4, Access::read_write));
        target_ = mounted_->directory() + "/target";
        testing::write_file(target_, std::vector<std::byte>(8 * kMiB));
        plan_.extents = {{0, 8 * kMiB}};
        plan_.engine = GetParam();
        plan_.drain_timeout = std::chrono::milliseconds(300);
    }
    core::Result<CopyStats> copy(const std::function<void(const CopyProgress&)>& progress = {}) {
        const auto source = open_disk(source_);
        const auto target = open_disk(target_, Access::read_write);
        const Frozen frozen(*mounted_);
        return copy_extents(source, target, plan_, progress, cancel_);
    }
    TemporaryDirectory directory_;
    std::string source_;
    std::string target_;
    std::optional<LoopDevice> loop_;
    std::optional<Mount> mounted_;
    CopyPlan plan_;
    core::Cancel cancel_;
};

TEST_P(CopyToSilentDevice, EndsAtTheStallTimeout) {
    plan_.stall_timeout = std::chrono::milliseconds(700);
    const auto start = std::chrono::steady_clock::now();
    int calls = 0;
    const auto stats = copy([&](const CopyProgress&) { ++calls; });
    ASSERT_FALSE(stats);
    if (stats.error().is(Errc::unavailable)) GTEST_SKIP() << "this kernel has no io_uring";
    EXPECT_TRUE(stats.error().is(Errc::timed_out)) << stats.error().message();
    EXPECT_THAT(stats.error().what, HasSubstr(target_));
    EXPECT_THAT(stats.error().what, HasSubstr("did not end"));
    EXPECT_LE(calls, 1) << "no sign of life where there is none";
    const auto taken = std::chrono::steady_clock::now() - start;
    EXPECT_GE(taken, std::chrono::milliseconds(1000));
    EXPECT_LT(taken, std::chrono::seconds(20));
}

TEST_P(CopyToSilentDevice, EndsWhenAsked) {
    // A second from the start of the copy on: some chunk has been read by then, and its write
    // waits.
    std::jthread asker([this] {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        cancel_.request("enough");
    });
    const auto stats =
        copy([](const CopyProgress& progress) { EXPECT_EQ(progress.done_bytes, 0U); });
    ASSERT_FALSE(stats);
    if (stats.error().is(Errc::unavailable)) GTEST_SKIP() << "this kernel has no io_uring";
    EXPECT_TRUE(stats.error().is(Errc::cancelled)) << stats.error().message();
    EXPECT_THAT(stats.error().what, HasSubstr("did not end"));
}

INSTANTIATE_TEST_SUITE_P(Engines, CopyToSilentDevice,
                         ::testing::Values(CopyEngine::io_uring, CopyEngine::threads),
                         [](const auto& engine) {
                             return engine.param == CopyEngine::threads ? "Threads" : "Uring";
                         });

INSTANTIATE_TEST_SUITE_P(Engines, CopyFailure,
                         ::testing::Values(CopyEngine::automatic, CopyEngine::threads),
                         [](const auto& engine) {
                             return engine.param == CopyEngine::threads ? "Threads" : "Automatic";
                         });

}  // namespace
}  // namespace amilift::dev
