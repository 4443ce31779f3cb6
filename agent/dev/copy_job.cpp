// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_job.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr auto kProgressPause = std::chrono::milliseconds(100);

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
    if (now - last_ < kProgressPause) return;
    last_ = now;
    callback_(progress_);
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

Result<> flush_data(const core::Fd& fd, const std::string& name) {
    int rc = 0;
    do {
        rc = ::fdatasync(fd.get());
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) return {};
    const int saved = errno;
    return fail_errno(saved, fmt::format("cannot flush target '{}'", name),
                      "it did not keep what was written; use another target");
}

std::unexpected<core::Error> target_ended(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count) {
    return fail(Errc::no_space,
                fmt::format("target '{}' takes nothing at byte {}, expected to write {} more bytes",
                            job.target.path(), offset, count),
                "use a larger target");
}

}  // namespace amilift::dev
