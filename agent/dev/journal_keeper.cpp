// SPDX-License-Identifier: Apache-2.0
#include "dev/journal_keeper.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "dev/copy_job.hpp"

namespace amilift::dev {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

/// What the thread and its owner share. The thread may outlive the owner, when the target never
/// answers: then it must not touch the journal any more, which `journal_mutex_` sees to.
class JournalKeeper::Work {
  public:
    Work(CopyJournal& journal, NotePolicy policy, core::Fd target, std::string target_name)
        : journal_(&journal),
          policy_(std::move(policy)),
          target_(std::move(target)),
          target_name_(std::move(target_name)) {}

    void run() {
        for (bool last = false; !last;) {
            {
                std::unique_lock lock(mutex_);
                changed_.wait_for(lock, policy_.interval,
                                  [this] { return ending_ || pending_bytes_ >= policy_.bytes; });
                last = ending_;
            }
            if (auto done = round(); !done) {
                const std::lock_guard lock(mutex_);
                failure_ = std::move(done).error();
                has_failed_ = true;
                last = true;
            }
        }
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }

    void finished(const CopiedChunk& chunk) {
        const std::lock_guard lock(mutex_);
        pending_.push_back(chunk);
        const bool was_enough = pending_bytes_ >= policy_.bytes;
        pending_bytes_ += chunk.extent.length;
        if (!was_enough && pending_bytes_ >= policy_.bytes) changed_.notify_all();
    }

    Result<> check() const {
        const std::lock_guard lock(mutex_);
        if (has_failed_) return std::unexpected(failure_);
        return {};
    }

    Result<> finish(core::Duration patience) {
        {
            std::unique_lock lock(mutex_);
            ending_ = true;
            changed_.notify_all();
            if (changed_.wait_for(lock, patience, [this] { return ended_; })) {
                if (has_failed_) return std::unexpected(failure_);
                return {};
            }
        }
        const std::lock_guard lock(journal_mutex_);
        journal_ = nullptr;
        return fail(Errc::timed_out,
                    fmt::format("target '{}' was to be flushed and did not answer for {} ms",
                                target_name_, patience.count()),
                    "see the volume's state in EC2; start again with a new one");
    }

    std::string trouble() const {
        const std::lock_guard lock(mutex_);
        return trouble_;
    }

  private:
    /// Only what was finished before the flush began is on the disk after it.
    Result<> round() {
        std::vector<CopiedChunk> chunks;
        {
            const std::lock_guard lock(mutex_);
            chunks.swap(pending_);
            pending_bytes_ = 0;
        }
        if (chunks.empty()) return {};
        AMILIFT_CHECK(policy_.flush ? policy_.flush() : flush_data(target_, target_name_));
        const std::lock_guard journal_lock(journal_mutex_);
        if (journal_ == nullptr) return {};
        // Without notes the copy is as good: it only begins anew after a crash.
        if (auto noted = journal_->note(std::move(chunks)); !noted) {
            const std::lock_guard lock(mutex_);
            trouble_ = noted.error().what;
        }
        return {};
    }

    std::mutex journal_mutex_;
    CopyJournal* journal_;  ///< null: the owner has gone
    NotePolicy policy_;
    core::Fd target_;
    std::string target_name_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<CopiedChunk> pending_;
    std::uint64_t pending_bytes_ = 0;
    bool ending_ = false;
    bool ended_ = false;
    bool has_failed_ = false;
    core::Error failure_;
    std::string trouble_;
};

Result<std::unique_ptr<JournalKeeper>> JournalKeeper::start(CopyJournal& journal, NotePolicy policy,
                                                            const core::Fd& target,
                                                            std::string target_name) {
    AMILIFT_TRY(auto copy, duplicate(target, target_name));
    auto work =
        std::make_shared<Work>(journal, std::move(policy), std::move(copy), std::move(target_name));
    try {
        std::thread([work] { work->run(); }).detach();
    } catch (const std::system_error& error) {
        return fail_errno(error.code().value(), "cannot start the thread of the copy journal",
                          "raise the limit of processes, then retry");
    }
    return std::unique_ptr<JournalKeeper>(new JournalKeeper(std::move(work)));
}

JournalKeeper::~JournalKeeper() {
    // Nobody may use the journal behind its owner's back; a target that hangs is not waited for.
    (void)finish(core::Duration::zero());
}

void JournalKeeper::finished(const CopiedChunk& chunk) {
    work_->finished(chunk);
}

Result<> JournalKeeper::check() const {
    return work_->check();
}

Result<> JournalKeeper::finish(core::Duration patience) {
    return work_->finish(patience);
}

std::string JournalKeeper::trouble() const {
    return work_->trouble();
}

}  // namespace amilift::dev
