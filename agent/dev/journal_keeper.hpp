// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/clock.hpp"
#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/copy_journal.hpp"

namespace amilift::dev {

/// When finished chunks are flushed and noted: what a crash costs at most is copied in that time.
struct NotePolicy {
    core::Duration interval = std::chrono::seconds(2);
    std::uint64_t bytes = 1U << 30;  ///< noted earlier when so much is finished
    /// Makes durable what has been written to the target; empty: fdatasync(2). A seam for tests,
    /// from any thread; called at the end of the copy, too.
    std::function<core::Result<>()> flush{};
};

/// Notes the chunks of a running copy from a thread of its own: flush the target, then write down
/// what had been finished before the flush began. The copy does not wait for either.
class JournalKeeper {
  public:
    /// `journal` is used by nobody else until finish() or abandon(). `target` is duplicated;
    /// `target_name` is for messages. Errors: io_error.
    [[nodiscard]] static core::Result<std::unique_ptr<JournalKeeper>> start(
        CopyJournal& journal, NotePolicy policy, const core::Fd& target, std::string target_name);
    JournalKeeper(const JournalKeeper&) = delete;
    JournalKeeper& operator=(const JournalKeeper&) = delete;
    ~JournalKeeper();

    /// All of the chunk has been handed to the target. From any thread.
    void finished(const CopiedChunk& chunk);

    /// The first error of a flush: the target did not keep what was written, the copy has failed.
    [[nodiscard]] core::Result<> check() const;

    /// Flushes and notes what is left, and ends the thread. Errors: that of check(); timed_out when
    /// the target does not answer for `patience`: the thread is left alone then, and the journal
    /// stays as it is. The second call does nothing.
    [[nodiscard]] core::Result<> finish(core::Duration patience);

    /// Why nothing is noted any more although the copy goes on; empty: all is well. After finish().
    [[nodiscard]] std::string trouble() const;

  private:
    class Work;
    explicit JournalKeeper(std::shared_ptr<Work> work) : work_(std::move(work)) {}
    std::shared_ptr<Work> work_;
};

}  // namespace amilift::dev
