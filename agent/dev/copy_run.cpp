// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_run.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// What the page cache writes in one go at the end. The slowest target takes so much in time.
constexpr std::uint32_t kWriteBackBytes = 8U << 20;

/// Measures what is done while it lives.
class Stopwatch {
  public:
    explicit Stopwatch(double& seconds) : seconds_(seconds) {}
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    ~Stopwatch() {
        seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

  private:
    double& seconds_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string flush_request(const std::string& target) {
    return fmt::format("target '{}' was to be flushed", target);
}

}  // namespace

Result<CopyStats> CopyRun::run() {
    {
        const Stopwatch copying(stats_.seconds);
        AMILIFT_CHECK(resume());
        AMILIFT_CHECK(copy());
    }
    if (plan_.verify) {
        const Stopwatch verifying(stats_.verify_seconds);
        if (auto same = verify(); !same) {
            auto error = std::move(same).error();
            // What is noted is not true.
            if (error.is(Errc::corrupt) && plan_.journal != nullptr) {
                if (auto cleared = plan_.journal->clear(); !cleared) {
                    return std::unexpected(std::move(error).followed_by(cleared.error()));
                }
            }
            return std::unexpected(std::move(error));
        }
    }
    if (plan_.journal != nullptr) AMILIFT_CHECK(plan_.journal->clear());
    return stats_;
}

void CopyRun::say(const std::string& text) const {
    if (plan_.say) plan_.say(text);
}

std::uint32_t CopyRun::chunk_bytes() const {
    return std::max(disks_.queue.block_bytes, disks_.alignment);
}

/// Finds out what an earlier copy has done.
Result<> CopyRun::resume() {
    const bool is_zeros = plan_.target_content == TargetContent::zeros;
    skip_zeros_ = is_zeros;
    if (plan_.journal == nullptr) return {};
    AMILIFT_TRY(auto noted, plan_.journal->begin({.source_bytes = disks_.source.size_bytes(),
                                                  .target_bytes = disks_.target.size_bytes(),
                                                  .target_offset = plan_.target_offset,
                                                  .chunk_bytes = chunk_bytes(),
                                                  .has_checksums = plan_.verify,
                                                  .ranges = disks_.ranges.aligned},
                                                 is_zeros));
    if (!noted.ignored.empty()) {
        say("the copy begins anew, what is noted of an earlier one does not count: " +
            noted.ignored);
    }
    // What was zeros when the copy began has since been written by nobody but the copy.
    skip_zeros_ = noted.target_was_zeros;
    for (const auto& chunk : noted.chunks) {
        const auto& extent = chunk.extent;
        if (!done_.empty() && done_.back().offset + done_.back().length == extent.offset) {
            done_.back().length += extent.length;
        } else {
            done_.push_back(extent);
        }
    }
    stats_.resumed_bytes = total_bytes(done_);
    if (stats_.resumed_bytes > 0) {
        say(fmt::format("the copy goes on: {} of {} MiB are on the target already",
                        stats_.resumed_bytes >> 20U,
                        (total_bytes(disks_.ranges.aligned) + edge_bytes()) >> 20U));
    }
    if (plan_.verify) chunks_ = std::move(noted.chunks);
    return {};
}

Result<> CopyRun::copy() {
    std::unique_ptr<JournalKeeper> keeper;
    if (plan_.journal != nullptr) {
        AMILIFT_TRY(keeper, JournalKeeper::start(*plan_.journal, plan_.notes, disks_.target_fd,
                                                 disks_.target.path()));
    }
    const auto total = total_bytes(disks_.ranges.aligned) + edge_bytes();
    ProgressMeter meter(progress_, {.done_bytes = stats_.resumed_bytes,
                                    .total_bytes = total,
                                    .resumed_bytes = stats_.resumed_bytes,
                                    .pass = CopyPass::copy});
    auto copied = copy_chunks(keeper.get(), meter);
    if (copied && disks_.is_buffered) copied = write_back(meter);
    if (keeper) {
        // After a failure, too: what is finished need not be copied again.
        auto noted = keeper->finish(copied ? plan_.stall_timeout : plan_.drain_timeout);
        if (const auto trouble = keeper->trouble(); !trouble.empty()) {
            say("the copy is good, but would begin anew after a crash: " + trouble);
        }
        if (copied && !noted) return noted;
    }
    AMILIFT_CHECK(copied);
    AMILIFT_CHECK(flush());
    meter.finish();
    return {};
}

Result<> CopyRun::copy_chunks(JournalKeeper* keeper, ProgressMeter& meter) {
    ChunkCursor chunks(subtract_extents(disks_.ranges.aligned, done_), chunk_bytes());
    auto job = job_for(CopyPass::copy, chunks, meter);
    job.on_read = [this](const Extent&, std::span<const std::byte> bytes) -> Result<std::uint64_t> {
        return plan_.verify ? checksum_of(bytes) : 0;
    };
    job.on_done = [this, keeper](const CopiedChunk& chunk) {
        if (keeper != nullptr) keeper->finished(chunk);
        if (!plan_.verify) return;
        const std::lock_guard lock(mutex_);
        chunks_.push_back(chunk);
    };
    job.check = [this, keeper]() -> Result<> {
        AMILIFT_CHECK(cancel_.check());
        return keeper != nullptr ? keeper->check() : Result<>();
    };
    AMILIFT_CHECK(run_engine(job, stats_));
    return copy_edges();
}

/// The page cache may hold as much as the memory allows, which takes a slow target longer than a
/// silent one is waited for: in pieces, the two can be told apart.
Result<> CopyRun::write_back(ProgressMeter& meter) const {
    const auto& name = disks_.target.path();
    AMILIFT_TRY(auto target, duplicate(disks_.target_fd, name));
    const auto owned = std::make_shared<const core::Fd>(std::move(target));
    ChunkCursor pieces(disks_.ranges.aligned, kWriteBackBytes);
    while (auto piece = pieces.next()) {
        piece->offset += plan_.target_offset;
        AMILIFT_CHECK(within(
            plan_.stall_timeout,
            [owned, name, extent = *piece, how = plan_.write_back] {
                return how ? how(extent) : write_back_data(*owned, extent, name);
            },
            flush_request(name), [this] { return cancel_.check(); }));
        meter.repeat();
    }
    return {};
}

/// Both descriptors. A silent device is waited for as long as in the copy; what is behind the page
/// cache may be a server that has to flush its own, for which nobody knows a bound.
Result<> CopyRun::flush() const {
    const auto& name = disks_.target.path();
    AMILIFT_TRY(auto direct, duplicate(disks_.target_fd, name));
    AMILIFT_TRY(auto plain, duplicate(disks_.target.fd(), name));
    // std::function wants what it holds to be copyable.
    const auto owned =
        std::make_shared<const std::pair<core::Fd, core::Fd>>(std::move(direct), std::move(plain));
    return within(
        disks_.is_buffered ? core::Duration::max() : plan_.stall_timeout,
        [owned, name, flush = plan_.notes.flush]() -> Result<> {
            if (flush) AMILIFT_CHECK(flush());
            AMILIFT_CHECK(flush_data(owned->first, name));
            return flush_data(owned->second, name);
        },
        flush_request(name), [this] { return cancel_.check(); });
}

CopyJob CopyRun::job_for(CopyPass pass, ChunkCursor& chunks, ProgressMeter& meter) const {
    return {.pass = pass,
            .source = disks_.source,
            .target = disks_.target,
            .source_fd = pass == CopyPass::verify ? disks_.target_fd : disks_.source_fd,
            .target_fd = disks_.target_fd,
            .target_offset = plan_.target_offset,
            .skip_zeros = skip_zeros_,
            .step_bytes = std::max(kZeroStepBytes, disks_.alignment),
            .alignment = disks_.alignment,
            .queue_depth = disks_.queue.depth,
            .block_bytes = chunk_bytes(),
            .stall_timeout = plan_.stall_timeout,
            .drain_timeout = plan_.drain_timeout,
            .chunks = chunks,
            .progress = meter,
            .on_read = {},
            .on_done = {},
            .check = {}};
}

Result<> CopyRun::run_engine(CopyJob& job, CopyStats& stats) const {
    if (plan_.engine != CopyEngine::threads) {
        AMILIFT_TRY(const auto outcome, copy_by_uring(job, stats));
        stats.engine = "io_uring";
        if (outcome == UringOutcome::copied) return {};
        if (plan_.engine == CopyEngine::io_uring) {
            return fail(Errc::unavailable, "this kernel or sandbox has no io_uring",
                        "choose the engine 'threads', or allow the io_uring system calls");
        }
    }
    stats.engine = "threads";
    return copy_by_threads(job, stats);
}

/// The bytes that direct I/O cannot reach, at the very start and end: through the page cache. They
/// are few, and never noted.
Result<> CopyRun::copy_edges() {
    if (disks_.ranges.edges.empty()) return {};
    AMILIFT_TRY(auto edges, read_edges(disks_.source, "source", 0));
    std::vector<Edge> written;
    for (auto& edge : edges) {
        stats_.read_bytes += edge.extent.length;
        if (plan_.verify) edges_.push_back({edge.extent, checksum_of(edge.bytes)});
        if (skip_zeros_ && is_zero(edge.bytes)) {
            stats_.zero_bytes += edge.extent.length;
        } else {
            stats_.written_bytes += edge.extent.length;
            written.push_back(std::move(edge));
        }
    }
    const auto& name = disks_.target.path();
    AMILIFT_TRY(auto target, duplicate(disks_.target.fd(), name));
    const auto owned = std::make_shared<const core::Fd>(std::move(target));
    return within(
        plan_.stall_timeout,
        [owned, name, written = std::move(written), shift = plan_.target_offset]() -> Result<> {
            for (const auto& [extent, bytes] : written) {
                AMILIFT_CHECK(core::write_all_at(*owned, bytes, extent.offset + shift, name));
            }
            return {};
        },
        fmt::format("target '{}' was to take its first and last bytes", name),
        [this] { return cancel_.check(); });
}

/// The edges as a disk has them, each moved by `shift` bytes.
Result<std::vector<CopyRun::Edge>> CopyRun::read_edges(const BlockDevice& disk,
                                                       std::string_view role,
                                                       std::uint64_t shift) const {
    const auto& name = disk.path();
    AMILIFT_TRY(auto file, duplicate(disk.fd(), name));
    const auto owned = std::make_shared<const core::Fd>(std::move(file));
    const auto edges = std::make_shared<std::vector<Edge>>();
    for (const auto& extent : disks_.ranges.edges) {
        edges->push_back({extent, std::vector<std::byte>(static_cast<std::size_t>(extent.length))});
    }
    const auto read = [owned, name, edges, shift]() -> Result<> {
        for (auto& [extent, bytes] : *edges) {
            AMILIFT_CHECK(core::read_exactly_at(*owned, bytes, extent.offset + shift, name));
        }
        return {};
    };
    AMILIFT_CHECK(
        within(plan_.stall_timeout, read,
               fmt::format("the first and last bytes of {} '{}' were to be read", role, name),
               [this] { return cancel_.check(); }));
    return std::move(*edges);
}

Result<> CopyRun::verify() {
    AMILIFT_CHECK(cancel_.check());
    // All of it is flushed: the kernel can let it go, so that the disk is read and not its memory
    // of it. Where that fails, direct I/O does it alone.
    (void)::posix_fadvise(disks_.target.fd().get(), 0, 0, POSIX_FADV_DONTNEED);
    AMILIFT_CHECK(verify_chunks());
    AMILIFT_CHECK(verify_edges());
    return {};
}

Result<> CopyRun::verify_chunks() {
    std::ranges::sort(chunks_, {}, [](const CopiedChunk& chunk) { return chunk.extent.offset; });
    const auto total = total_bytes(disks_.ranges.aligned) + edge_bytes();
    ProgressMeter meter(
        progress_,
        {.done_bytes = 0, .total_bytes = total, .resumed_bytes = 0, .pass = CopyPass::verify});
    ChunkCursor chunks(disks_.ranges.aligned, chunk_bytes());
    auto job = job_for(CopyPass::verify, chunks, meter);
    job.on_read = [this](const Extent& extent,
                         std::span<const std::byte> bytes) -> Result<std::uint64_t> {
        const auto copied =
            std::ranges::lower_bound(chunks_, extent.offset, {},
                                     [](const CopiedChunk& chunk) { return chunk.extent.offset; });
        if (copied == chunks_.end() || copied->extent != extent) {
            return fail(Errc::internal, fmt::format("the chunk at byte {} of '{}' was not copied",
                                                    extent.offset, disks_.source.path()));
        }
        return compare(*copied, bytes);
    };
    job.on_done = [](const CopiedChunk&) {};
    job.check = [this] { return cancel_.check(); };
    CopyStats read_back;
    AMILIFT_CHECK(run_engine(job, read_back));
    stats_.verified_bytes = read_back.read_bytes;
    meter.finish();
    return {};
}

Result<> CopyRun::verify_edges() {
    if (edges_.empty()) return {};
    AMILIFT_TRY(const auto seen, read_edges(disks_.target, "target", plan_.target_offset));
    for (std::size_t i = 0; i < edges_.size(); ++i) {
        AMILIFT_CHECK(compare(edges_[i], seen[i].bytes));
        stats_.verified_bytes += edges_[i].extent.length;
    }
    return {};
}

/// The checksum of what was read back, which must be the chunk's.
Result<std::uint64_t> CopyRun::compare(const CopiedChunk& chunk,
                                       std::span<const std::byte> bytes) const {
    const auto seen = checksum_of(bytes);
    if (seen == chunk.checksum) return seen;
    return fail(
        Errc::corrupt,
        fmt::format("target '{}' gives back other bytes than were written: {} bytes at "
                    "byte {} have checksum {:016x}, those at byte {} of source '{}' had "
                    "{:016x}",
                    disks_.target.path(), bytes.size(), chunk.extent.offset + plan_.target_offset,
                    seen, chunk.extent.offset, disks_.source.path(), chunk.checksum),
        "the target does not keep what is written to it; use another volume");
}

}  // namespace amilift::dev
