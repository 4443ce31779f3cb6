// SPDX-License-Identifier: Apache-2.0
#include "worker/server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <mutex>
#include <thread>

#include "worker/conversion.hpp"
#include "worker/heartbeat_commands.hpp"
#include "worker/protocol.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// How long the agent may take to send its request after it has started the worker.
constexpr core::Duration kRequestTimeout = std::chrono::seconds(30);

/// A fraction of what the agent bears in silence, WorkerProgram::silence.
constexpr core::Duration kHeartbeatEvery = std::chrono::seconds(30);

/// Asks for cancellation on SIGTERM and when the agent has gone, from a thread of its own: the
/// thread that converts is in system calls most of the time.
class Watcher {
  public:
    static Result<std::unique_ptr<Watcher>> start(const core::Fd& socket, core::Cancel& cancel) {
        sigset_t signals{};
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) {
            return fail(Errc::internal, "cannot block SIGTERM in the disk worker");
        }
        core::Fd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
        core::Fd stop_fd(::eventfd(0, EFD_CLOEXEC));
        if (!signal_fd || !stop_fd) {
            const int saved = errno;
            return core::fail_errno(saved, "cannot make signalfd and eventfd");
        }
        return std::unique_ptr<Watcher>(
            new Watcher(socket, std::move(signal_fd), std::move(stop_fd), cancel));
    }
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    ~Watcher() {
        ::eventfd_write(stop_.get(), 1);
        thread_.join();
    }

  private:
    Watcher(const core::Fd& socket, core::Fd signals, core::Fd stop, core::Cancel& cancel)
        : signals_(std::move(signals)), stop_(std::move(stop)) {
        thread_ = std::thread([this, &socket, &cancel] { watch(socket, cancel); });
    }
    void watch(const core::Fd& socket, core::Cancel& cancel) const {
        std::array<pollfd, 3> polled{pollfd{stop_.get(), POLLIN, 0},
                                     pollfd{signals_.get(), POLLIN, 0},
                                     pollfd{socket.get(), POLLIN | POLLRDHUP, 0}};
        while (::poll(polled.data(), polled.size(), -1) < 0) {
            if (errno != EINTR) return;
        }
        if (polled[0].revents != 0) return;
        // The agent sends nothing after its request: whatever comes is the end of it.
        cancel.request(polled[1].revents != 0 ? "the agent asked the disk worker to stop"
                                              : "the agent has gone");
    }
    core::Fd signals_;
    core::Fd stop_;
    std::thread thread_;
};

/// Tells the agent what happens. A message that cannot be sent stops the conversion.
class Relay final : public ConversionObserver {
  public:
    Relay(const core::Fd& socket, core::Cancel& cancel) : socket_(socket), cancel_(cancel) {}
    void on_stage(const std::string& stage) override { send(StageMessage{stage}); }
    void on_finding(const image::Finding& finding) override { send(finding); }
    void on_step(std::size_t index, std::size_t count, const std::string& text) override {
        send(StepMessage{index, count, text});
    }
    void on_progress(const dev::CopyProgress& progress) override { send(progress); }
    /// From any thread.
    void beat() { send(AliveMessage{}); }

  private:
    void send(const WorkerMessage& message) {
        const std::lock_guard lock(mutex_);
        if (const auto sent = send_message(socket_, encode(message)); !sent) {
            cancel_.request(sent.error().what);
        }
    }
    const core::Fd& socket_;
    core::Cancel& cancel_;
    std::mutex mutex_;  ///< one message after the other
};

Result<WorkerMessage> serve(const Enclosure& enclosure, const core::Fd& socket, core::Fd journal) {
    AMILIFT_CHECK(enter_sandbox(enclosure));
    MessageReader reader;
    AMILIFT_TRY(const auto text, receive_message(socket, reader, kRequestTimeout));
    AMILIFT_TRY(const auto request, decode_request(text));
    core::Cancel cancel;
    AMILIFT_TRY(const auto watcher, Watcher::start(socket, cancel));
    Relay relay(socket, cancel);
    core::ProcessRunner processes;
    const std::function<void()> beat = [&relay] { relay.beat(); };
    HeartbeatCommands commands(processes, kHeartbeatEvery, beat);
    if (const auto* look = std::get_if<InspectionRequest>(&request)) {
        AMILIFT_TRY(auto inspection,
                    inspect(look->disk, commands, relay, cancel, look->may_replay_journal));
        return WorkerMessage(std::move(inspection));
    }
    if (const auto* asked = std::get_if<PlanRequest>(&request)) {
        AMILIFT_TRY(auto planned, plan(asked->conversion, commands, relay, cancel));
        return WorkerMessage(std::move(planned));
    }
    AMILIFT_TRY(const auto result, convert(std::get<ConversionRequest>(request), commands, relay,
                                           cancel, std::move(journal)));
    return WorkerMessage(outcome_of(result));
}

WorkerMessage answer(const Enclosure& enclosure, const core::Fd& socket, core::Fd journal) {
    // What is thrown here comes from the standard library: memory has run out, or a bug.
    try {
        auto outcome = serve(enclosure, socket, std::move(journal));
        if (outcome) return *std::move(outcome);
        return std::move(outcome).error();
    } catch (const std::exception& e) {
        return core::Error{Errc::internal, fmt::format("the disk worker failed: {}", e.what()),
                           "use a helper with more memory, or report this image", "", 0};
    }
}

}  // namespace

int run_disk_worker(Enclosure enclosure) {
    for (int* fd : {&enclosure.journal_fd, &enclosure.disk_fd}) {
        if (::fcntl(*fd, F_GETFD) < 0) *fd = -1;
    }
    const core::Fd socket(enclosure.socket_fd);
    const core::Fd disk(enclosure.disk_fd);
    core::Fd journal(enclosure.journal_fd);
    // SIG_IGN for SIGPIPE cannot be refused: signal(2) fails for unknown signals only.
    (void)std::signal(SIGPIPE, SIG_IGN);
    const auto message = answer(enclosure, socket, std::move(journal));
    if (const auto sent = send_message(socket, encode(message)); !sent) {
        fmt::print(stderr, "amilift disk-worker: {}\n", sent.error().message());
        if (const auto* error = std::get_if<core::Error>(&message)) {
            fmt::print(stderr, "amilift disk-worker: {}\n", error->message());
        }
        return 1;
    }
    return 0;
}

}  // namespace amilift::worker
