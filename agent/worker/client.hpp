// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "worker/conversion.hpp"
#include "worker/protocol.hpp"

namespace amilift::worker {

/// How the disk worker is started and how long it may be silent.
struct WorkerProgram {
    /// The program and its arguments; it gets the descriptors of protocol.hpp.
    std::vector<std::string> argv{"/proc/self/exe", "disk-worker"};
    /// Longest time without any message, for a disk that answers no more. A copy reports all the
    /// time, and so does the worker while a command runs, up to its time-out; reading the block
    /// bitmaps of a large volume that is still loaded from its snapshot takes minutes and reports
    /// nothing.
    core::Duration silence = std::chrono::minutes(30);
    /// What the worker gets to clean up after SIGTERM before it is killed.
    core::Duration grace = std::chrono::seconds(20);
};

/// Error id of a worker that a signal has ended, which nobody here has sent: the kernel was out of
/// memory, somebody killed it, or it crashed. It can be started again.
inline constexpr const char* kWorkerKilled = "disk-worker-killed";

/// Runs a conversion, an inspection or a plan in a sandboxed child. The thread that calls must live
/// until the call returns: the child dies with it.
class WorkerClient {
  public:
    explicit WorkerClient(WorkerProgram program = {}) : program_(std::move(program)) {}

    /// Starts the worker, relays what it tells to `observer` from the calling thread, and waits for
    /// its end; no process is left behind. Errors: the worker's own; cancelled; timed_out (silent
    /// for too long); corrupt (it sent what nobody understands); io_error (it died: signal or exit
    /// code and the last lines of its standard error; id kWorkerKilled for a signal that nobody
    /// here has sent); not_installed. `copy_journal`, open for reading and writing, is all of the
    /// helper's files that the worker can write to; closed: there is none.
    [[nodiscard]] core::Result<WorkerOutcome> convert(const ConversionRequest& request,
                                                      ConversionObserver& observer,
                                                      const core::Cancel& cancel,
                                                      const core::Fd& copy_journal = {});
    /// The same for an inspection. A disk that has a descriptor is handed to the worker: of a file
    /// it can see nothing else. Texts of the image arrive byte for byte; those of a conversion are
    /// UTF-8.
    [[nodiscard]] core::Result<Inspection> inspect(const InspectionRequest& request,
                                                   ConversionObserver& observer,
                                                   const core::Cancel& cancel);
    /// The same for a plan, and its source.
    [[nodiscard]] core::Result<PlanText> plan(const ConversionRequest& request,
                                              ConversionObserver& observer,
                                              const core::Cancel& cancel);

  private:
    template <class Answer>
    core::Result<Answer> ask(const WorkerRequest& request, ConversionObserver& observer,
                             const core::Cancel& cancel, int copy_journal, int disk);

    WorkerProgram program_;
};

}  // namespace amilift::worker
