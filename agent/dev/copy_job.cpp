// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_job.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr auto kProgressPause = std::chrono::milliseconds(100);

std::unexpected<core::Error> flush_failed(int sys_errno, const std::string& name) {
    return fail_errno(sys_errno, fmt::format("cannot flush target '{}'", name),
                      "it did not keep what was written; use another target");
}

}  // namespace

Result<BufferPool> BufferPool::allocate(std::size_t bytes) {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot allocate {} bytes of buffers", bytes),
                          "use a helper with more memory");
    }
    return BufferPool({static_cast<std::byte*>(at), bytes});
}

BufferPool::BufferPool(BufferPool&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

BufferPool& BufferPool::operator=(BufferPool&& other) noexcept {
    if (this != &other) {
        if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
        bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
}

BufferPool::~BufferPool() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

void ProgressMeter::set_done(std::uint64_t done_bytes) {
    progress_.done_bytes = std::min(progress_.resumed_bytes + done_bytes, progress_.total_bytes);
    if (!callback_) return;
    const auto now = std::chrono::steady_clock::now();
    // Who hears of progress takes it for a sign of life.
    if (progress_.done_bytes == told_ || now - last_ < kProgressPause) return;
    last_ = now;
    told_ = progress_.done_bytes;
    callback_(progress_);
}

void ProgressMeter::repeat() {
    told_.reset();
    set_done(progress_.done_bytes - progress_.resumed_bytes);
}

void ProgressMeter::finish() {
    progress_.done_bytes = progress_.total_bytes;
    if (callback_) callback_(progress_);
}

void runs_to_write(const CopyJob& job, std::span<const std::byte> chunk,
                   std::vector<DataRun>& runs) {
    if (job.pass == CopyPass::verify) {
        runs.clear();
    } else if (job.skip_zeros) {
        find_data_runs(chunk, job.step_bytes, runs);
    } else {
        runs.assign(1, {0, static_cast<std::uint32_t>(chunk.size())});
    }
}

std::unexpected<core::Error> read_failed(const CopyJob& job, std::uint64_t offset,
                                         std::uint64_t count, int sys_errno) {
    if (job.pass == CopyPass::verify) {
        return fail_errno(sys_errno,
                          fmt::format("cannot read {} bytes back at byte {} of target '{}'", count,
                                      offset, job.target.path()),
                          "it does not give back what was written; use another target");
    }
    return fail_errno(sys_errno,
                      fmt::format("cannot read {} bytes at byte {} of source '{}'", count, offset,
                                  job.source.path()),
                      "the source disk is damaged or gone; make it again from its snapshot");
}

std::unexpected<core::Error> source_ended(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count) {
    if (job.pass == CopyPass::verify) {
        return fail(Errc::io_error,
                    fmt::format("target '{}' ends at byte {}, expected to read {} more bytes back",
                                job.target.path(), offset, count),
                    "it became shorter during the copy; use another target");
    }
    return fail(Errc::io_error,
                fmt::format("source '{}' ends at byte {}, expected {} more bytes",
                            job.source.path(), offset, count),
                "it became shorter during the copy; stop what changes it, then retry");
}

std::unexpected<core::Error> write_failed(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count, int sys_errno) {
    return fail_errno(sys_errno,
                      fmt::format("cannot write {} bytes at byte {} of target '{}'", count, offset,
                                  job.target.path()),
                      sys_errno == ENOSPC ? "make room where the target is, then retry"
                                          : "use another target, then retry");
}

Result<core::Fd> duplicate(const core::Fd& fd, const std::string& name) {
    core::Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (copy) return copy;
    const int saved = errno;
    return fail_errno(saved, fmt::format("cannot hold '{}' open", name));
}

Result<> within(core::Duration patience, std::function<Result<>()> work, const std::string& request,
                const std::function<Result<>()>& check) {
    struct Shared {
        std::mutex mutex;
        std::condition_variable changed;
        std::optional<Result<>> outcome;
    };
    const auto shared = std::make_shared<Shared>();
    try {
        std::thread([shared, work = std::move(work)] {
            auto outcome = work();
            const std::lock_guard lock(shared->mutex);
            shared->outcome = std::move(outcome);
            shared->changed.notify_all();
        }).detach();
    } catch (const std::system_error& error) {
        return fail_errno(error.code().value(), fmt::format("cannot start a thread: {}", request),
                          "raise the limit of processes, then retry");
    }
    const auto begun = std::chrono::steady_clock::now();
    std::unique_lock lock(shared->mutex);
    while (!shared->changed.wait_for(lock, kProgressPause,
                                     [&] { return shared->outcome.has_value(); })) {
        AMILIFT_CHECK(check());
        if (patience == core::Duration::max() ||
            std::chrono::steady_clock::now() - begun < patience) {
            continue;
        }
        return fail(Errc::timed_out,
                    fmt::format("{}, and did not answer for {} ms", request, patience.count()),
                    "see the volume's state in EC2; start again with a new one");
    }
    return *std::move(shared->outcome);
}

Result<> flush_data(const core::Fd& fd, const std::string& name) {
    int rc = 0;
    do {
        rc = ::fdatasync(fd.get());
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) return {};
    const int saved = errno;
    return flush_failed(saved, name);
}

Result<> write_back_data(const core::Fd& fd, const Extent& extent, const std::string& name) {
    constexpr unsigned kAll =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int rc = 0;
    do {
        rc = ::sync_file_range(fd.get(), static_cast<off_t>(extent.offset),
                               static_cast<off_t>(extent.length), kAll);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0 || errno == ENOSYS || errno == EINVAL || errno == ESPIPE || errno == EPERM)
        return {};
    const int saved = errno;
    return flush_failed(saved, name);
}

std::unexpected<core::Error> target_ended(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count) {
    return fail(Errc::no_space,
                fmt::format("target '{}' takes nothing at byte {}, expected to write {} more bytes",
                            job.target.path(), offset, count),
                "use a larger target");
}

}  // namespace amilift::dev
