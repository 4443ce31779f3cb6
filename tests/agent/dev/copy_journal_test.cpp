// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>

#include "dev/journal_keeper.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using ::testing::HasSubstr;
using testing::read_at;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint32_t kChunk = 64 * kKiB;

class CopyJournalTest : public ::testing::Test {
  protected:
    CopyJournalTest() {
        shape_.source_bytes = 1U << 20;
        shape_.target_bytes = 2U << 20;
        shape_.target_offset = 1U << 20;
        shape_.chunk_bytes = kChunk;
        shape_.has_checksums = true;
        // Begins and ends in the midst of a chunk.
        shape_.ranges = {{4 * kKiB, 300 * kKiB}, {512 * kKiB, 100 * kKiB}};
    }

    core::Fd open_file() const {
        auto file = core::open_file(path_, O_RDWR | O_CREAT, 0600);
        if (!file) throw std::runtime_error(file.error().message());
        return *std::move(file);
    }
    CopyJournal open(const CopyDisks& disks = {"vol-1", "vol-2"}) const {
        auto journal = CopyJournal::open(open_file(), "journal", disks);
        if (!journal) throw std::runtime_error(journal.error().message());
        return *std::move(journal);
    }
    CopyJournal::Noted begin(CopyJournal& journal, bool zeros = false) const {
        auto noted = journal.begin(shape_, zeros);
        if (!noted) throw std::runtime_error(noted.error().message());
        return *std::move(noted);
    }
    std::vector<CopiedChunk> noted() const {
        auto journal = open();
        return begin(journal).chunks;
    }
    /// The chunks of the shape in order, with checksums.
    std::vector<CopiedChunk> chunks() const {
        std::vector<CopiedChunk> all;
        std::uint64_t sum = 1000;
        for (const auto& range : shape_.ranges) {
            for (auto at = range.offset; at < range.offset + range.length;) {
                const auto end = std::min((at / kChunk + 1) * kChunk, range.offset + range.length);
                all.push_back({{at, end - at}, shape_.has_checksums ? ++sum : 0});
                at = end;
            }
        }
        return all;
    }
    /// A journal of three records: chunk 1 and 3, then 0, then 5 and 6.
    void write_three() const {
        const auto all = chunks();
        auto journal = open();
        (void)begin(journal, true);
        ASSERT_TRUE(journal.note({all[3], all[1]}));
        ASSERT_TRUE(journal.note({all[0]}));
        ASSERT_TRUE(journal.note({all[5], all[6]}));
    }
    std::vector<std::byte> contents() const {
        return read_at(path_, 0, static_cast<std::size_t>(std::filesystem::file_size(path_)));
    }
    void put(std::span<const std::byte> bytes) const {
        std::filesystem::resize_file(path_, 0);
        write_at(path_, 0, bytes);
    }

    TemporaryDirectory directory_;
    std::string path_ = directory_.file("journal");
    CopyShape shape_;
};

TEST_F(CopyJournalTest, GivesBackWhatWasNoted) {
    ASSERT_EQ(chunks().size(), 7U);
    write_three();
    auto journal = open();
    EXPECT_TRUE(journal.has_begun());
    const auto noted = begin(journal);
    const auto all = chunks();
    EXPECT_EQ(noted.chunks, (std::vector{all[0], all[1], all[3], all[5], all[6]}));
    EXPECT_TRUE(noted.target_was_zeros);
    EXPECT_EQ(noted.ignored, "");
    ASSERT_TRUE(journal.note({all[2]}));
    EXPECT_EQ(this->noted().size(), 6U);
}

TEST_F(CopyJournalTest, NeedsNoChecksums) {
    shape_.has_checksums = false;
    write_three();
    EXPECT_EQ(noted().size(), 5U);
    EXPECT_EQ(noted().front(), chunks().front());
}

TEST_F(CopyJournalTest, StartsEmptyAndIsEmptyWhenCleared) {
    auto journal = open();
    EXPECT_FALSE(journal.has_begun());
    EXPECT_TRUE(begin(journal).chunks.empty());
    ASSERT_TRUE(journal.note(chunks()));
    ASSERT_TRUE(journal.clear());
    EXPECT_FALSE(journal.has_begun());
    EXPECT_EQ(std::filesystem::file_size(path_), 0U);
    EXPECT_TRUE(noted().empty());
}

/// The chunks that are left when the file is whole up to byte `end`.
std::size_t chunks_up_to(std::size_t end) {
    constexpr std::size_t kFirst = CopyJournal::kHeaderBytes + 16 + 2 * 16 + 2 * 8 + 8;
    constexpr std::size_t kSecond = kFirst + 16 + 16 + 8 + 8;
    constexpr std::size_t kThird = kSecond + 16 + 16 + 2 * 8 + 8;
    return end >= kThird ? 5 : end >= kSecond ? 3 : end >= kFirst ? 2 : 0;
}

TEST_F(CopyJournalTest, EndsWhereTheFileIsTorn) {
    write_three();
    const auto whole = contents();
    ASSERT_EQ(chunks_up_to(whole.size()), 5U);
    ASSERT_EQ(chunks_up_to(whole.size() - 1), 3U);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        put(std::span(whole).first(size));
        ASSERT_EQ(noted().size(), chunks_up_to(size)) << size;
    }
    // Zeros where the data has not reached the disk, as after a power cut.
    for (std::size_t size = 0; size < whole.size(); ++size) {
        auto torn = whole;
        std::fill(torn.begin() + static_cast<std::ptrdiff_t>(size), torn.end(), std::byte{0});
        if (torn == whole) continue;
        put(torn);
        ASSERT_LE(noted().size(), chunks_up_to(whole.size() - 1)) << size;
    }
}

TEST_F(CopyJournalTest, EndsWhereAByteWasChanged) {
    write_three();
    const auto whole = contents();
    for (std::size_t at = 0; at < whole.size(); ++at) {
        auto changed = whole;
        changed[at] ^= std::byte{1} << at % 8;
        put(changed);
        auto journal = open();
        const auto noted = begin(journal);
        ASSERT_EQ(noted.chunks.size(), at < CopyJournal::kHeaderBytes ? 0 : chunks_up_to(at)) << at;
        if (at < CopyJournal::kHeaderBytes) {
            ASSERT_THAT(noted.ignored, HasSubstr("torn")) << at;
        }
    }
}

TEST_F(CopyJournalTest, GoesOnBehindWhatIsValid) {
    write_three();
    std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 3);
    const auto all = chunks();
    {
        auto journal = open();
        ASSERT_EQ(begin(journal).chunks.size(), 3U);
        ASSERT_TRUE(journal.note({all[4]}));
    }
    EXPECT_EQ(noted(), (std::vector{all[0], all[1], all[3], all[4]}));
}

TEST_F(CopyJournalTest, TakesNoRecordOfAnEarlierJournal) {
    write_three();
    const auto earlier = contents();
    {
        auto journal = open();
        ASSERT_TRUE(journal.clear());
        // The same copy, but the target was not known to be zeros this time.
        (void)begin(journal, false);
    }
    auto mixed = contents();
    mixed.insert(mixed.end(), earlier.begin() + CopyJournal::kHeaderBytes, earlier.end());
    put(mixed);
    EXPECT_TRUE(noted().empty());
}

TEST_F(CopyJournalTest, TakesNoChunkThatTheCopyDoesNotHave) {
    for (const Extent& odd :
         {Extent{0, 4 * kKiB}, Extent{256 * kKiB, 64 * kKiB}, Extent{8 * kKiB, 56 * kKiB},
          Extent{64 * kKiB, 4 * kKiB}, Extent{512 * kKiB, 128 * kKiB},
          Extent{~std::uint64_t{0} - 10, 100}, Extent{64 * kKiB, 0}}) {
        auto journal = open();
        ASSERT_TRUE(journal.clear());
        (void)begin(journal);
        ASSERT_TRUE(journal.note({{odd, 7}}));
        EXPECT_TRUE(noted().empty()) << odd.offset;
    }
}

TEST_F(CopyJournalTest, SaysWhyItDoesNotCount) {
    struct Case {
        const char* name;
        std::function<void(CopyShape&)> change;
        CopyDisks disks;
        const char* reason;
        bool begun;
    };
    const CopyDisks same{"vol-1", "vol-2"};
    const std::vector<Case> cases{
        {"source", [](CopyShape&) {}, {"vol-9", "vol-2"}, "copy of 'vol-1' to 'vol-2'", false},
        {"target", [](CopyShape&) {}, {"vol-1", "vol-9"}, "copy of 'vol-1' to 'vol-2'", false},
        {"source size", [](CopyShape& s) { s.source_bytes += 1; }, same, "another size", true},
        {"target size", [](CopyShape& s) { s.target_bytes += 1; }, same, "another size", true},
        {"offset", [](CopyShape& s) { s.target_offset = 0; }, same, "other parts", true},
        {"chunks", [](CopyShape& s) { s.chunk_bytes *= 2; }, same, "other parts", true},
        {"extents", [](CopyShape& s) { s.ranges[0].length -= 4096; }, same, "other parts", true},
        {"sums", [](CopyShape& s) { s.has_checksums = false; }, same, "has checksums", true},
    };
    for (const auto& c : cases) {
        const auto shape = shape_;
        auto journal = open();
        ASSERT_TRUE(journal.clear());
        write_three();
        c.change(shape_);
        journal = open(c.disks);
        EXPECT_EQ(journal.has_begun(), c.begun) << c.name;
        const auto noted = begin(journal);
        EXPECT_TRUE(noted.chunks.empty()) << c.name;
        EXPECT_FALSE(noted.target_was_zeros) << c.name;
        EXPECT_THAT(noted.ignored, HasSubstr(c.reason)) << c.name;
        EXPECT_EQ(std::filesystem::file_size(path_), CopyJournal::kHeaderBytes) << c.name;
        shape_ = shape;
    }
}

TEST_F(CopyJournalTest, NeedsARegularFileAndNames) {
    auto null = core::open_file("/dev/null", O_RDWR);
    ASSERT_TRUE(null);
    EXPECT_FALSE(CopyJournal::open(*std::move(null), "null", {"vol-1", "vol-2"}));
    const auto nameless = CopyJournal::open(open_file(), "journal", {"vol-1", ""});
    ASSERT_FALSE(nameless);
    EXPECT_TRUE(nameless.error().is(Errc::invalid_input));
    EXPECT_FALSE(CopyJournal::open(open_file(), "journal", {std::string(64, 'x'), "vol-2"}));
}

class JournalKeeperTest : public CopyJournalTest {
  protected:
    std::unique_ptr<JournalKeeper> keep(std::function<core::Result<>()> flush) {
        (void)begin(journal_);
        auto keeper = JournalKeeper::start(
            journal_, {.interval = std::chrono::hours(1), .bytes = 1, .flush = std::move(flush)},
            target_, "target");
        if (!keeper) throw std::runtime_error(keeper.error().message());
        return *std::move(keeper);
    }
    CopyJournal journal_ = open();
    core::Fd target_ = open_file();
};

TEST_F(JournalKeeperTest, NotesOnlyWhatWasFinishedBeforeTheFlush) {
    const auto all = chunks();
    std::unique_ptr<JournalKeeper> keeper;
    std::vector<std::size_t> before;  ///< noted at the start of each flush
    std::promise<void> ready;
    std::promise<void> fourth;
    keeper = keep([&]() -> core::Result<> {
        if (before.empty()) ready.get_future().wait();
        const auto size = std::filesystem::file_size(path_);
        before.push_back(static_cast<std::size_t>(size));
        // While the target is being flushed the copy goes on.
        if (before.size() < 4) keeper->finished(all[before.size()]);
        if (before.size() == 4) fourth.set_value();
        return {};
    });
    keeper->finished(all[0]);
    ready.set_value();
    fourth.get_future().wait();
    ASSERT_TRUE(keeper->finish(std::chrono::seconds(20)));
    ASSERT_EQ(before.size(), 4U);
    EXPECT_EQ(before[0], CopyJournal::kHeaderBytes);
    constexpr std::size_t kOneChunk = 16 + 16 + 8 + 8;
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(before[i], before[0] + i * kOneChunk) << i;
    EXPECT_EQ(noted(), (std::vector{all[0], all[1], all[2], all[3]}));
}

TEST_F(JournalKeeperTest, NotesNothingThatCouldNotBeFlushed) {
    const auto keeper = keep(
        []() -> core::Result<> { return core::fail_errno(EIO, "cannot flush target 'vol-2'"); });
    keeper->finished(chunks()[0]);
    const auto ended = keeper->finish(std::chrono::seconds(20));
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().sys_errno, EIO);
    EXPECT_FALSE(keeper->check());
    EXPECT_TRUE(noted().empty());
}

TEST_F(JournalKeeperTest, LeavesATargetAloneThatNeverAnswers) {
    std::promise<void> answer;
    std::promise<void> answered;
    auto keeper = keep([&]() -> core::Result<> {
        answer.get_future().wait();
        answered.set_value();
        return {};
    });
    keeper->finished(chunks()[0]);
    const auto ended = keeper->finish(std::chrono::milliseconds(50));
    ASSERT_FALSE(ended);
    EXPECT_TRUE(ended.error().is(Errc::timed_out));
    EXPECT_THAT(ended.error().what, HasSubstr("'target'"));
    keeper.reset();
    answer.set_value();
    answered.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    // Whoever owns the journal may have forgotten it by now.
    EXPECT_TRUE(noted().empty());
}

TEST_F(JournalKeeperTest, ACopyIsGoodWithoutItsJournal) {
    auto keeper = keep([] { return core::Result<>(); });
    (void)keeper->finish(std::chrono::seconds(20));
    write_three();
    auto file = core::open_file(path_, O_RDONLY);
    ASSERT_TRUE(file);
    auto read_only = CopyJournal::open(*std::move(file), "journal", {"vol-1", "vol-2"});
    ASSERT_TRUE(read_only);
    auto started = JournalKeeper::start(*read_only, {}, target_, "target");
    ASSERT_TRUE(started);
    (*started)->finished(chunks()[2]);
    EXPECT_TRUE((*started)->finish(std::chrono::seconds(20)));
    EXPECT_THAT((*started)->trouble(), HasSubstr("'journal'"));
    EXPECT_EQ(noted().size(), 5U);
}

}  // namespace
}  // namespace amilift::dev
