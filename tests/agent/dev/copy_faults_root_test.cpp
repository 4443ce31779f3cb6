// SPDX-License-Identifier: Apache-2.0
// Copies from and to a block device that fails at one byte of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <regex>

#include "dev/copy_engine.hpp"
#include "faulty_disk.hpp"
#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::Fault;
using testing::FaultyDisk;
using ::testing::HasSubstr;
using testing::make_sparse;
using testing::open_disk;
using testing::random_bytes;
using testing::SectorLoop;
using testing::TemporaryDirectory;

constexpr std::uint64_t kDisk = 24U << 20U;
constexpr std::uint64_t kBad = (13U << 20U) + 5 * 4096 + 512;
constexpr std::uint32_t kBlock = 512U << 10U;

class FaultyCopy : public ::testing::TestWithParam<CopyEngine> {
  protected:
    void SetUp() override {
        AMILIFT_NEEDS_ROOT();
        if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/fuse";
        good_ = make_sparse(directory_, "good", kDisk);
        testing::write_at(good_, 0, random_bytes(kDisk, 1));
    }
    void TearDown() override {
        if (disk_) disk_->give_up();
        loop_.reset();
        disk_.reset();
    }

    /// With sectors of 4 KiB: what is less at the start and end is copied another way.
    void make_faulty_disk(Fault::Request request, Fault::Answer answer, std::uint64_t at = kBad) {
        disk_.emplace(random_bytes(kDisk, 2));
        loop_.emplace(disk_->path(), 4096);
        // Not before: who attaches a loop device reads and flushes.
        disk_->break_down({request, answer, at});
    }

    core::Result<CopyStats> copy(const std::string& from, const std::string& to,
                                 const std::vector<Extent>& extents = {{0, kDisk}}) const {
        const auto source = open_disk(from);
        const auto target = open_disk(to, Access::read_write);
        CopyPlan plan;
        plan.extents = extents;
        plan.engine = GetParam();
        plan.queue = {.depth = 4, .block_bytes = kBlock};
        plan.verify = true;
        plan.stall_timeout = std::chrono::seconds(2);
        plan.drain_timeout = std::chrono::milliseconds(100);
        return copy_extents(source, target, plan, {}, core::Cancel());
    }

    /// The error is of this kind, and its bytes of this device hold the bad one.
    void expect_error_at_bad_byte(const core::Result<CopyStats>& stats,
                                  const std::string& verb) const {
        ASSERT_FALSE(stats);
        EXPECT_TRUE(stats.error().is(Errc::io_error)) << stats.error().message();
        EXPECT_EQ(stats.error().sys_errno, EIO);
        EXPECT_THAT(stats.error().what, HasSubstr("'" + loop_->path() + "'"));
        const std::regex place("cannot " + verb + " ([0-9]+) bytes (back )?at byte ([0-9]+) of ");
        std::smatch found;
        ASSERT_TRUE(std::regex_search(stats.error().what, found, place)) << stats.error().what;
        const auto count = std::stoull(found[1]);
        const auto at = std::stoull(found[3]);
        EXPECT_LE(at, kBad);
        EXPECT_GT(at + count, kBad);
        EXPECT_LE(count, kBlock);
    }

    static void expect_silence(const core::Result<CopyStats>& stats, const std::string& name) {
        ASSERT_FALSE(stats);
        EXPECT_TRUE(stats.error().is(Errc::timed_out)) << stats.error().message();
        EXPECT_THAT(stats.error().what, HasSubstr(name));
    }

    TemporaryDirectory directory_;
    std::string good_;
    std::optional<FaultyDisk> disk_;
    std::optional<SectorLoop> loop_;
};

TEST_P(FaultyCopy, NamesTheSourcesBadBytes) {
    make_faulty_disk(Fault::Request::read, Fault::Answer::error);
    expect_error_at_bad_byte(copy(loop_->path(), good_), "read");
}

TEST_P(FaultyCopy, NamesTheTargetsBadBytes) {
    make_faulty_disk(Fault::Request::write, Fault::Answer::error);
    expect_error_at_bad_byte(copy(good_, loop_->path()), "write");
}

TEST_P(FaultyCopy, NamesTheBytesThatTheTargetDoesNotGiveBack) {
    make_faulty_disk(Fault::Request::read, Fault::Answer::error);
    expect_error_at_bad_byte(copy(good_, loop_->path()), "read");
}

TEST_P(FaultyCopy, SaysThatTheTargetDidNotFlush) {
    make_faulty_disk(Fault::Request::flush, Fault::Answer::error);
    const auto stats = copy(good_, loop_->path());
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::io_error)) << stats.error().message();
    EXPECT_THAT(stats.error().what, HasSubstr("cannot flush target '" + loop_->path()));
}

TEST_P(FaultyCopy, GivesUpOnASilentSource) {
    make_faulty_disk(Fault::Request::read, Fault::Answer::silence);
    expect_silence(copy(loop_->path(), good_), loop_->path());
}

TEST_P(FaultyCopy, GivesUpOnASilentTarget) {
    make_faulty_disk(Fault::Request::write, Fault::Answer::silence);
    expect_silence(copy(good_, loop_->path()), loop_->path());
}

TEST_P(FaultyCopy, GivesUpOnASilentFlush) {
    make_faulty_disk(Fault::Request::flush, Fault::Answer::silence);
    expect_silence(copy(good_, loop_->path()), loop_->path());
}

/// The first 3 KiB of the extents are less than a sector.
TEST_P(FaultyCopy, GivesUpOnASourceThatIsSilentBeforeItsFirstSector) {
    make_faulty_disk(Fault::Request::read, Fault::Answer::silence, 8192 + 1024);
    expect_silence(copy(loop_->path(), good_, {{8192 + 1024, 1 << 20}}), loop_->path());
}

TEST_P(FaultyCopy, GivesUpOnATargetThatIsSilentBehindItsLastSector) {
    constexpr std::uint64_t kEnd = (1 << 20) + 1024;
    // The page cache reads the sector that is written in part.
    make_faulty_disk(Fault::Request::read, Fault::Answer::silence, kEnd - 1);
    expect_silence(copy(good_, loop_->path(), {{0, kEnd}}), loop_->path());
}

INSTANTIATE_TEST_SUITE_P(Engines, FaultyCopy,
                         ::testing::Values(CopyEngine::automatic, CopyEngine::threads),
                         [](const auto& engine) {
                             return engine.param == CopyEngine::threads ? "Threads" : "Automatic";
                         });

}  // namespace
}  // namespace amilift::dev
