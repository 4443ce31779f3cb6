// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/copy_journal.hpp"
#include "dev/copy_ranges.hpp"
#include "dev/journal_keeper.hpp"
#include "dev/used_extents.hpp"

namespace amilift::dev {

/// Whether the target is known to read as zeros where nothing has been written: a fresh EBS volume
/// or a sparse file. Only then may zero blocks be skipped. With unknown content every byte of the
/// extents is written, zeros too, so that nothing old shines through in what the filesystem uses.
/// What lies between the extents keeps its old bytes: no filesystem reads a free block before it
/// has written it, but somebody who reads the raw disk can. Discard a reused target before the copy
/// if that matters.
enum class TargetContent { zeros, unknown };

/// Who moves the bytes. `automatic` is io_uring, or threads where the kernel or the sandbox has no
/// io_uring.
enum class CopyEngine { automatic, io_uring, threads };

struct CopyPlan {
    std::vector<Extent> extents;      ///< of the source, ascending, disjoint
    std::uint64_t target_offset = 0;  ///< added to each source offset, bytes
    TargetContent target_content = TargetContent::unknown;
    std::optional<CopyQueue> queue{};  ///< absent: queue_for() what is copied
    CopyEngine engine = CopyEngine::automatic;
    /// A device that answers nothing for so long ends the copy.
    core::Duration stall_timeout = std::chrono::minutes(5);
    /// How long requests under way are waited for after a failure or cancel.
    core::Duration drain_timeout = std::chrono::seconds(30);
    /// Reads the target back after the flush, past the page cache, and compares checksums.
    bool verify = false;
    /// Where a copy of the same disks was cut off, it goes on; may be null. Not owned. When the
    /// copy has succeeded the journal is empty: what is written to the target afterwards makes its
    /// notes untrue.
    CopyJournal* journal = nullptr;
    NotePolicy notes{};
    /// Makes the page cache write these bytes of the target; empty: sync_file_range(2). A seam for
    /// tests, from any thread; called at the end of a copy without direct I/O.
    std::function<core::Result<>(const Extent&)> write_back{};
    /// Hears, from the calling thread, what somebody should know of the journal: how much of an
    /// earlier copy counts, or why nothing does. May be empty.
    std::function<void(const std::string&)> say{};
};

/// What is done with the extents: the copy, and then its check.
enum class CopyPass { copy, verify };

struct CopyProgress {
    std::uint64_t done_bytes = 0;  ///< of the extents and of the small gaps read through
    std::uint64_t total_bytes = 0;
    std::uint64_t resumed_bytes = 0;  ///< of done_bytes: an earlier copy had done them
    CopyPass pass = CopyPass::copy;
};

struct CopyStats {
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
    std::uint64_t zero_bytes = 0;      ///< read, found to be zeros, not written
    std::uint64_t resumed_bytes = 0;   ///< on the target already: neither read nor written
    std::uint64_t verified_bytes = 0;  ///< read back, the same as was read of the source
    double seconds = 0;                ///< of the copy
    double verify_seconds = 0;
    const char* engine = "";  ///< "io_uring" or "threads"
};

/// Copies the extents with a deep queue (io_uring and O_DIRECT; a pool of threads where the kernel
/// has no io_uring; page cache where a file takes no O_DIRECT), skipping zero blocks, then
/// fdatasync. Gaps of less than 64 KiB between extents may be copied too, where that saves
/// requests: at most 1/64 of the extents' bytes; with 4 KiB sectors and smaller filesystem blocks,
/// up to the next sector. Nothing before the first or behind the last extent is written.
/// `progress` (may be empty) is called from the calling thread at most ten times a second, and at
/// the end; not while nothing gets done. When it returns, no request is under way any more, with
/// one exception: requests that have not ended `drain_timeout` after a failure or cancel, and
/// (after a cancel at once) what goes through the page cache, are left alone, with their buffers,
/// descriptors and threads: the first and last bytes, and the flush at the end. With a
/// journal, what it has of this very copy is neither read nor written again, and what is finished
/// is noted there once it is flushed. After a failure or cancel the notes stay. Errors name device
/// and byte offset: corrupt (the target gives back other bytes), io_error (EIO, short read),
/// no_space (target ends too early; checked before the first byte), timed_out (a device has not
/// answered for `stall_timeout`; the flush behind the page cache, whose servers tell nothing, is
/// waited for until cancelled), cancelled, invalid_input (a target opened read-only, extents out
/// of order, source and target are one disk).
[[nodiscard]] core::Result<CopyStats> copy_extents(
    const BlockDevice& source, const BlockDevice& target, const CopyPlan& plan,
    const std::function<void(const CopyProgress&)>& progress, const core::Cancel& cancel);

}  // namespace amilift::dev
