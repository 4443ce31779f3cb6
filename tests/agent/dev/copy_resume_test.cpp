// SPDX-License-Identifier: Apache-2.0
// Copies that are cut off and go on, and copies that are read back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "dev/copy_engine.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using ::testing::HasSubstr;
using testing::make_sparse;
using testing::open_disk;
using testing::random_bytes;
using testing::read_at;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kMiB = 1U << 20;
// No multiple of a sector: the end goes through the page cache.
constexpr std::uint64_t kSourceBytes = 8 * kMiB - 100;
constexpr std::uint64_t kOffset = kMiB;
constexpr std::uint32_t kBlock = 64U << 10U;

class CopyResume : public ::testing::TestWithParam<CopyEngine> {
  protected:
    void SetUp() override {
        source_ = make_sparse(directory_, "source", kSourceBytes);
        fill_source();
        target_ = make_sparse(directory_, "target", kSourceBytes + kOffset);
        plan_.extents = {{0, kSourceBytes}};
        plan_.target_offset = kOffset;
        plan_.target_content = TargetContent::zeros;
        plan_.queue = {.depth = 4, .block_bytes = kBlock};
        plan_.engine = GetParam();
        plan_.notes.interval = std::chrono::hours(1);
        plan_.say = [this](const std::string& text) { said_.push_back(text); };
    }

    void fill_source() const {
        std::filesystem::resize_file(source_, kSourceBytes);
        write_at(source_, 0, random_bytes(3 * kMiB, 1));
        write_at(source_, 4 * kMiB, random_bytes(kSourceBytes - 4 * kMiB, 2));
    }

    /// Copies with the journal in `journal_path_`.
    core::Result<CopyStats> copy() {
        auto file = core::open_file(journal_path_, O_RDWR | O_CREAT, 0600);
        if (!file) throw std::runtime_error(file.error().message());
        auto journal = CopyJournal::open(*std::move(file), "journal", {"vol-1", "vol-2"});
        if (!journal) throw std::runtime_error(journal.error().message());
        plan_.journal = &*journal;
        said_.clear();
        const auto source = open_disk(source_);
        const auto target = open_disk(target_, Access::read_write);
        if (source_ends_at_ != 0) std::filesystem::resize_file(source_, source_ends_at_);
        return copy_extents(
            source, target, plan_,
            [this](const CopyProgress& p) {
                last_ = p;
                if (on_progress_) on_progress_(p);
            },
            cancel_);
    }

    /// A copy that fails in its midst, because the source has lost its end for a while.
    void cut_off() {
        source_ends_at_ = 2 * kMiB;
        const auto stats = copy();
        source_ends_at_ = 0;
        fill_source();
        ASSERT_FALSE(stats);
        if (stats.error().is(Errc::unavailable)) GTEST_SKIP() << "this kernel has no io_uring";
        ASSERT_TRUE(stats.error().is(Errc::io_error)) << stats.error().message();
    }

    [[nodiscard]] bool same() const {
        return read_at(source_, 0, kSourceBytes) == read_at(target_, kOffset, kSourceBytes);
    }
    [[nodiscard]] std::uint64_t journal_bytes() const {
        return std::filesystem::file_size(journal_path_);
    }

    TemporaryDirectory directory_;
    std::string source_;
    std::string target_;
    std::string journal_path_ = directory_.file("journal");
    CopyPlan plan_;
    core::Cancel cancel_;
    std::uint64_t source_ends_at_ = 0;  ///< from the start of a copy on; 0: where it should
    std::function<void(const CopyProgress&)> on_progress_;
    CopyProgress last_;
    std::vector<std::string> said_;
};

#define SKIP_WITHOUT_URING(stats)                          \
    if (!(stats) && (stats).error().is(Errc::unavailable)) \
    GTEST_SKIP() << "this kernel has no io_uring"

TEST_P(CopyResume, IsAnOrdinaryCopyTheFirstTime) {
    const auto stats = copy();
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same());
    EXPECT_EQ(stats->read_bytes, kSourceBytes);
    EXPECT_EQ(stats->resumed_bytes, 0U);
    EXPECT_EQ(journal_bytes(), 0U);
    EXPECT_TRUE(said_.empty());
}

TEST_P(CopyResume, ReadsAndWritesOnlyWhatIsMissing) {
    ASSERT_NO_FATAL_FAILURE(cut_off());
    if (IsSkipped()) return;
    EXPECT_GT(journal_bytes(), CopyJournal::kHeaderBytes);
    // What the flow says of a target once a conversion has begun.
    plan_.target_content = TargetContent::unknown;
    std::vector<CopyProgress> seen;
    on_progress_ = [&](const CopyProgress& p) { seen.push_back(p); };
    const auto stats = copy();
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same());
    EXPECT_GE(stats->resumed_bytes, 4 * kBlock);
    EXPECT_EQ(stats->read_bytes, kSourceBytes - stats->resumed_bytes);
    EXPECT_EQ(stats->written_bytes + stats->zero_bytes, stats->read_bytes);
    // The target was zeros when all began, and still is where nothing was copied to.
    EXPECT_EQ(stats->zero_bytes, kMiB);
    ASSERT_FALSE(seen.empty());
    EXPECT_GE(seen.front().done_bytes, stats->resumed_bytes);
    for (const auto& p : seen) EXPECT_EQ(p.resumed_bytes, stats->resumed_bytes);
    EXPECT_EQ(last_.done_bytes, kSourceBytes);
    EXPECT_EQ(last_.total_bytes, kSourceBytes);
    ASSERT_EQ(said_.size(), 1U);
    EXPECT_THAT(said_[0], HasSubstr("the copy goes on"));
    EXPECT_EQ(journal_bytes(), 0U);
}

TEST_P(CopyResume, NeverTouchesWhatIsNoted) {
    ASSERT_NO_FATAL_FAILURE(cut_off());
    if (IsSkipped()) return;
    // Not the source's bytes, but noted to be: they stay.
    const auto marked = random_bytes(4096, 9);
    write_at(target_, kOffset, marked);
    const auto stats = copy();
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(read_at(target_, kOffset, 4096), marked);
}

TEST_P(CopyResume, BeginsAnewWhenOtherExtentsAreInUse) {
    ASSERT_NO_FATAL_FAILURE(cut_off());
    if (IsSkipped()) return;
    plan_.extents = {{0, 3 * kMiB}, {4 * kMiB, kSourceBytes - 4 * kMiB}};
    plan_.target_content = TargetContent::unknown;
    const auto stats = copy();
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(stats->resumed_bytes, 0U);
    EXPECT_EQ(stats->read_bytes, kSourceBytes - kMiB);
    EXPECT_EQ(stats->zero_bytes, 0U);
    ASSERT_EQ(said_.size(), 1U);
    EXPECT_THAT(said_[0], HasSubstr("begins anew"));
    EXPECT_TRUE(same());
}

TEST_P(CopyResume, NotesAreNeverAheadOfWhatIsFlushed) {
    // After a power cut the target holds what the last flush found, and nothing that was written
    // since; the journal may be as new as it can be.
    struct Cut {
        std::vector<std::byte> target;   ///< when the flush began
        std::vector<std::byte> journal;  ///< when the next one began
    };
    std::vector<Cut> cuts;
    plan_.notes.bytes = kBlock;
    plan_.queue = {.depth = 1, .block_bytes = 4096};
    const auto whole = static_cast<std::size_t>(kSourceBytes + kOffset);
    const auto journal_now = [this] {
        return read_at(journal_path_, 0, static_cast<std::size_t>(journal_bytes()));
    };
    plan_.notes.flush = [&]() -> core::Result<> {
        if (!cuts.empty()) cuts.back().journal = journal_now();
        cuts.push_back({read_at(target_, 0, whole), {}});
        return {};
    };
    const auto first = copy();
    SKIP_WITHOUT_URING(first);
    ASSERT_TRUE(first) << first.error().message();
    plan_.notes.flush = {};
    cuts.pop_back();  // its journal has been emptied since
    ASSERT_GE(cuts.size(), 2U);
    std::uint64_t resumed = 0;
    const auto step = std::max<std::size_t>(cuts.size() / 5, 1);
    for (std::size_t i = 0; i < cuts.size(); i += step) {
        const auto& cut = cuts[i];
        write_at(target_, 0, cut.target);
        std::filesystem::resize_file(journal_path_, 0);
        write_at(journal_path_, 0, cut.journal);
        const auto stats = copy();
        ASSERT_TRUE(stats) << stats.error().message();
        ASSERT_TRUE(same());
        EXPECT_GT(stats->resumed_bytes, resumed);
        resumed = stats->resumed_bytes;
    }
}

TEST_P(CopyResume, AFailedFlushEndsTheCopy) {
    plan_.notes.bytes = kBlock;
    plan_.notes.flush = []() -> core::Result<> {
        return core::fail_errno(EIO, "cannot flush target 'x'");
    };
    const auto stats = copy();
    SKIP_WITHOUT_URING(stats);
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().sys_errno, EIO);
    EXPECT_EQ(journal_bytes(), CopyJournal::kHeaderBytes);
}

// ---- reading back -------------------------------------------------------------------------------

class CopyVerify : public CopyResume {
  protected:
    void SetUp() override {
        CopyResume::SetUp();
        plan_.verify = true;
    }
    /// Writes there between the copy and its check.
    void damage_after_copy(std::uint64_t offset) {
        on_progress_ = [this, offset, done = false](const CopyProgress& p) mutable {
            if (done || p.pass != CopyPass::copy || p.done_bytes != p.total_bytes) return;
            done = true;
            auto byte = read_at(target_, offset, 1);
            byte[0] ^= std::byte{0x10};
            write_at(target_, offset, byte);
        };
    }
};

TEST_P(CopyVerify, ReadsEverythingBack) {
    std::vector<CopyPass> passes;
    on_progress_ = [&](const CopyProgress& p) { passes.push_back(p.pass); };
    const auto stats = copy();
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same());
    EXPECT_EQ(stats->verified_bytes, kSourceBytes);
    EXPECT_EQ(stats->read_bytes, kSourceBytes);
    EXPECT_GT(stats->verify_seconds, 0);
    EXPECT_EQ(passes.front(), CopyPass::copy);
    EXPECT_EQ(passes.back(), CopyPass::verify);
    EXPECT_EQ(last_.done_bytes, kSourceBytes);
    EXPECT_EQ(journal_bytes(), 0U);
}

TEST_P(CopyVerify, WorksAtAnOddOffsetThroughThePageCache) {
    plan_.target_offset = 12345;
    const auto stats = copy();
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(stats->verified_bytes, kSourceBytes);
    damage_after_copy(12345 + 5 * kMiB);
    EXPECT_FALSE(copy());
}

TEST_P(CopyVerify, FindsAChangedByteWhereverItIs) {
    struct Case {
        std::uint64_t at;     ///< on the source
        std::uint64_t chunk;  ///< that holds it, unless it is in an edge
    };
    for (const auto& c : {Case{0, 0}, Case{2 * kMiB + 77, 2 * kMiB},
                          // a chunk of zeros, which was not written
                          Case{3 * kMiB + 600000, 3 * kMiB + 9 * kBlock},
                          Case{7 * kMiB + 5, 7 * kMiB}, Case{kSourceBytes - 1, 0}}) {
        std::filesystem::resize_file(target_, 0);
        std::filesystem::resize_file(target_, kSourceBytes + kOffset);
        damage_after_copy(kOffset + c.at);
        const auto stats = copy();
        SKIP_WITHOUT_URING(stats);
        ASSERT_FALSE(stats) << c.at;
        EXPECT_TRUE(stats.error().is(Errc::corrupt)) << stats.error().message();
        EXPECT_THAT(stats.error().what, HasSubstr(target_));
        EXPECT_THAT(stats.error().what, HasSubstr("at byte "));
        if (c.at != kSourceBytes - 1) {
            EXPECT_THAT(stats.error().what,
                        HasSubstr(fmt::format("at byte {} have", kOffset + c.chunk)));
        }
        // What was noted is not true: nobody goes on from there.
        EXPECT_EQ(journal_bytes(), 0U);
    }
}

TEST_P(CopyVerify, ComparesWithTheChecksumsOfTheFirstTime) {
    ASSERT_NO_FATAL_FAILURE(cut_off());
    if (IsSkipped()) return;
    const auto stats = copy();
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_GT(stats->resumed_bytes, 0U);
    EXPECT_EQ(stats->verified_bytes, kSourceBytes);
    EXPECT_TRUE(same());

    ASSERT_NO_FATAL_FAILURE(cut_off());
    write_at(target_, kOffset + 10, random_bytes(16, 9));
    const auto damaged = copy();
    ASSERT_FALSE(damaged);
    EXPECT_TRUE(damaged.error().is(Errc::corrupt)) << damaged.error().message();
}

TEST_P(CopyVerify, CopiesAgainWhatHasNoChecksums) {
    plan_.verify = false;
    ASSERT_NO_FATAL_FAILURE(cut_off());
    if (IsSkipped()) return;
    plan_.verify = true;
    const auto stats = copy();
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(stats->resumed_bytes, 0U);
    EXPECT_THAT(said_.at(0), HasSubstr("no checksums"));
}

TEST_P(CopyVerify, GoesOnWithTheCheckAlone) {
    on_progress_ = [&](const CopyProgress& p) {
        if (p.done_bytes == p.total_bytes) cancel_.request("power is cut");
    };
    const auto first = copy();
    SKIP_WITHOUT_URING(first);
    ASSERT_FALSE(first);
    EXPECT_TRUE(first.error().is(Errc::cancelled));
    on_progress_ = {};
    const auto source = open_disk(source_);
    const auto target = open_disk(target_, Access::read_write);
    auto file = core::open_file(journal_path_, O_RDWR);
    ASSERT_TRUE(file);
    auto journal = CopyJournal::open(*std::move(file), "journal", {"vol-1", "vol-2"});
    ASSERT_TRUE(journal);
    plan_.journal = &*journal;
    const auto stats = copy_extents(source, target, plan_, {}, core::Cancel());
    ASSERT_TRUE(stats) << stats.error().message();
    // The edge is never noted.
    EXPECT_LT(stats->read_bytes, 4096U);
    EXPECT_EQ(stats->resumed_bytes + stats->read_bytes, kSourceBytes);
    EXPECT_EQ(stats->verified_bytes, kSourceBytes);
}

constexpr auto kName = [](const ::testing::TestParamInfo<CopyEngine>& engine) {
    return engine.param == CopyEngine::io_uring ? "Uring" : "Threads";
};
INSTANTIATE_TEST_SUITE_P(Engines, CopyResume,
                         ::testing::Values(CopyEngine::io_uring, CopyEngine::threads), kName);
INSTANTIATE_TEST_SUITE_P(Engines, CopyVerify,
                         ::testing::Values(CopyEngine::io_uring, CopyEngine::threads), kName);

}  // namespace
}  // namespace amilift::dev
