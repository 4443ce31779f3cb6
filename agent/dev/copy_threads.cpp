// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "dev/copy_job.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMaxThreads = 64;
constexpr auto kSlice = std::chrono::milliseconds(100);

/// What the threads and their owner share. A thread cannot leave a system call: when the devices
/// are given up, those that are in one outlive the owner, with the descriptors and the buffers.
/// They hold a Lease on the job while they use it, and get none any more then.
class Crew {
  public:
    Crew(CopyJob& job, CopyStats& stats, BufferPool pool, core::Fd source, core::Fd target)
        : job_(&job),
          stats_(stats),
          pool_(std::move(pool)),
          source_(std::move(source)),
          target_(std::move(target)),
          read_offset_(job.read_offset()),
          target_offset_(job.target_offset),
          alignment_(job.alignment) {}

    static Result<> run(CopyJob& job, CopyStats& stats) {
        const auto count = std::min(job.queue_depth, kMaxThreads);
        AMILIFT_TRY(auto pool, BufferPool::allocate(std::size_t{count} * job.block_bytes));
        AMILIFT_TRY(auto source, duplicate(job.source_fd, job.source.path()));
        AMILIFT_TRY(auto target, duplicate(job.target_fd, job.target.path()));
        const auto crew = std::make_shared<Crew>(job, stats, std::move(pool), std::move(source),
                                                 std::move(target));
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto buffer =
                crew->pool_.bytes().subspan(std::size_t{i} * job.block_bytes, job.block_bytes);
            {
                const std::lock_guard lock(crew->mutex_);
                ++crew->running_;
            }
            try {
                std::thread([crew, buffer] { crew->work(buffer); }).detach();
            } catch (const std::system_error& error) {
                const std::lock_guard lock(crew->mutex_);
                --crew->running_;
                // A smaller crew does it as well.
                if (i > 0) break;
                return core::fail_errno(error.code().value(), "cannot start a copy thread",
                                        "raise the limit of processes, then retry");
            }
        }
        return crew->supervise(job);
    }

  private:
    /// The right to use the job; null when its owner has gone. Taking one says that a device has
    /// answered.
    class Lease {
      public:
        explicit Lease(Crew& crew) : crew_(crew) {
            const std::lock_guard lock(crew_.mutex_);
            crew_.last_answer_ = Clock::now();
            job_ = crew_.job_;
            if (job_ != nullptr) ++crew_.leases_;
        }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() {
            if (job_ == nullptr) return;
            const std::lock_guard lock(crew_.mutex_);
            if (--crew_.leases_ == 0) crew_.changed_.notify_all();
        }
        explicit operator bool() const { return job_ != nullptr; }
        CopyJob& operator*() const { return *job_; }
        CopyJob* operator->() const { return job_; }

      private:
        Crew& crew_;
        CopyJob* job_ = nullptr;
    };

    /// Of a thread whose owner does not listen any more.
    static std::unexpected<core::Error> nobody_listens() {
        return fail(Errc::cancelled, "the copy has been given up");
    }

    Result<> supervise(CopyJob& job) {
        std::unique_lock lock(mutex_);
        while (running_ > 0) {
            changed_.wait_for(lock, kSlice);
            if (!error_) {
                if (auto asked = job.check(); !asked) stop_with(std::move(asked).error());
            }
            const auto now = Clock::now();
            if (!error_ && now - last_answer_ > job.stall_timeout) {
                stop_with(
                    fail(Errc::timed_out,
                         fmt::format("no answer from source '{}' or target '{}' for {} ms, {} "
                                     "threads wait for one",
                                     job.source.path(), job.target.path(),
                                     job.stall_timeout.count(), running_),
                         "see the volumes' state in EC2; start again with new ones")
                        .error());
            }
            if (error_ && running_ > 0 && now >= drain_until_) {
                error_->what += fmt::format("; {} requests did not end", running_);
                job_ = nullptr;
                changed_.wait(lock, [this] { return leases_ == 0; });
                break;
            }
            const auto done = done_bytes_;
            lock.unlock();
            job.progress.set_done(done);
            lock.lock();
        }
        job_ = nullptr;
        if (error_) return std::unexpected(*error_);
        return {};
    }

    /// With the mutex held. What is under way is waited for.
    void stop_with(core::Error error) {
        if (error_ || job_ == nullptr) return;
        error_ = std::move(error);
        drain_until_ = Clock::now() + job_->drain_timeout;
    }

    std::optional<Extent> next_chunk() {
        const std::lock_guard lock(mutex_);
        if (error_ || job_ == nullptr) return std::nullopt;
        return job_->chunks.next();
    }

    void work(std::span<std::byte> buffer) {
        std::vector<DataRun> runs;
        while (const auto chunk = next_chunk()) {
            auto copied = copy(*chunk, buffer.first(static_cast<std::size_t>(chunk->length)), runs);
            if (copied) continue;
            const std::lock_guard lock(mutex_);
            stop_with(std::move(copied).error());
        }
        const std::lock_guard lock(mutex_);
        if (--running_ == 0) changed_.notify_all();
    }

    Result<> copy(const Extent& chunk, std::span<std::byte> bytes, std::vector<DataRun>& runs) {
        AMILIFT_CHECK(read_chunk(chunk, bytes));
        std::uint64_t checksum = 0;
        {
            const Lease job(*this);
            if (!job) return nobody_listens();
            AMILIFT_TRY(checksum, job->on_read(chunk, bytes));
            runs_to_write(*job, bytes, runs);
        }
        std::uint64_t written = 0;
        for (const auto& run : runs) {
            AMILIFT_CHECK(write_run(chunk.offset + target_offset_ + run.offset,
                                    bytes.subspan(run.offset, run.length)));
            written += run.length;
        }
        const Lease job(*this);
        if (!job) return nobody_listens();
        job->on_done({chunk, checksum});
        const std::lock_guard lock(mutex_);
        stats_.read_bytes += chunk.length;
        stats_.written_bytes += written;
        stats_.zero_bytes += chunk.length - written;
        done_bytes_ += chunk.length;
        return {};
    }

    Result<> read_chunk(const Extent& chunk, std::span<std::byte> buffer) {
        const auto from = chunk.offset + read_offset_;
        for (std::uint64_t done = 0; done < chunk.length;) {
            const auto rest = buffer.subspan(static_cast<std::size_t>(done));
            const auto n =
                ::pread(source_.get(), rest.data(), rest.size(), static_cast<off_t>(from + done));
            const int saved = errno;
            const Lease job(*this);
            if (!job) return nobody_listens();
            if (n < 0) {
                if (saved == EINTR) continue;
                return read_failed(*job, from + done, chunk.length - done, saved);
            }
            const auto got = static_cast<std::uint64_t>(n);
            // Direct I/O goes on at an aligned place: a part of a sector is read again.
            const auto usable = got == rest.size() ? got : got - got % alignment_;
            if (usable == 0) return source_ended(*job, from + done + got, rest.size() - got);
            done += usable;
        }
        return {};
    }

    Result<> write_run(std::uint64_t offset, std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto n =
                ::pwrite(target_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
            const int saved = errno;
            const Lease job(*this);
            if (!job) return nobody_listens();
            if (n < 0) {
                if (saved == EINTR) continue;
                return write_failed(*job, offset, bytes.size(), saved);
            }
            const auto put = static_cast<std::uint64_t>(n);
            const auto usable = put == bytes.size() ? put : put - put % alignment_;
            if (usable == 0) return target_ended(*job, offset + put, bytes.size() - put);
            bytes = bytes.subspan(static_cast<std::size_t>(usable));
            offset += usable;
        }
        return {};
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    CopyJob* job_;      ///< null: the owner has gone
    CopyStats& stats_;  ///< with a lease only
    const BufferPool pool_;
    const core::Fd source_;
    const core::Fd target_;
    const std::uint64_t read_offset_;
    const std::uint64_t target_offset_;
    const std::uint32_t alignment_;
    std::uint32_t running_ = 0;
    std::uint32_t leases_ = 0;
    std::uint64_t done_bytes_ = 0;
    Clock::time_point last_answer_ = Clock::now();
    Clock::time_point drain_until_;
    std::optional<core::Error> error_;
};

}  // namespace

Result<> copy_by_threads(CopyJob& job, CopyStats& stats) {
    return Crew::run(job, stats);
}

}  // namespace amilift::dev
