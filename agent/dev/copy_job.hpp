// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "core/clock.hpp"
#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/copy_engine.hpp"
#include "dev/copy_ranges.hpp"

namespace amilift::dev {

/// Room for chunks, page-aligned as direct I/O demands; unmapped in the destructor.
class BufferPool {
  public:
    [[nodiscard]] static core::Result<BufferPool> allocate(std::size_t bytes);
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    BufferPool(BufferPool&& other) noexcept;
    BufferPool& operator=(BufferPool&& other) noexcept;
    ~BufferPool();
    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
    /// Never unmaps: for requests that the kernel did not give back.
    void leak() noexcept { bytes_ = {}; }

  private:
    explicit BufferPool(std::span<std::byte> bytes) : bytes_(bytes) {}
    std::span<std::byte> bytes_;
};

/// Counts what is done, and calls back at most ten times a second.
class ProgressMeter {
  public:
    ProgressMeter(const std::function<void(const CopyProgress&)>& callback,
                  std::uint64_t total_bytes)
        : callback_(callback), progress_{.done_bytes = 0, .total_bytes = total_bytes} {}
    void set_done(std::uint64_t done_bytes);
    void finish();

  private:
    const std::function<void(const CopyProgress&)>& callback_;
    CopyProgress progress_;
    std::chrono::steady_clock::time_point last_{};
};

/// What an engine needs; made by copy_extents(), outlives the engine's call.
struct CopyJob {
    const BlockDevice& source;
    const BlockDevice& target;
    const core::Fd& source_fd;  ///< with O_DIRECT where possible
    const core::Fd& target_fd;
    std::uint64_t target_offset;
    bool skip_zeros;
    std::uint32_t step_bytes;
    std::uint32_t alignment;  ///< of offsets and lengths; 1 for the page cache
    std::uint32_t queue_depth;
    std::uint32_t block_bytes;
    core::Duration stall_timeout;
    core::Duration drain_timeout;
    ChunkCursor& chunks;
    ProgressMeter& progress;
    const core::Cancel& cancel;
};

/// The parts of a chunk that have to be written.
void runs_to_write(const CopyJob& job, std::span<const std::byte> chunk,
                   std::vector<DataRun>& runs);

/// Errors of both engines, so that they read alike. Offsets and counts in bytes.
[[nodiscard]] std::unexpected<core::Error> read_failed(const CopyJob& job, std::uint64_t offset,
                                                       std::uint64_t count, int sys_errno);
[[nodiscard]] std::unexpected<core::Error> source_ended(const CopyJob& job, std::uint64_t offset,
                                                        std::uint64_t count);
[[nodiscard]] std::unexpected<core::Error> write_failed(const CopyJob& job, std::uint64_t offset,
                                                        std::uint64_t count, int sys_errno);
[[nodiscard]] std::unexpected<core::Error> target_ended(const CopyJob& job, std::uint64_t offset,
                                                        std::uint64_t count);

/// What became of an attempt to copy by io_uring.
enum class UringOutcome { copied, not_available };

/// Copies by io_uring. `not_available` (nothing was read or written) when the kernel or the sandbox
/// has none.
[[nodiscard]] core::Result<UringOutcome> copy_by_uring(CopyJob& job, CopyStats& stats);

/// Copies by at most 32 threads with pread(2) and pwrite(2).
[[nodiscard]] core::Result<> copy_by_threads(CopyJob& job, CopyStats& stats);

}  // namespace amilift::dev
