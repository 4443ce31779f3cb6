// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_ranges.hpp"

#include <algorithm>
#include <cstring>

#include "dev/byte_order.hpp"

namespace amilift::dev {

std::vector<Extent> join_small_gaps(const std::vector<Extent>& extents,
                                    std::uint64_t budget_bytes) {
    // Gap sizes are multiples of a block below 64 KiB: few different ones, so counting them by
    // size finds the largest that still fits without sorting millions of gaps.
    std::vector<std::uint64_t> count_by_size(kMaxGapBytes, 0);
    const auto gap_before = [&](std::size_t i) {
        return extents[i].offset - (extents[i - 1].offset + extents[i - 1].length);
    };
    for (std::size_t i = 1; i < extents.size(); ++i) {
        if (const auto gap = gap_before(i); gap > 0 && gap < kMaxGapBytes) ++count_by_size[gap];
    }
    std::uint64_t largest = 0;    // joined wherever it occurs
    std::uint64_t some_size = 0;  // the next size, of which only `some` fit
    std::uint64_t some = 0;
    for (std::uint64_t size = 1; size < kMaxGapBytes; ++size) {
        const auto fitting = std::min(count_by_size[size], budget_bytes / size);
        if (fitting < count_by_size[size]) {
            some_size = size;
            some = fitting;
            break;
        }
        budget_bytes -= fitting * size;
        largest = size;
    }
    std::vector<Extent> joined;
    for (std::size_t i = 0; i < extents.size(); ++i) {
        const auto& extent = extents[i];
        bool join = false;
        if (i > 0) {
            const auto gap = gap_before(i);
            join = gap <= largest;
            if (gap == some_size && some > 0) {
                join = true;
                --some;
            }
        }
        if (join) {
            joined.back().length = extent.offset + extent.length - joined.back().offset;
        } else {
            joined.push_back(extent);
        }
    }
    return joined;
}

AlignedRanges align_ranges(const std::vector<Extent>& extents, std::uint64_t alignment) {
    AlignedRanges out;
    if (extents.empty()) return out;
    const auto begin = extents.front().offset;
    const auto end = extents.back().offset + extents.back().length;
    const auto inner_begin = round_up(begin, alignment);
    const auto inner_end = round_down(end, alignment);
    if (inner_begin >= inner_end) {
        out.edges.push_back({begin, end - begin});
        return out;
    }
    if (begin < inner_begin) out.edges.push_back({begin, inner_begin - begin});
    for (const auto& extent : extents) {
        auto from = std::max(round_down(extent.offset, alignment), inner_begin);
        const auto to = std::min(round_up(extent.offset + extent.length, alignment), inner_end);
        if (!out.aligned.empty()) {
            auto& last = out.aligned.back();
            if (from <= last.offset + last.length) {
                last.length = std::max(to, last.offset + last.length) - last.offset;
                continue;
            }
        }
        if (from < to) out.aligned.push_back({from, to - from});
    }
    if (inner_end < end) out.edges.push_back({inner_end, end - inner_end});
    return out;
}

CopyQueue queue_for(const std::vector<Extent>& ranges) {
    constexpr std::uint32_t kDeepest = 256;
    CopyQueue queue;
    if (ranges.empty()) return queue;
    const auto mean = total_bytes(ranges) / ranges.size();
    while (queue.depth < kDeepest && mean < queue.block_bytes / 2) {
        queue.depth *= 2;
        queue.block_bytes /= 2;
    }
    return queue;
}

std::vector<Extent> subtract_extents(const std::vector<Extent>& ranges,
                                     const std::vector<Extent>& gone) {
    std::vector<Extent> left;
    auto next = gone.begin();
    for (const auto& range : ranges) {
        const auto end = range.offset + range.length;
        auto at = range.offset;
        while (next != gone.end() && next->offset + next->length <= at) ++next;
        for (auto hole = next; hole != gone.end() && hole->offset < end; ++hole) {
            if (at < hole->offset) left.push_back({at, hole->offset - at});
            at = std::max(at, hole->offset + hole->length);
        }
        if (at < end) left.push_back({at, end - at});
    }
    return left;
}

std::optional<Extent> ChunkCursor::next() {
    while (index_ < ranges_.size() && taken_ >= ranges_[index_].length) {
        ++index_;
        taken_ = 0;
    }
    if (index_ == ranges_.size()) return std::nullopt;
    const auto& range = ranges_[index_];
    const auto offset = range.offset + taken_;
    const auto to_boundary = chunk_bytes_ - offset % chunk_bytes_;
    const auto length = std::min<std::uint64_t>(to_boundary, range.length - taken_);
    taken_ += length;
    return Extent{offset, length};
}

bool is_zero(std::span<const std::byte> bytes) {
    // Comparing the bytes with themselves, one further, makes memcmp's vector code look for the
    // first that differs from its neighbour.
    return bytes.empty() || (bytes.front() == std::byte{0} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

void find_data_runs(std::span<const std::byte> chunk, std::uint32_t step_bytes,
                    std::vector<DataRun>& runs) {
    runs.clear();
    const auto size = static_cast<std::uint32_t>(chunk.size());
    for (std::uint32_t at = 0; at < size; at += step_bytes) {
        const auto length = std::min(step_bytes, size - at);
        if (is_zero(chunk.subspan(at, length))) continue;
        if (!runs.empty() && at - (runs.back().offset + runs.back().length) < kZeroRunBytes) {
            runs.back().length = at + length - runs.back().offset;
        } else {
            runs.push_back({at, length});
        }
    }
}

}  // namespace amilift::dev
