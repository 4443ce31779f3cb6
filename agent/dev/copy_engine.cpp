// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_engine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "dev/byte_order.hpp"
#include "dev/copy_job.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Fd;
using core::Result;

constexpr std::uint32_t kMinBlockBytes = 4U << 10;
constexpr std::uint32_t kMaxBlockBytes = 16U << 20;
constexpr std::uint32_t kMaxQueueDepth = 256;
constexpr std::uint64_t kMaxBufferBytes = 256U << 20;
// Of the extents' bytes, this part may be read in excess: 1/64 = 1.6 %.
constexpr std::uint64_t kGapBudgetDivisor = 64;
// What direct I/O on a file wants where the kernel does not tell (statx before Linux 6.1).
constexpr std::uint32_t kUsualFileAlignment = 4096;
constexpr std::uint32_t kMaxAlignment = 64U << 10;
constexpr auto kProgressPause = std::chrono::milliseconds(100);

/// A descriptor to copy with.
struct Channel {
    Fd fd;
    std::uint32_t alignment = 1;  ///< 1: page cache
};

std::uint32_t direct_alignment(const BlockDevice& disk, const Fd& fd) {
    if (disk.is_block_device()) return disk.logical_sector_bytes();
#ifdef STATX_DIOALIGN
    struct statx extended{};
    if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) == 0 &&
        (extended.stx_mask & STATX_DIOALIGN) != 0 && extended.stx_dio_offset_align != 0) {
        return std::max<std::uint32_t>(extended.stx_dio_offset_align, 512);
    }
#else
    static_cast<void>(fd);
#endif
    return kUsualFileAlignment;
}

/// Opens the disk for direct I/O; where that cannot be, for the page cache.
Result<Channel> open_channel(const BlockDevice& disk, Access access) {
    const int mode = access == Access::read_write ? O_RDWR : O_RDONLY;
    if (auto direct = disk.reopen(mode | O_DIRECT)) {
        const auto alignment = direct_alignment(disk, *direct);
        // Some filesystems take the flag and refuse the requests: try one before the copy.
        if (alignment <= kMaxAlignment && std::has_single_bit(alignment)) {
            AMILIFT_TRY(const auto probe, BufferPool::allocate(alignment));
            if (::pread(direct->get(), probe.bytes().data(), alignment, 0) >= 0 ||
                errno != EINVAL) {
                return Channel{*std::move(direct), alignment};
            }
        }
    }
    core::log_debug(
        fmt::format("'{}' takes no direct I/O, copying through the page cache", disk.path()));
    AMILIFT_TRY(Fd buffered, disk.reopen(mode));
    return Channel{std::move(buffered), 1};
}

Result<> check_geometry(const CopyPlan& plan) {
    if (!std::has_single_bit(plan.block_bytes) || plan.block_bytes < kMinBlockBytes ||
        plan.block_bytes > kMaxBlockBytes) {
        return fail(Errc::invalid_input,
                    fmt::format("copy block size is {} bytes, expected a power of two from {} to "
                                "{}",
                                plan.block_bytes, kMinBlockBytes, kMaxBlockBytes));
    }
    if (plan.queue_depth < 1 || plan.queue_depth > kMaxQueueDepth ||
        std::uint64_t{plan.queue_depth} * plan.block_bytes > kMaxBufferBytes) {
        return fail(Errc::invalid_input,
                    fmt::format("copy queue depth is {}, expected 1 to {} with at most {} MiB of "
                                "buffers",
                                plan.queue_depth, kMaxQueueDepth, kMaxBufferBytes >> 20U));
    }
    return {};
}

Result<> check_extents(const BlockDevice& source, const BlockDevice& target, const CopyPlan& plan) {
    std::uint64_t at = 0;
    for (const auto& extent : plan.extents) {
        if (extent.length == 0 || extent.offset < at || extent.offset > source.size_bytes() ||
            extent.length > source.size_bytes() - extent.offset) {
            return fail(
                Errc::invalid_input,
                fmt::format("cannot copy {} bytes at byte {} of '{}': expected ascending "
                            "extents from byte {} to its end at {}",
                            extent.length, extent.offset, source.path(), at, source.size_bytes()));
        }
        at = extent.offset + extent.length;
    }
    if (at > std::numeric_limits<std::uint64_t>::max() - plan.target_offset ||
        at + plan.target_offset > target.size_bytes()) {
        return fail(Errc::no_space,
                    fmt::format("target '{}' has {} bytes, the copy ends at byte {} + {}",
                                target.path(), target.size_bytes(), plan.target_offset, at),
                    "use a larger target");
    }
    return {};
}

Result<> check_targets(const BlockDevice& source, const BlockDevice& target) {
    if (target.access() != Access::read_write) {
        return fail(Errc::invalid_input,
                    fmt::format("cannot copy to '{}': it was opened read-only", target.path()));
    }
    struct stat from{};
    struct stat to{};
    if (::fstat(source.fd().get(), &from) != 0 || ::fstat(target.fd().get(), &to) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot read the status of '{}' and '{}'",
                                             source.path(), target.path()));
    }
    const bool same = source.is_block_device() && target.is_block_device()
                          ? from.st_rdev == to.st_rdev
                          : from.st_dev == to.st_dev && from.st_ino == to.st_ino;
    if (same) {
        return fail(Errc::invalid_input,
                    fmt::format("source '{}' and target '{}' are the same disk", source.path(),
                                target.path()),
                    "name another target");
    }
    return {};
}

/// The bytes that direct I/O cannot reach, at the very start and end: through the page cache.
Result<> copy_edges(const BlockDevice& source, const BlockDevice& target, const CopyPlan& plan,
                    const std::vector<Extent>& edges, CopyStats& stats) {
    std::vector<std::byte> buffer;
    for (const auto& edge : edges) {
        for (std::uint64_t done = 0; done < edge.length;) {
            const auto count = std::min<std::uint64_t>(edge.length - done, kMaxAlignment);
            const auto offset = edge.offset + done;
            buffer.resize(static_cast<std::size_t>(count));
            AMILIFT_CHECK(core::read_exactly_at(source.fd(), buffer, offset, source.path()));
            stats.read_bytes += count;
            if (plan.target_content == TargetContent::zeros && is_zero(buffer)) {
                stats.zero_bytes += count;
            } else {
                AMILIFT_CHECK(core::write_all_at(target.fd(), buffer, offset + plan.target_offset,
                                                 target.path()));
                stats.written_bytes += count;
            }
            done += count;
        }
    }
    return {};
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
    progress_.done_bytes = std::min(done_bytes, progress_.total_bytes);
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
    if (job.skip_zeros) {
        find_data_runs(chunk, job.step_bytes, runs);
    } else {
        runs.assign(1, {0, static_cast<std::uint32_t>(chunk.size())});
    }
}

std::unexpected<core::Error> read_failed(const CopyJob& job, std::uint64_t offset,
                                         std::uint64_t count, int sys_errno) {
    return fail_errno(sys_errno,
                      fmt::format("cannot read {} bytes at byte {} of source '{}'", count, offset,
                                  job.source.path()),
                      "the source disk is damaged or gone; make it again from its snapshot");
}

std::unexpected<core::Error> source_ended(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count) {
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

std::unexpected<core::Error> target_ended(const CopyJob& job, std::uint64_t offset,
                                          std::uint64_t count) {
    return fail(Errc::no_space,
                fmt::format("target '{}' takes nothing at byte {}, expected to write {} more bytes",
                            job.target.path(), offset, count),
                "use a larger target");
}

Result<CopyStats> copy_extents(const BlockDevice& source, const BlockDevice& target,
                               const CopyPlan& plan,
                               const std::function<void(const CopyProgress&)>& progress,
                               const core::Cancel& cancel) {
    const auto start = std::chrono::steady_clock::now();
    AMILIFT_CHECK(cancel.check());
    AMILIFT_CHECK(check_geometry(plan));
    AMILIFT_CHECK(check_targets(source, target));
    AMILIFT_CHECK(check_extents(source, target, plan));

    AMILIFT_TRY(Channel from, open_channel(source, Access::read_only));
    AMILIFT_TRY(Channel to, open_channel(target, Access::read_write));
    if (to.alignment > 1 && plan.target_offset % to.alignment != 0) {
        // Source and target could never be aligned at once.
        AMILIFT_TRY(to.fd, target.reopen(O_RDWR));
        to.alignment = 1;
    }
    const auto alignment = std::max(from.alignment, to.alignment);

    auto ranges = align_ranges(
        join_small_gaps(plan.extents, total_bytes(plan.extents) / kGapBudgetDivisor), alignment);
    ProgressMeter meter(progress, total_bytes(ranges.aligned) + total_bytes(ranges.edges));
    ChunkCursor chunks(std::move(ranges.aligned), std::max(plan.block_bytes, alignment));
    CopyJob job{.source = source,
                .target = target,
                .source_fd = from.fd,
                .target_fd = to.fd,
                .target_offset = plan.target_offset,
                .skip_zeros = plan.target_content == TargetContent::zeros,
                .step_bytes = std::max(kZeroStepBytes, alignment),
                .alignment = alignment,
                .queue_depth = plan.queue_depth,
                .block_bytes = std::max(plan.block_bytes, alignment),
                .stall_timeout = plan.stall_timeout,
                .drain_timeout = plan.drain_timeout,
                .chunks = chunks,
                .progress = meter,
                .cancel = cancel};
    CopyStats stats;
    auto outcome = UringOutcome::not_available;
    if (plan.engine != CopyEngine::threads) {
        AMILIFT_TRY(outcome, copy_by_uring(job, stats));
        if (outcome == UringOutcome::not_available && plan.engine == CopyEngine::io_uring) {
            return fail(Errc::unavailable, "this kernel or sandbox has no io_uring",
                        "choose the engine 'threads', or allow the io_uring system calls");
        }
    }
    stats.engine = outcome == UringOutcome::copied ? "io_uring" : "threads";
    if (outcome == UringOutcome::not_available) AMILIFT_CHECK(copy_by_threads(job, stats));

    AMILIFT_CHECK(copy_edges(source, target, plan, ranges.edges, stats));
    for (const Fd* fd : {static_cast<const Fd*>(&to.fd), &target.fd()}) {
        int rc = 0;
        do {
            rc = ::fdatasync(fd->get());
        } while (rc != 0 && errno == EINTR);
        if (rc != 0) {
            const int saved = errno;
            return fail_errno(saved, fmt::format("cannot flush target '{}'", target.path()),
                              "it did not keep what was written; use another target");
        }
    }
    meter.finish();
    stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return stats;
}

}  // namespace amilift::dev
