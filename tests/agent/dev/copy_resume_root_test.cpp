// SPDX-License-Identifier: Apache-2.0
// A copy between loop devices in a process of its own, which is killed and started again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <csignal>
#include <optional>
#include <thread>

#include "dev/copy_engine.hpp"
#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using testing::attach;
using ::testing::HasSubstr;
using testing::make_sparse;
using testing::mount;
using testing::open_disk;
using testing::random_bytes;
using testing::read_at;
using testing::run;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kBytes = 48 * kMiB;
constexpr std::uint64_t kOffset = kMiB;
constexpr std::uint32_t kBlock = 64U << 10U;

/// Bytes that have been read from a loop device since it was made, once it is idle: requests of a
/// process outlive the process, and are counted when they end.
std::uint64_t bytes_read_from(const LoopDevice& loop) {
    const auto name = loop.path().substr(loop.path().rfind('/') + 1);
    // Documentation/block/stat.rst of the kernel.
    constexpr std::size_t kSectorsRead = 2;
    constexpr std::size_t kInFlight = 8;
    std::array<std::uint64_t, kInFlight + 1> now{};
    std::uint64_t before = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    do {
        if (std::chrono::steady_clock::now() > deadline)
            throw std::runtime_error(name + " is never idle");
        before = now[kSectorsRead];
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        std::ifstream statistics("/sys/block/" + name + "/stat");
        for (auto& figure : now) statistics >> figure;
        if (!statistics) throw std::runtime_error("cannot read the statistics of " + loop.path());
    } while (now[kInFlight] != 0 || now[kSectorsRead] != before);
    return now[kSectorsRead] * 512;
}

/// Where the process kills itself.
struct Kill {
    std::string name;
    int flush;         ///< at this flush of the target, counted from 1
    bool after_flush;  ///< after it: all is flushed and nothing of it noted
    CopyEngine engine;
    bool verify = false;
};

void PrintTo(const Kill& kill, std::ostream* out) {
    *out << kill.name;
}

class KilledCopy : public ::testing::TestWithParam<Kill> {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        source_path_ = make_sparse(directory_, "source", kBytes);
        write_at(source_path_, 0, random_bytes(20 * kMiB, 1));
        write_at(source_path_, 28 * kMiB, random_bytes(20 * kMiB, 2));
        target_path_ = make_sparse(directory_, "target", kBytes + kOffset);
        source_.emplace(attach(source_path_, Access::read_only));
        target_.emplace(attach(target_path_));
    }

    core::Result<CopyStats> copy(const Kill* kill) {
        auto file = core::open_file(directory_.file("journal"), O_RDWR | O_CREAT, 0600);
        if (!file) throw std::runtime_error(file.error().message());
        auto journal = CopyJournal::open(*std::move(file), "journal", {"vol-1", "vol-2"});
        if (!journal) throw std::runtime_error(journal.error().message());
        const auto source = open_disk(source_->path());
        const auto target = open_disk(target_->path(), Access::read_write);
        CopyPlan plan;
        plan.extents = {{0, kBytes}};
        plan.target_offset = kOffset;
        plan.target_content = TargetContent::zeros;
        plan.engine = GetParam().engine;
        plan.verify = GetParam().verify;
        plan.queue = {.depth = 2, .block_bytes = kBlock};
        plan.journal = &*journal;
        int flushes = 0;
        if (kill != nullptr) {
            plan.notes.bytes = 4 * kBlock;
            plan.notes.interval = std::chrono::hours(1);
            plan.notes.flush = [&flushes, &target, kill]() -> core::Result<> {
                const bool now = ++flushes == kill->flush;
                if (now && !kill->after_flush) ::raise(SIGKILL);
                if (::fdatasync(target.fd().get()) != 0) ::_exit(3);
                if (now) ::raise(SIGKILL);
                return {};
            };
        }
        return copy_extents(source, target, plan, {}, core::Cancel());
    }

    /// Whether a child that copies was killed where it was to be.
    bool copy_and_be_killed(const Kill& kill) {
        const pid_t child = ::fork();
        if (child == 0) {
            const auto stats = copy(&kill);
            ::_exit(stats ? 0 : 2);
        }
        int status = 0;
        if (::waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }

    TemporaryDirectory directory_;
    std::string source_path_;
    std::string target_path_;
    std::optional<LoopDevice> source_;
    std::optional<LoopDevice> target_;
};

TEST_P(KilledCopy, GoesOnAndReadsNothingTwice) {
    const auto& kill = GetParam();
    ASSERT_TRUE(copy_and_be_killed(kill));
    // Killed a second time, further on.
    auto later = kill;
    later.flush += 2;
    ASSERT_TRUE(copy_and_be_killed(later));
    const auto read_before = bytes_read_from(*source_);
    const auto stats = copy(nullptr);
    ASSERT_TRUE(stats) << stats.error().message();
    const auto read = bytes_read_from(*source_) - read_before;

    // In each life all flushes but the last have been noted, of 4 chunks or more.
    const auto noted = static_cast<std::uint64_t>(kill.flush - 1 + later.flush - 1);
    EXPECT_GE(stats->resumed_bytes, noted * 4 * kBlock);
    EXPECT_EQ(stats->read_bytes, kBytes - stats->resumed_bytes);
    EXPECT_EQ(stats->verified_bytes, kill.verify ? kBytes : 0);
    EXPECT_EQ(stats->zero_bytes + stats->written_bytes, stats->read_bytes);
    // The kernel counts the same, but for a sector that is read to try direct I/O.
    EXPECT_GE(read, stats->read_bytes);
    EXPECT_LE(read, stats->read_bytes + 64 * 1024);
    source_.reset();
    target_.reset();
    EXPECT_TRUE(read_at(source_path_, 0, kBytes) == read_at(target_path_, kOffset, kBytes));
}

INSTANTIATE_TEST_SUITE_P(
    Kills, KilledCopy,
    ::testing::Values(Kill{"BeforeTheFirstFlush", 1, false, CopyEngine::automatic},
                      Kill{"BetweenFlushAndNote", 1, true, CopyEngine::automatic},
                      Kill{"AtTheThirdFlush", 3, false, CopyEngine::automatic},
                      Kill{"AfterTheThirdFlush", 3, true, CopyEngine::automatic, true},
                      Kill{"AtTheSixthFlush", 6, false, CopyEngine::automatic, true},
                      Kill{"ThreadsAtTheFirstFlush", 1, false, CopyEngine::threads},
                      Kill{"ThreadsAfterTheThirdFlush", 3, true, CopyEngine::threads, true}),
    [](const auto& kill) { return kill.param.name; });

// ---- devices that go away -----------------------------------------------------------------------

/// A disk that is a file of a filesystem, whose kernel side is shut down in the midst of a copy: as
/// for a device that vanishes, everything from then on is EIO.
class VanishingDisk : public ::testing::TestWithParam<CopyEngine> {
  protected:
    static constexpr std::uint64_t kDisk = 24 * kMiB;
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        const auto backing = make_sparse(directory_, "backing", 64 * kMiB);
        run({"mke2fs", "-q", "-F", "-t", "ext4", backing});
        loop_.emplace(attach(backing));
        mounted_.emplace(mount(loop_->path(), Filesystem::ext4, Access::read_write));
        vanishing_ = mounted_->directory() + "/disk";
        testing::write_file(vanishing_, random_bytes(kDisk, 1));
        other_ = directory_.file("other");
        testing::write_file(other_, random_bytes(kDisk, 2));
        root_ = *core::open_file(mounted_->directory(), O_RDONLY | O_DIRECTORY);
        run({"sync"});
    }
    /// EXT4_IOC_SHUTDOWN without a flush. Source: linux/ext4.h.
    void vanish() const {
        std::uint32_t no_log_flush = 2;
        if (::ioctl(root_.get(), _IOR('X', 125, std::uint32_t), &no_log_flush) != 0) {
            throw std::runtime_error("cannot shut the filesystem down");
        }
    }
    /// Copies until the first flush of the target, at which the disk vanishes.
    core::Result<CopyStats> copy(const std::string& source, const std::string& target) {
        auto file = core::open_file(directory_.file("journal"), O_RDWR | O_CREAT, 0600);
        auto journal = CopyJournal::open(*std::move(file), "journal", {"vol-1", "vol-2"});
        if (!journal) return std::unexpected(journal.error());
        const auto from = open_disk(source);
        const auto to = open_disk(target, Access::read_write);
        CopyPlan plan;
        plan.extents = {{0, kDisk}};
        plan.engine = GetParam();
        plan.queue = {.depth = 2, .block_bytes = 4096};
        plan.journal = &*journal;
        plan.notes.bytes = kMiB;
        plan.notes.flush = [this]() -> core::Result<> {
            vanish();
            return {};
        };
        return copy_extents(from, to, plan, {}, core::Cancel());
    }
    TemporaryDirectory directory_;
    std::optional<LoopDevice> loop_;
    std::optional<Mount> mounted_;
    core::Fd root_;
    std::string vanishing_;
    std::string other_;
};

TEST_P(VanishingDisk, ATargetIsNamedWithTheByte) {
    const auto stats = copy(other_, vanishing_);
    root_.reset();
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(core::Errc::io_error)) << stats.error().message();
    EXPECT_THAT(stats.error().what, HasSubstr(vanishing_));
    EXPECT_THAT(stats.error().what, HasSubstr("at byte "));
}

TEST_P(VanishingDisk, ASourceIsNamedWithTheByte) {
    const auto stats = copy(vanishing_, other_);
    root_.reset();
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(core::Errc::io_error)) << stats.error().message();
    EXPECT_THAT(stats.error().what, HasSubstr(vanishing_));
    EXPECT_THAT(stats.error().what, HasSubstr("at byte "));
}

INSTANTIATE_TEST_SUITE_P(Engines, VanishingDisk,
                         ::testing::Values(CopyEngine::automatic, CopyEngine::threads),
                         [](const auto& engine) {
                             return engine.param == CopyEngine::threads ? "Threads" : "Automatic";
                         });

}  // namespace
}  // namespace amilift::dev
