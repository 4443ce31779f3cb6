// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "core/clock.hpp"
#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/copy_engine.hpp"
#include "dev/copy_journal.hpp"
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

/// Counts what is done, and calls back when that has changed, at most ten times a second.
class ProgressMeter {
  public:
    /// `begin` is where the pass stands before its first chunk.
    ProgressMeter(const std::function<void(const CopyProgress&)>& callback, CopyProgress begin)
        : callback_(callback), progress_(begin) {}
    /// Bytes that this pass has done, without what it found done.
    void set_done(std::uint64_t done_bytes);
    /// Tells the same again: something is done that these bytes do not show.
    void repeat();
    void finish();

  private:
    const std::function<void(const CopyProgress&)>& callback_;
    CopyProgress progress_;
    std::chrono::steady_clock::time_point last_{};
    std::optional<std::uint64_t> told_;  ///< done bytes, at the last call
};

/// What an engine needs; made by copy_extents(), outlives the engine's call. Chunks are told by
/// their place on the source in both passes.
struct CopyJob {
    CopyPass pass;  ///< verify: the target is read, nothing is written
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
    /// Takes what has been read of a chunk and gives its checksum; an error ends the pass. From any
    /// thread.
    std::function<core::Result<std::uint64_t>(const Extent&, std::span<const std::byte>)> on_read;
    /// The chunk with that checksum has been handed to the target. From any thread.
    std::function<void(const CopiedChunk&)> on_done;
    /// Whether to go on, asked from time to time: the cancel, or something else that has failed.
    std::function<core::Result<>()> check;

    /// Added to a chunk's place where it is read.
    [[nodiscard]] std::uint64_t read_offset() const {
        return pass == CopyPass::verify ? target_offset : 0;
    }
};

/// The parts of a chunk that have to be written; of a pass that only reads, none.
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

/// A second descriptor of the open file `name`, with the same flags.
[[nodiscard]] core::Result<core::Fd> duplicate(const core::Fd& fd, const std::string& name);

/// fdatasync(2) of the target `name`.
[[nodiscard]] core::Result<> flush_data(const core::Fd& fd, const std::string& name);

/// Makes the page cache write `extent` of the target `name`, and waits for it: a part of what
/// flush_data() would have to do, which has to follow. Does nothing where the system cannot.
[[nodiscard]] core::Result<> write_back_data(const core::Fd& fd, const Extent& extent,
                                             const std::string& name);

/// Does `work`, which a silent disk can hold up in a system call, in a thread of its own, and asks
/// `check` meanwhile, at least ten times a second. Errors: that of `work` or `check`; timed_out,
/// beginning with `request` ("target '/dev/sdb' was to be flushed"), when it has not ended after
/// `patience` (Duration::max(): never). After the last two the thread is left alone: `work` must
/// own what it uses.
[[nodiscard]] core::Result<> within(core::Duration patience, std::function<core::Result<>()> work,
                                    const std::string& request,
                                    const std::function<core::Result<>()>& check);

/// What became of an attempt to copy by io_uring.
enum class UringOutcome { copied, not_available };

/// Copies by io_uring. `not_available` (nothing was read or written) when the kernel or the sandbox
/// has none.
[[nodiscard]] core::Result<UringOutcome> copy_by_uring(CopyJob& job, CopyStats& stats);

/// Copies by at most 32 threads with pread(2) and pwrite(2).
[[nodiscard]] core::Result<> copy_by_threads(CopyJob& job, CopyStats& stats);

}  // namespace amilift::dev
