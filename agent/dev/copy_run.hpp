// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "dev/copy_engine.hpp"
#include "dev/copy_job.hpp"

namespace amilift::dev {

/// The most that direct I/O may ask for; edges are copied in pieces of it.
inline constexpr std::uint32_t kMaxAlignment = 64U << 10;

/// The disks of a copy, open for it.
struct CopyChannels {
    const BlockDevice& source;
    const BlockDevice& target;
    core::Fd source_fd;  ///< with O_DIRECT where possible
    core::Fd target_fd;
    std::uint32_t alignment = 1;  ///< of offsets and lengths; 1 for the page cache
    CopyQueue queue{};
    AlignedRanges ranges{};
    bool is_buffered = false;  ///< the target is written through the page cache
};

/// One call of copy_extents(), once its arguments are known to be sound: go on where an earlier
/// copy was cut off, copy, flush, compare.
class CopyRun {
  public:
    /// All but the channels must outlive this object.
    CopyRun(CopyChannels disks, const CopyPlan& plan,
            const std::function<void(const CopyProgress&)>& progress, const core::Cancel& cancel)
        : disks_(std::move(disks)), plan_(plan), progress_(progress), cancel_(cancel) {}

    [[nodiscard]] core::Result<CopyStats> run();

  private:
    core::Result<> resume();
    core::Result<> copy();
    core::Result<> copy_chunks(JournalKeeper* keeper, ProgressMeter& meter);
    /// What is copied past direct I/O.
    struct Edge {
        Extent extent;
        std::vector<std::byte> bytes;
    };
    core::Result<> copy_edges();
    [[nodiscard]] core::Result<std::vector<Edge>> read_edges(const BlockDevice& disk,
                                                             std::string_view role,
                                                             std::uint64_t shift) const;
    core::Result<> write_back(ProgressMeter& meter) const;
    core::Result<> flush() const;
    core::Result<> verify();
    core::Result<> verify_chunks();
    core::Result<> verify_edges();
    core::Result<std::uint64_t> compare(const CopiedChunk& chunk,
                                        std::span<const std::byte> bytes) const;
    [[nodiscard]] CopyJob job_for(CopyPass pass, ChunkCursor& chunks, ProgressMeter& meter) const;
    core::Result<> run_engine(CopyJob& job, CopyStats& stats) const;
    [[nodiscard]] std::uint64_t edge_bytes() const { return total_bytes(disks_.ranges.edges); }
    [[nodiscard]] std::uint32_t chunk_bytes() const;
    void say(const std::string& text) const;

    CopyChannels disks_;
    const CopyPlan& plan_;
    const std::function<void(const CopyProgress&)>& progress_;
    const core::Cancel& cancel_;
    CopyStats stats_;
    bool skip_zeros_ = false;
    std::vector<Extent> done_;  ///< by an earlier copy; chunks, ascending
    std::mutex mutex_;          ///< of chunks_, while an engine runs
    /// With their checksums, if they are to be compared.
    std::vector<CopiedChunk> chunks_;
    std::vector<CopiedChunk> edges_;
};

}  // namespace amilift::dev
