// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_engine.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

#include "dev/copy_ranges.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::make_sparse;
using testing::open_disk;
using testing::random_bytes;
using testing::read_at;
using testing::TemporaryDirectory;
using testing::write_at;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kSourceBytes = 24 * kMiB;
constexpr std::uint64_t kOffset = kMiB;

class Copy : public ::testing::TestWithParam<CopyEngine> {
  protected:
    void SetUp() override {
        source_ = make_sparse(directory_, "source", kSourceBytes);
        // Data, a hole in the midst, a lone byte, data up to the end.
        write_at(source_, 0, random_bytes(5 * kMiB, 1));
        write_at(source_, 9 * kMiB, random_bytes(3 * kMiB, 2));
        write_at(source_, 15 * kMiB + 77, random_bytes(1, 3));
        write_at(source_, 20 * kMiB, random_bytes(4 * kMiB, 4));
        target_ = make_sparse(directory_, "target", kSourceBytes + kOffset);
    }

    core::Result<CopyStats> copy(CopyPlan plan) {
        plan.engine = GetParam();
        plan.queue = {.depth = 8, .block_bytes = 256U << 10U};
        const auto source = open_disk(source_);
        const auto target = open_disk(target_, Access::read_write);
        auto stats = copy_extents(
            source, target, plan, [this](const CopyProgress& p) { last_ = p; }, cancel_);
        if (!stats && stats.error().is(Errc::unavailable)) unavailable_ = true;
        return stats;
    }

    [[nodiscard]] static CopyPlan whole(TargetContent content) {
        CopyPlan plan;
        plan.extents = {{0, kSourceBytes}};
        plan.target_offset = kOffset;
        plan.target_content = content;
        return plan;
    }

    [[nodiscard]] bool same(std::uint64_t offset, std::uint64_t length) const {
        return read_at(source_, offset, static_cast<std::size_t>(length)) ==
               read_at(target_, offset + kOffset, static_cast<std::size_t>(length));
    }

    [[nodiscard]] static std::uint64_t allocated(const std::string& path) {
        struct stat st{};
        if (::stat(path.c_str(), &st) != 0) throw std::runtime_error("stat failed");
        return static_cast<std::uint64_t>(st.st_blocks) * 512;
    }

    TemporaryDirectory directory_;
    std::string source_;
    std::string target_;
    core::Cancel cancel_;
    CopyProgress last_;
    bool unavailable_ = false;
};

#define SKIP_WITHOUT_URING(stats) \
    if (!(stats) && unavailable_) \
    GTEST_SKIP() << "this kernel has no io_uring: " << (stats).error().message()

TEST_P(Copy, CopiesEveryByteAndSkipsZeros) {
    const auto stats = copy(whole(TargetContent::zeros));
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same(0, kSourceBytes));
    EXPECT_EQ(stats->read_bytes, kSourceBytes);
    EXPECT_EQ(stats->written_bytes + stats->zero_bytes, kSourceBytes);
    EXPECT_EQ(stats->written_bytes, 12 * kMiB + 4096);
    EXPECT_LT(allocated(target_), 13 * kMiB);
    EXPECT_EQ(last_.done_bytes, kSourceBytes);
    EXPECT_EQ(last_.total_bytes, kSourceBytes);
    EXPECT_STREQ(stats->engine, GetParam() == CopyEngine::threads ? "threads" : "io_uring");
}

TEST_P(Copy, OverwritesWhatAnUnknownTargetHolds) {
    write_at(target_, 0, std::vector<std::byte>(kSourceBytes + kOffset, std::byte{0xee}));
    CopyPlan plan = whole(TargetContent::unknown);
    plan.extents = {{0, 8 * kMiB}, {14 * kMiB, 10 * kMiB}};
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same(0, 8 * kMiB));
    EXPECT_TRUE(same(14 * kMiB, 10 * kMiB));
    EXPECT_EQ(stats->zero_bytes, 0U);
    EXPECT_EQ(stats->written_bytes, 18 * kMiB);
    // Free space keeps what it had.
    EXPECT_EQ(read_at(target_, kOffset + 8 * kMiB, 6 * kMiB),
              std::vector<std::byte>(6 * kMiB, std::byte{0xee}));
    EXPECT_EQ(read_at(target_, 0, kOffset), std::vector<std::byte>(kOffset, std::byte{0xee}));
}

TEST_P(Copy, CopiesUnalignedEndsAndNothingBeyondThem) {
    write_at(target_, 0, std::vector<std::byte>(kSourceBytes + kOffset, std::byte{0xee}));
    CopyPlan plan = whole(TargetContent::unknown);
    plan.extents = {{1000, 3 * kMiB}, {20 * kMiB + 1, 2 * kMiB + 4321}};
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same(1000, 3 * kMiB));
    EXPECT_TRUE(same(20 * kMiB + 1, 2 * kMiB + 4321));
    EXPECT_EQ(read_at(target_, kOffset, 1000), std::vector<std::byte>(1000, std::byte{0xee}));
    const auto end = kOffset + 22 * kMiB + 4322;
    EXPECT_EQ(read_at(target_, end, 5000), std::vector<std::byte>(5000, std::byte{0xee}));
}

TEST_P(Copy, CopiesASourceOfOddLength) {
    std::filesystem::resize_file(source_, kSourceBytes - 1234);
    CopyPlan plan = whole(TargetContent::zeros);
    plan.extents = {{0, kSourceBytes - 1234}};
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_TRUE(same(0, kSourceBytes - 1234));
}

TEST_P(Copy, CopiesToAnOddOffsetThroughThePageCache) {
    CopyPlan plan = whole(TargetContent::zeros);
    plan.target_offset = 12345;
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(read_at(source_, 0, kSourceBytes), read_at(target_, 12345, kSourceBytes));
}

TEST_P(Copy, ReadsLittleMoreThanIsUsed) {
    CopyPlan plan = whole(TargetContent::zeros);
    plan.extents.clear();
    for (std::uint64_t at = 0; at + 12288 <= kSourceBytes; at += 12288) {
        plan.extents.push_back({at, 8192});  // every gap is 4 KiB: reading all would be 1.5x
    }
    const auto used = total_bytes(plan.extents);
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_GE(stats->read_bytes, used);
    EXPECT_LE(stats->read_bytes, used + used / 50);
    for (const auto& extent : plan.extents) ASSERT_TRUE(same(extent.offset, extent.length));
}

TEST_P(Copy, NeedsNothingForNothing) {
    CopyPlan plan = whole(TargetContent::zeros);
    plan.extents.clear();
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(stats->read_bytes, 0U);
}

TEST_P(Copy, RefusesATargetThatEndsTooEarlyBeforeTheFirstByte) {
    std::filesystem::resize_file(target_, kSourceBytes);
    const auto stats = copy(whole(TargetContent::zeros));
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::no_space));
    EXPECT_NE(stats.error().what.find(target_), std::string::npos);
    EXPECT_NE(stats.error().what.find(std::to_string(kSourceBytes)), std::string::npos);
    EXPECT_EQ(allocated(target_), 0U);
}

TEST_P(Copy, NamesTheByteWhereAShrunkenSourceEnds) {
    const auto source = open_disk(source_);
    const auto target = open_disk(target_, Access::read_write);
    std::filesystem::resize_file(source_, 10 * kMiB);
    auto plan = whole(TargetContent::zeros);
    plan.engine = GetParam();
    const auto stats = copy_extents(source, target, plan, {}, cancel_);
    ASSERT_FALSE(stats);
    if (stats.error().is(Errc::unavailable)) GTEST_SKIP() << "this kernel has no io_uring";
    EXPECT_TRUE(stats.error().is(Errc::io_error)) << stats.error().message();
    EXPECT_NE(stats.error().what.find(source_), std::string::npos);
    EXPECT_NE(stats.error().what.find(" at byte "), std::string::npos);
}

TEST_P(Copy, StopsWhenAsked) {
    const auto source = open_disk(source_);
    const auto target = open_disk(target_, Access::read_write);
    auto plan = whole(TargetContent::unknown);
    plan.engine = GetParam();
    plan.queue = {.depth = 1, .block_bytes = 4096};
    int calls = 0;
    const auto stats = copy_extents(
        source, target, plan,
        [&](const CopyProgress&) {
            ++calls;
            cancel_.request("enough");
        },
        cancel_);
    ASSERT_FALSE(stats);
    if (stats.error().is(Errc::unavailable)) GTEST_SKIP() << "this kernel has no io_uring";
    EXPECT_TRUE(stats.error().is(Errc::cancelled)) << stats.error().message();
    EXPECT_NE(stats.error().what.find("enough"), std::string::npos);
    EXPECT_GE(calls, 1);
}

TEST_P(Copy, StartsNothingAfterACancel) {
    cancel_.request("never mind");
    const auto stats = copy(whole(TargetContent::unknown));
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::cancelled));
    EXPECT_EQ(allocated(target_), 0U);
}

TEST_P(Copy, RefusesSenselessPlans) {
    auto plan = whole(TargetContent::zeros);
    plan.extents = {{kMiB, kMiB}, {0, kMiB}};
    auto stats = copy(plan);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::invalid_input));
    plan.extents = {{0, kSourceBytes + 1}};
    stats = copy(plan);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::invalid_input));
    plan.extents = {{~std::uint64_t{0}, 2}};
    EXPECT_FALSE(copy(plan));
    plan = whole(TargetContent::zeros);
    plan.target_offset = ~std::uint64_t{0} - 5;
    stats = copy(plan);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::no_space));
}

TEST_P(Copy, RefusesTheSameDiskAndAReadOnlyTarget) {
    const auto source = open_disk(source_);
    const auto same_disk = open_disk(source_, Access::read_write);
    auto plan = whole(TargetContent::zeros);
    plan.engine = GetParam();
    plan.target_offset = 0;
    auto stats = copy_extents(source, same_disk, plan, {}, cancel_);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::invalid_input));
    EXPECT_NE(stats.error().what.find("same disk"), std::string::npos);
    stats = copy_extents(source, open_disk(target_), plan, {}, cancel_);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::invalid_input));
    plan.queue = {.depth = 0};
    EXPECT_FALSE(copy_extents(source, open_disk(target_, Access::read_write), plan, {}, cancel_));
    plan.queue = {.depth = 8, .block_bytes = 5000};
    EXPECT_FALSE(copy_extents(source, open_disk(target_, Access::read_write), plan, {}, cancel_));
}

/// A flush that ends when it is told to, for threads that outlive the test.
class SlowFlush {
  public:
    std::function<core::Result<>()> function() {
        return [state = state_]() -> core::Result<> {
            std::unique_lock lock(state->mutex);
            state->begun = true;
            state->changed.notify_all();
            state->changed.wait(lock, [&] { return state->ended; });
            return {};
        };
    }
    bool has_begun_within(std::chrono::seconds time) {
        std::unique_lock lock(state_->mutex);
        return state_->changed.wait_for(lock, time, [this] { return state_->begun; });
    }
    ~SlowFlush() {
        const std::lock_guard lock(state_->mutex);
        state_->ended = true;
        state_->changed.notify_all();
    }
    SlowFlush() = default;
    SlowFlush(const SlowFlush&) = delete;
    SlowFlush& operator=(const SlowFlush&) = delete;

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        bool begun = false;
        bool ended = false;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

TEST_P(Copy, LastFlushIsNotWaitedForForEver) {
    if (!core::open_file(target_, O_RDWR | O_DIRECT)) GTEST_SKIP() << "no direct I/O here";
    SlowFlush hanging;
    auto plan = whole(TargetContent::zeros);
    plan.stall_timeout = std::chrono::seconds(2);
    plan.notes.flush = hanging.function();
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::timed_out)) << stats.error().message();
    EXPECT_NE(stats.error().what.find(target_), std::string::npos) << stats.error().what;
}

TEST_P(Copy, LastFlushEndsWhenAsked) {
    SlowFlush hanging;
    auto plan = whole(TargetContent::zeros);
    plan.notes.flush = hanging.function();
    std::jthread asker([&] {
        if (hanging.has_begun_within(std::chrono::seconds(30))) cancel_.request("enough");
    });
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::cancelled)) << stats.error().message();
}

/// What a server or a disk behind the page cache takes in total says nothing of its health.
TEST_P(Copy, SlowTargetBehindThePageCacheIsWaitedFor) {
    auto plan = whole(TargetContent::zeros);
    plan.target_offset = 12345;
    plan.stall_timeout = std::chrono::seconds(1);
    std::vector<Extent> written;
    plan.write_back = [&](const Extent& extent) -> core::Result<> {
        std::this_thread::sleep_for(std::chrono::milliseconds(400));
        written.push_back(extent);
        return {};
    };
    plan.notes.flush = []() -> core::Result<> {
        std::this_thread::sleep_for(std::chrono::milliseconds(1300));
        return {};
    };
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_TRUE(stats) << stats.error().message();
    EXPECT_EQ(written,
              (std::vector<Extent>{
                  {12345, 8 * kMiB}, {12345 + 8 * kMiB, 8 * kMiB}, {12345 + 16 * kMiB, 8 * kMiB}}));
}

TEST_P(Copy, SilentTargetBehindThePageCacheIsNotWaitedFor) {
    SlowFlush hanging;
    auto plan = whole(TargetContent::zeros);
    plan.target_offset = 12345;
    plan.stall_timeout = std::chrono::seconds(1);
    plan.write_back = [hang = hanging.function()](const Extent& /*extent*/) { return hang(); };
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::timed_out)) << stats.error().message();
}

TEST_P(Copy, FlushBehindThePageCacheEndsWhenAsked) {
    SlowFlush hanging;
    auto plan = whole(TargetContent::zeros);
    plan.target_offset = 12345;
    plan.notes.flush = hanging.function();
    std::jthread asker([&] {
        if (hanging.has_begun_within(std::chrono::seconds(30))) cancel_.request("enough");
    });
    const auto stats = copy(plan);
    SKIP_WITHOUT_URING(stats);
    ASSERT_FALSE(stats);
    EXPECT_TRUE(stats.error().is(Errc::cancelled)) << stats.error().message();
}

/// Denies io_uring to this process, as a container's seccomp profile does.
bool deny_io_uring(int error) {
    const auto answer = SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & SECCOMP_RET_DATA);
    std::array<sock_filter, 4> code{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, answer),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

class CopyWithoutUring : public Copy {};

TEST_P(CopyWithoutUring, IsDoneByThreads) {
    for (const int error : {EPERM, ENOSYS}) {
        SCOPED_TRACE(error);
        std::filesystem::resize_file(target_, 0);
        std::filesystem::resize_file(target_, kSourceBytes + kOffset);
        const auto child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            if (!deny_io_uring(error)) ::_exit(2);
            const auto stats = copy(whole(TargetContent::zeros));
            if (GetParam() == CopyEngine::io_uring) {
                ::_exit(!stats && stats.error().is(Errc::unavailable) ? 0 : 3);
            }
            ::_exit(stats && std::string_view(stats->engine) == "threads" ? 0 : 4);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        EXPECT_EQ(same(0, kSourceBytes), GetParam() == CopyEngine::automatic);
    }
}

INSTANTIATE_TEST_SUITE_P(Engines, CopyWithoutUring,
                         ::testing::Values(CopyEngine::io_uring, CopyEngine::automatic),
                         [](const ::testing::TestParamInfo<CopyEngine>& engine) {
                             return engine.param == CopyEngine::io_uring ? "Uring" : "Automatic";
                         });

INSTANTIATE_TEST_SUITE_P(Engines, Copy,
                         ::testing::Values(CopyEngine::io_uring, CopyEngine::threads),
                         [](const ::testing::TestParamInfo<CopyEngine>& engine) {
                             return engine.param == CopyEngine::io_uring ? "Uring" : "Threads";
                         });

}  // namespace
}  // namespace amilift::dev
