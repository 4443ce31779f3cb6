// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dev/used_extents.hpp"

namespace amilift::dev {

/// What the engines read and write: pure functions on ranges of bytes.

/// Gaps smaller than this may be read through: one long request is faster than two short ones.
inline constexpr std::uint64_t kMaxGapBytes = 64U << 10;
/// Blocks are looked at in steps of this many bytes ...
inline constexpr std::uint32_t kZeroStepBytes = 4U << 10;
/// ... and zeros are left out only in runs of at least this many.
inline constexpr std::uint32_t kZeroRunBytes = 64U << 10;

/// Joins neighbours whose gap is smaller than kMaxGapBytes, the smallest gaps first, while the
/// gaps joined add up to at most `budget_bytes`. Touching extents are always joined. `extents` are
/// ascending and disjoint.
[[nodiscard]] std::vector<Extent> join_small_gaps(const std::vector<Extent>& extents,
                                                  std::uint64_t budget_bytes);

/// Extents cut for a device that takes multiples of `alignment` only.
struct AlignedRanges {
    std::vector<Extent> aligned;  ///< ascending, disjoint, offsets and lengths multiples
    std::vector<Extent> edges;    ///< at most two: what is left before the first, after the last
};

/// Widens each extent to multiples of `alignment`, never to before the first or behind the last
/// byte of all: those edges are listed apart.
[[nodiscard]] AlignedRanges align_ranges(const std::vector<Extent>& extents,
                                         std::uint64_t alignment);

/// How much is under way at once. An SSD volume of EBS counts a request of up to 256 KiB as one.
/// Source: EBS User Guide, "Amazon EBS I/O characteristics and monitoring".
struct CopyQueue {
    std::uint32_t depth = 64;                 ///< chunks, 1 to 256
    std::uint32_t block_bytes = 256U << 10U;  ///< of a chunk: a power of two, 4 KiB to 16 MiB
    friend bool operator==(const CopyQueue&, const CopyQueue&) = default;
};

/// The usual queue; for ranges that are mostly shorter than a chunk of it a deeper one of smaller
/// chunks, with as many bytes: a chunk holds one range, and a volume that is loaded from a snapshot
/// answers many requests in the time of one. The same ranges give the same queue.
[[nodiscard]] CopyQueue queue_for(const std::vector<Extent>& ranges);

/// `ranges` without the bytes of `gone`; both ascend and are disjoint.
[[nodiscard]] std::vector<Extent> subtract_extents(const std::vector<Extent>& ranges,
                                                   const std::vector<Extent>& gone);

/// Cuts ranges into chunks that end at multiples of `chunk_bytes` of the source, one by one.
class ChunkCursor {
  public:
    ChunkCursor(std::vector<Extent> ranges, std::uint32_t chunk_bytes)
        : ranges_(std::move(ranges)), chunk_bytes_(chunk_bytes) {}
    [[nodiscard]] std::optional<Extent> next();

  private:
    std::vector<Extent> ranges_;
    std::uint32_t chunk_bytes_;
    std::size_t index_ = 0;
    std::uint64_t taken_ = 0;  ///< of the range at index_
};

[[nodiscard]] bool is_zero(std::span<const std::byte> bytes);

/// A run of bytes inside a chunk.
struct DataRun {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    friend bool operator==(const DataRun&, const DataRun&) = default;
};

/// The parts of `chunk` to be written: everything but zero runs of at least kZeroRunBytes (and
/// zeros at the chunk's start and end), in steps of `step_bytes`. `runs` is cleared first.
void find_data_runs(std::span<const std::byte> chunk, std::uint32_t step_bytes,
                    std::vector<DataRun>& runs);

/// The most runs that find_data_runs() finds in a chunk of that size.
[[nodiscard]] constexpr std::uint32_t max_data_runs(std::uint32_t chunk_bytes) {
    return chunk_bytes / (kZeroRunBytes + kZeroStepBytes) + 1;
}

}  // namespace amilift::dev
