// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "dev/copy_job.hpp"

namespace amilift::dev {
namespace {

using core::Result;

constexpr std::uint32_t kMaxThreads = 32;
constexpr auto kSlice = std::chrono::milliseconds(100);

Result<> read_chunk(const CopyJob& job, const Extent& chunk, std::span<std::byte> buffer) {
    const auto from = chunk.offset + job.read_offset();
    for (std::uint64_t done = 0; done < chunk.length;) {
        const auto rest = buffer.subspan(static_cast<std::size_t>(done));
        const auto n =
            ::pread(job.source_fd.get(), rest.data(), rest.size(), static_cast<off_t>(from + done));
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return read_failed(job, from + done, chunk.length - done, saved);
        }
        const auto got = static_cast<std::uint64_t>(n);
        // Direct I/O goes on at an aligned place: a part of a sector is read again.
        const auto usable = got == rest.size() ? got : got - got % job.alignment;
        if (usable == 0) return source_ended(job, from + done + got, rest.size() - got);
        done += usable;
    }
    return {};
}

Result<> write_run(const CopyJob& job, std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto n =
            ::pwrite(job.target_fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return write_failed(job, offset, bytes.size(), saved);
        }
        const auto put = static_cast<std::uint64_t>(n);
        const auto usable = put == bytes.size() ? put : put - put % job.alignment;
        if (usable == 0) return target_ended(job, offset + put, bytes.size() - put);
        bytes = bytes.subspan(static_cast<std::size_t>(usable));
        offset += usable;
    }
    return {};
}

/// The threads' common state.
class Crew {
  public:
    Crew(CopyJob& job, CopyStats& stats) : job_(job), stats_(stats) {}

    Result<> run() {
        const auto count = std::min(job_.queue_depth, kMaxThreads);
        AMILIFT_TRY(const auto pool, BufferPool::allocate(std::size_t{count} * job_.block_bytes));
        {
            std::vector<std::jthread> threads;
            for (std::uint32_t i = 0; i < count; ++i) {
                const auto buffer =
                    pool.bytes().subspan(std::size_t{i} * job_.block_bytes, job_.block_bytes);
                {
                    const std::lock_guard lock(mutex_);
                    ++running_;
                }
                try {
                    threads.emplace_back([this, buffer] { work(buffer); });
                } catch (const std::system_error& error) {
                    const std::lock_guard lock(mutex_);
                    --running_;
                    // A smaller crew does it as well.
                    if (threads.empty()) {
                        return core::fail_errno(error.code().value(), "cannot start a copy thread",
                                                "raise the limit of processes, then retry");
                    }
                    break;
                }
            }
            supervise();
        }
        if (failed_) return std::unexpected(std::move(error_));
        return {};
    }

  private:
    void supervise() {
        std::unique_lock lock(mutex_);
        while (running_ > 0) {
            changed_.wait_for(lock, kSlice);
            if (auto asked = job_.check(); !asked) stop_with(std::move(asked).error());
            const auto done = done_bytes_;
            lock.unlock();
            job_.progress.set_done(done);
            lock.lock();
        }
    }

    void stop_with(core::Error error) {
        if (failed_) return;
        failed_ = true;
        error_ = std::move(error);
    }

    void work(std::span<std::byte> buffer) {
        std::vector<DataRun> runs;
        for (;;) {
            std::optional<Extent> chunk;
            {
                const std::lock_guard lock(mutex_);
                if (!failed_) chunk = job_.chunks.next();
            }
            if (!chunk) break;
            auto copied = copy(*chunk, buffer.first(static_cast<std::size_t>(chunk->length)), runs);
            if (!copied) {
                const std::lock_guard lock(mutex_);
                stop_with(std::move(copied).error());
                break;
            }
        }
        const std::lock_guard lock(mutex_);
        if (--running_ == 0) changed_.notify_all();
    }

    Result<> copy(const Extent& chunk, std::span<std::byte> bytes, std::vector<DataRun>& runs) {
        AMILIFT_CHECK(read_chunk(job_, chunk, bytes));
        AMILIFT_TRY(const auto checksum, job_.on_read(chunk, bytes));
        runs_to_write(job_, bytes, runs);
        std::uint64_t written = 0;
        for (const auto& run : runs) {
            AMILIFT_CHECK(write_run(job_, chunk.offset + job_.target_offset + run.offset,
                                    bytes.subspan(run.offset, run.length)));
            written += run.length;
        }
        job_.on_done({chunk, checksum});
        const std::lock_guard lock(mutex_);
        stats_.read_bytes += chunk.length;
        stats_.written_bytes += written;
        stats_.zero_bytes += chunk.length - written;
        done_bytes_ += chunk.length;
        return {};
    }

    CopyJob& job_;
    CopyStats& stats_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint32_t running_ = 0;
    std::uint64_t done_bytes_ = 0;
    bool failed_ = false;
    core::Error error_;
};

}  // namespace

Result<> copy_by_threads(CopyJob& job, CopyStats& stats) {
    return Crew(job, stats).run();
}

}  // namespace amilift::dev
