// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_engine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "dev/copy_job.hpp"
#include "dev/copy_run.hpp"

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

/// Some filesystems take the flag O_DIRECT and refuse the requests: tries one. It is the first that
/// a disk answers, so it is not waited for longer than others.
Result<bool> takes_direct_io(const Fd& direct, std::uint32_t alignment, const std::string& name,
                             core::Duration patience, const core::Cancel& cancel) {
    struct Probe {
        Fd fd;
        BufferPool buffer;
        bool refused = false;
    };
    AMILIFT_TRY(auto fd, duplicate(direct, name));
    AMILIFT_TRY(auto buffer, BufferPool::allocate(alignment));
    const auto probe = std::make_shared<Probe>(std::move(fd), std::move(buffer));
    AMILIFT_CHECK(within(
        patience,
        [probe]() -> Result<> {
            const auto bytes = probe->buffer.bytes();
            probe->refused =
                ::pread(probe->fd.get(), bytes.data(), bytes.size(), 0) < 0 && errno == EINVAL;
            return {};
        },
        fmt::format("the first bytes of '{}' were to be read", name),
        [&cancel] { return cancel.check(); }));
    return !probe->refused;
}

/// Opens the disk for direct I/O; where that cannot be, for the page cache.
Result<Channel> open_channel(const BlockDevice& disk, Access access, core::Duration patience,
                             const core::Cancel& cancel) {
    const int mode = access == Access::read_write ? O_RDWR : O_RDONLY;
    if (auto direct = disk.reopen(mode | O_DIRECT)) {
        const auto alignment = direct_alignment(disk, *direct);
        if (alignment <= kMaxAlignment && std::has_single_bit(alignment)) {
            AMILIFT_TRY(const bool taken,
                        takes_direct_io(*direct, alignment, disk.path(), patience, cancel));
            if (taken) return Channel{*std::move(direct), alignment};
        }
    }
    core::log_debug(
        fmt::format("'{}' takes no direct I/O, copying through the page cache", disk.path()));
    AMILIFT_TRY(Fd buffered, disk.reopen(mode));
    return Channel{std::move(buffered), 1};
}

Result<> check_queue(const CopyQueue& queue) {
    if (!std::has_single_bit(queue.block_bytes) || queue.block_bytes < kMinBlockBytes ||
        queue.block_bytes > kMaxBlockBytes) {
        return fail(Errc::invalid_input,
                    fmt::format("copy block size is {} bytes, expected a power of two from {} to "
                                "{}",
                                queue.block_bytes, kMinBlockBytes, kMaxBlockBytes));
    }
    if (queue.depth < 1 || queue.depth > kMaxQueueDepth ||
        std::uint64_t{queue.depth} * queue.block_bytes > kMaxBufferBytes) {
        return fail(Errc::invalid_input,
                    fmt::format("copy queue depth is {}, expected 1 to {} with at most {} MiB of "
                                "buffers",
                                queue.depth, kMaxQueueDepth, kMaxBufferBytes >> 20U));
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

}  // namespace

Result<CopyStats> copy_extents(const BlockDevice& source, const BlockDevice& target,
                               const CopyPlan& plan,
                               const std::function<void(const CopyProgress&)>& progress,
                               const core::Cancel& cancel) {
    AMILIFT_CHECK(cancel.check());
    if (plan.queue) AMILIFT_CHECK(check_queue(*plan.queue));
    AMILIFT_CHECK(check_targets(source, target));
    AMILIFT_CHECK(check_extents(source, target, plan));

    AMILIFT_TRY(Channel from, open_channel(source, Access::read_only, plan.stall_timeout, cancel));
    AMILIFT_TRY(Channel to, open_channel(target, Access::read_write, plan.stall_timeout, cancel));
    if (to.alignment > 1 && plan.target_offset % to.alignment != 0) {
        // Source and target could never be aligned at once.
        AMILIFT_TRY(to.fd, target.reopen(O_RDWR));
        to.alignment = 1;
    }
    const auto alignment = std::max(from.alignment, to.alignment);
    auto ranges = align_ranges(
        join_small_gaps(plan.extents, total_bytes(plan.extents) / kGapBudgetDivisor), alignment);
    return CopyRun({.source = source,
                    .target = target,
                    .source_fd = std::move(from.fd),
                    .target_fd = std::move(to.fd),
                    .alignment = alignment,
                    .queue = plan.queue ? *plan.queue : queue_for(ranges.aligned),
                    .ranges = std::move(ranges),
                    .is_buffered = to.alignment == 1},
                   plan, progress, cancel)
        .run();
}

}  // namespace amilift::dev
