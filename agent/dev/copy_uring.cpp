// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/uio.h>

#include <liburing.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "core/log.hpp"
#include "dev/copy_job.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;
using Clock = std::chrono::steady_clock;

constexpr unsigned kSubmissionEntries = 256;
constexpr auto kSlice = std::chrono::milliseconds(100);
constexpr int kMaxRepeats = 100;

class Ring {
  public:
    Ring() = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() {
        if (open_) io_uring_queue_exit(&ring_);
    }

    /// 0, or an errno value.
    [[nodiscard]] int open(unsigned completions) {
        io_uring_params params{};
        params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN;
        params.cq_entries = completions;
        int rc = io_uring_queue_init_params(kSubmissionEntries, &ring_, &params);
        if (rc == -EINVAL) {
            // Before Linux 6.1: without the flags that spare interrupts and locks.
            params = {};
            params.flags = IORING_SETUP_CQSIZE;
            params.cq_entries = completions;
            rc = io_uring_queue_init_params(kSubmissionEntries, &ring_, &params);
        }
        open_ = rc == 0;
        return -rc;
    }
    [[nodiscard]] io_uring* get() { return &ring_; }

  private:
    io_uring ring_{};
    bool open_ = false;
};

/// A read or write under way, or what is left of one.
struct Request {
    bool is_write = false;
    std::uint32_t offset = 0;  ///< in the chunk
    std::uint32_t length = 0;
    int repeats = 0;
};

/// One buffer and the chunk that is in it.
struct Slot {
    std::span<std::byte> buffer;
    Extent chunk;
    std::uint64_t checksum = 0;
    std::vector<Request> requests;
    std::uint32_t under_way = 0;
};

class UringCopy {
  public:
    UringCopy(CopyJob& job, CopyStats& stats, BufferPool pool)
        : job_(job), stats_(stats), pool_(std::move(pool)), slots_(job.queue_depth) {}

    Result<UringOutcome> run() {
        const auto per_slot = max_data_runs(job_.block_bytes);
        const auto completions =
            std::bit_ceil(std::max(kSubmissionEntries * 2, job_.queue_depth * per_slot));
        if (const int error = ring_.open(completions); error != 0) {
            core::log_debug(fmt::format("io_uring cannot be set up (errno {})", error));
            return UringOutcome::not_available;
        }
        prepare_buffers();
        for (std::size_t i = 0; i < slots_.size() && !failed(); ++i) start_next(i);
        last_answer_ = Clock::now();
        while (under_way_ > 0) {
            if (!failed()) {
                if (auto asked = job_.check(); !asked) give_up(std::move(asked).error());
            }
            wait_for_answers();
            if (abandoned_if_stuck()) break;
            job_.progress.set_done(done_bytes_);
        }
        if (failed()) return std::unexpected(*std::move(error_));
        return UringOutcome::copied;
    }

  private:
    [[nodiscard]] bool failed() const { return error_.has_value(); }

    /// Nothing new is started after this; what is under way is waited for.
    void give_up(core::Error error) {
        if (failed()) return;
        error_ = std::move(error);
        drain_until_ = Clock::now() + job_.drain_timeout;
    }

    void prepare_buffers() {
        std::vector<iovec> vectors;
        for (std::size_t i = 0; i < slots_.size(); ++i) {
            slots_[i].buffer = pool_.bytes().subspan(i * job_.block_bytes, job_.block_bytes);
            slots_[i].requests.reserve(max_data_runs(job_.block_bytes) + 1);
            vectors.push_back({slots_[i].buffer.data(), slots_[i].buffer.size()});
        }
        // Pinned once instead of at each request. RLIMIT_MEMLOCK may forbid it.
        registered_ = io_uring_register_buffers(ring_.get(), vectors.data(),
                                                static_cast<unsigned>(vectors.size())) == 0;
    }

    void start_next(std::size_t index) {
        auto& slot = slots_[index];
        const auto chunk = job_.chunks.next();
        if (!chunk) return;
        slot.chunk = *chunk;
        slot.requests.clear();
        add(index,
            {.is_write = false, .offset = 0, .length = static_cast<std::uint32_t>(chunk->length)});
    }

    void add(std::size_t index, Request request) {
        slots_[index].requests.push_back(request);
        submit(index, slots_[index].requests.size() - 1);
    }

    /// Where on its disk the rest of a request begins.
    [[nodiscard]] std::uint64_t place_of(const Slot& slot, const Request& request) const {
        return slot.chunk.offset + request.offset +
               (request.is_write ? job_.target_offset : job_.read_offset());
    }

    /// Puts a request (or the rest of it) into the ring; the kernel sees it at the next wait.
    void submit(std::size_t index, std::size_t number) {
        io_uring_sqe* entry = io_uring_get_sqe(ring_.get());
        for (int attempt = 0; entry == nullptr && attempt < kMaxRepeats; ++attempt) {
            // The submission queue is full: hand it over. EAGAIN and EBUSY pass.
            const int rc = io_uring_submit(ring_.get());
            if (rc < 0 && rc != -EAGAIN && rc != -EBUSY && rc != -EINTR) break;
            entry = io_uring_get_sqe(ring_.get());
        }
        if (entry == nullptr) {
            give_up(fail(Errc::io_error,
                         fmt::format("io_uring takes no more requests for '{}', {} are under way",
                                     job_.source.path(), under_way_),
                         "retry with the engine 'threads'")
                        .error());
            return;
        }
        auto& slot = slots_[index];
        const auto& request = slot.requests[number];
        std::byte* at = slot.buffer.data() + request.offset;
        const auto place = place_of(slot, request);
        const auto buffer_index = static_cast<int>(index);
        if (request.is_write) {
            if (registered_) {
                io_uring_prep_write_fixed(entry, job_.target_fd.get(), at, request.length, place,
                                          buffer_index);
            } else {
                io_uring_prep_write(entry, job_.target_fd.get(), at, request.length, place);
            }
        } else if (registered_) {
            io_uring_prep_read_fixed(entry, job_.source_fd.get(), at, request.length, place,
                                     buffer_index);
        } else {
            io_uring_prep_read(entry, job_.source_fd.get(), at, request.length, place);
        }
        io_uring_sqe_set_data64(entry, std::uint64_t{index} << 32U | number);
        ++slot.under_way;
        ++under_way_;
    }

    void wait_for_answers() {
        __kernel_timespec slice{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kSlice).count()};
        io_uring_cqe* first = nullptr;
        const int rc = io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &slice, nullptr);
        if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) {
            give_up(fail_errno(-rc, "cannot wait for io_uring",
                               "retry; if it comes again, use the engine 'threads'")
                        .error());
            // The call did not wait: do not spin until what is under way has ended.
            std::this_thread::sleep_for(kSlice);
        }
        // Answers are taken out before they are acted upon: that may submit, and fill the queue
        // again.
        answers_.clear();
        io_uring_cqe* entry = nullptr;
        unsigned head = 0;
        io_uring_for_each_cqe(ring_.get(), head, entry) {
            answers_.push_back({entry->user_data, entry->res});
        }
        io_uring_cq_advance(ring_.get(), static_cast<unsigned>(answers_.size()));
        for (const auto& answer : answers_) {
            // Before Linux 5.11 the timeout above is a request of its own.
            if (answer.id == LIBURING_UDATA_TIMEOUT) continue;
            last_answer_ = Clock::now();
            take(static_cast<std::size_t>(answer.id >> 32U),
                 static_cast<std::size_t>(answer.id & 0xffffffffU), answer.result);
        }
    }

    void take(std::size_t index, std::size_t number, int result) {
        auto& slot = slots_[index];
        auto& request = slot.requests[number];
        --slot.under_way;
        --under_way_;
        if (!advance(slot, request, result)) return;
        if (request.length > 0) {
            if (!failed()) submit(index, number);
            return;
        }
        if (request.is_write) {
            if (slot.under_way == 0) finish_chunk(index);
            return;
        }
        stats_.read_bytes += slot.chunk.length;
        if (!failed()) take_chunk(index);
    }

    /// Takes what a request has done off it; false after an error.
    [[nodiscard]] bool advance(const Slot& slot, Request& request, int result) {
        const auto place = place_of(slot, request);
        if (result < 0) {
            if ((result == -EINTR || result == -EAGAIN) && ++request.repeats <= kMaxRepeats) {
                return true;
            }
            give_up((request.is_write ? write_failed(job_, place, request.length, -result)
                                      : read_failed(job_, place, request.length, -result))
                        .error());
            return false;
        }
        const auto done = static_cast<std::uint32_t>(result);
        // Direct I/O goes on at an aligned place: a part of a sector is done again.
        const auto usable = done >= request.length ? request.length : done - done % job_.alignment;
        if (usable == 0) {
            give_up((request.is_write ? target_ended(job_, place + done, request.length - done)
                                      : source_ended(job_, place + done, request.length - done))
                        .error());
            return false;
        }
        request.offset += usable;
        request.length -= usable;
        request.repeats = 0;
        return true;
    }

    /// All of the chunk has been read.
    void take_chunk(std::size_t index) {
        auto& slot = slots_[index];
        slot.requests.clear();
        const auto bytes = slot.buffer.first(static_cast<std::size_t>(slot.chunk.length));
        auto checksum = job_.on_read(slot.chunk, bytes);
        if (!checksum) return give_up(std::move(checksum).error());
        slot.checksum = *checksum;
        runs_to_write(job_, bytes, runs_);
        std::uint64_t data = 0;
        for (const auto& run : runs_) data += run.length;
        stats_.written_bytes += data;
        stats_.zero_bytes += slot.chunk.length - data;
        if (runs_.empty()) {
            finish_chunk(index);
            return;
        }
        for (const auto& run : runs_) {
            if (failed()) return;
            add(index, {.is_write = true, .offset = run.offset, .length = run.length});
        }
    }

    void finish_chunk(std::size_t index) {
        const auto& slot = slots_[index];
        done_bytes_ += slot.chunk.length;
        // After a failure some writes of the chunk may never have been asked for.
        if (!failed()) job_.on_done({slot.chunk, slot.checksum});
        if (!failed()) start_next(index);
    }

    /// Whether the devices are given up, with requests still under way.
    [[nodiscard]] bool abandoned_if_stuck() {
        const auto now = Clock::now();
        // Systems made for EC2 tell the NVMe driver never to give up on a request: we have to.
        if (!failed() && now - last_answer_ > job_.stall_timeout) {
            const auto waiting = std::find_if(slots_.begin(), slots_.end(),
                                              [](const Slot& slot) { return slot.under_way > 0; });
            give_up(
                fail(Errc::timed_out,
                     fmt::format("no answer from source '{}' or target '{}' for {} ms, {} "
                                 "requests are under way, one of them for the chunk at byte {}",
                                 job_.source.path(), job_.target.path(), job_.stall_timeout.count(),
                                 under_way_, waiting == slots_.end() ? 0 : waiting->chunk.offset),
                     "see the volumes' state in EC2; start again with new ones")
                    .error());
        }
        if (!failed() || under_way_ == 0 || now < drain_until_) return false;
        // The kernel may still write into these buffers.
        error_->what += fmt::format("; {} requests did not end", under_way_);
        pool_.leak();
        return true;
    }

    struct Answer {
        std::uint64_t id;
        int result;
    };

    CopyJob& job_;
    CopyStats& stats_;
    BufferPool pool_;
    std::vector<Slot> slots_;
    Ring ring_;  // ends before the buffers do
    bool registered_ = false;
    std::uint32_t under_way_ = 0;
    std::uint64_t done_bytes_ = 0;
    std::vector<DataRun> runs_;
    std::vector<Answer> answers_;
    std::optional<core::Error> error_;
    Clock::time_point last_answer_;
    Clock::time_point drain_until_;
};

}  // namespace

Result<UringOutcome> copy_by_uring(CopyJob& job, CopyStats& stats) {
    AMILIFT_TRY(auto pool, BufferPool::allocate(std::size_t{job.queue_depth} * job.block_bytes));
    return UringCopy(job, stats, std::move(pool)).run();
}

}  // namespace amilift::dev
