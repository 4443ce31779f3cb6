// SPDX-License-Identifier: Apache-2.0
#include "worker/client.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <type_traits>

#include "core/spawn.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kKeptStderr = 2000;
constexpr core::Duration kLookAround = std::chrono::milliseconds(200);

/// The child process and what connects it. Kills and reaps its group in the end.
class Child {
  public:
    /// `journal` and `disk` stay open here; -1: there is none.
    static Result<Child> start(const std::vector<std::string>& argv, int journal, int disk);
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    Child(Child&& other) noexcept
        : socket(std::move(other.socket)),
          errors(std::move(other.errors)),
          pid_(std::exchange(other.pid_, -1)) {}
    Child& operator=(Child&&) = delete;
    ~Child() {
        if (pid_ <= 0) return;
        signal(SIGKILL);
        // A worker that waits for a disk that never answers cannot even be killed: it is left to
        // init, so that the job can still be told and cleaned up.
        (void)wait(std::chrono::seconds(30));
    }

    void signal(int number) const {
        if (pid_ > 0) ::kill(-pid_, number);
    }
    /// The wait status, unless the child is still there after `timeout`.
    std::optional<int> wait(core::Duration timeout) {
        const core::SystemClock clock;
        const core::Cancel never;
        const auto begun = clock.steady();
        int status = 0;
        while (true) {
            const bool forever = timeout == core::Duration::max();
            const pid_t done = ::waitpid(pid_, &status, forever ? 0 : WNOHANG);
            if (done == pid_ || (done < 0 && errno != EINTR)) {
                pid_ = -1;
                return status;
            }
            if (!forever) {
                if (clock.steady() - begun >= timeout) return std::nullopt;
                (void)never.sleep_for(std::chrono::milliseconds(20));
            }
        }
    }

    core::Fd socket;
    core::Fd errors;  ///< its standard error

  private:
    Child(core::Fd s, core::Fd e, pid_t pid)
        : socket(std::move(s)), errors(std::move(e)), pid_(pid) {}
    pid_t pid_;
};

struct Ends {
    core::Fd ours;
    core::Fd theirs;
};

Result<Ends> make_socket_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, "cannot make a socket pair for the disk worker");
    }
    return Ends{core::Fd(ends[0]), core::Fd(ends[1])};
}

/// The same open file under a number above `number`; nothing for nothing.
Result<core::Fd> duplicate_above(int fd, int number) {
    if (fd < 0) return core::Fd();
    core::Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, number + 1));
    if (copy) return copy;
    const int saved = errno;
    return core::fail_errno(saved, "cannot duplicate a descriptor for the disk worker");
}

Result<Child> Child::start(const std::vector<std::string>& argv, int journal, int disk) {
    if (argv.empty()) return fail(Errc::internal, "the disk worker has no program");
    AMILIFT_TRY(auto talk, make_socket_pair());
    AMILIFT_TRY(auto errors, core::make_pipe());
    core::Spawn spawn;
    spawn.give_null(STDIN_FILENO);
    spawn.give(errors.write.get(), STDERR_FILENO);
    spawn.give(STDERR_FILENO, STDOUT_FILENO);
    // Last, because they may take the place of one of the others; each other's, they must not.
    AMILIFT_TRY(const auto socket, duplicate_above(talk.theirs.get(), kWorkerDisk));
    AMILIFT_TRY(const auto notes, duplicate_above(journal, kWorkerDisk));
    AMILIFT_TRY(const auto source, duplicate_above(disk, kWorkerDisk));
    spawn.give(socket.get(), kWorkerSocket);
    const auto give_or_withhold = [&spawn](const core::Fd& ours, int number) {
        if (ours) {
            spawn.give(ours.get(), number);
        } else {
            spawn.withhold(number);
        }
    };
    give_or_withhold(notes, kWorkerJournal);
    give_or_withhold(source, kWorkerDisk);
    spawn.close_from(kWorkerDisk + 1);
    // The agent's environment may hold credentials: nothing of it is passed on.
    pid_t pid = -1;
    const int rc = spawn.start(pid, argv, {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"},
                               core::Spawn::Lookup::as_named);
    if (rc == ENOENT) {
        return fail(Errc::not_installed,
                    fmt::format("program '{}' of the disk worker does not exist", argv.front()),
                    "reinstall amilift");
    }
    if (rc != 0) {
        return core::fail_errno(rc, fmt::format("cannot start the disk worker '{}'", argv.front()));
    }
    return Child(std::move(talk.ours), std::move(errors.read), pid);
}

std::string explain(std::optional<int> status) {
    if (!status) return "did not end and was killed";
    if (WIFSIGNALED(*status)) {
        const int number = WTERMSIG(*status);
        return fmt::format("was ended by signal {} ({})", number, ::strsignal(number));
    }
    return fmt::format("ended with exit code {}", WEXITSTATUS(*status));
}

/// One request to the worker, which is to give that answer: what has been heard so far, and when.
template <class Answer>
class Conversation {
  public:
    Conversation(Child& child, const WorkerProgram& program, ConversionObserver& observer,
                 const core::Cancel& cancel)
        : child_(child),
          program_(program),
          observer_(observer),
          cancel_(cancel),
          heard_(clock_.steady()) {}

    Result<Answer> run() {
        while (!final_ && child_.socket) {
            AMILIFT_CHECK(keep_time());
            AMILIFT_CHECK(listen());
        }
        child_.socket.reset();
        auto status = child_.wait(program_.grace);
        if (!status) child_.signal(SIGKILL);
        drain_errors();
        if (final_) {
            // It knows that it was asked to stop, not why.
            if (!*final_ && final_->error().is(Errc::cancelled)) AMILIFT_CHECK(cancel_.check());
            return *std::move(final_);
        }
        AMILIFT_CHECK(cancel_.check());
        return fail(Errc::io_error,
                    fmt::format("the disk worker {} before it had finished{}", explain(status),
                                said_.empty() ? "" : "; it said: " + said_),
                    "the target is in an unknown state: make a new one",
                    status && WIFSIGNALED(*status) ? kWorkerKilled : "");
    }

  private:
    /// What a conversion tells goes into tags and records.
    static constexpr auto kForm =
        std::is_same_v<Answer, WorkerOutcome> ? TextForm::readable : TextForm::exact;

    /// Asks a cancelled worker to stop, and stops one that does not or that says nothing.
    Result<> keep_time() {
        const auto now = clock_.steady();
        if (cancel_.requested() && !stop_by_) {
            child_.signal(SIGTERM);
            stop_by_ = now + program_.grace;
        }
        if (stop_by_ && now >= *stop_by_) {
            child_.signal(SIGKILL);
            return cancel_.check();
        }
        if (now - heard_ >= program_.silence) {
            child_.signal(SIGKILL);
            return fail(
                Errc::timed_out,
                fmt::format(
                    "the disk worker said nothing for {} s and was killed",
                    std::chrono::duration_cast<std::chrono::seconds>(program_.silence).count()),
                "a disk does not answer: look at the helper's kernel log");
        }
        return {};
    }

    Result<> listen() {
        std::array<pollfd, 2> polled{pollfd{child_.socket.get(), POLLIN, 0},
                                     pollfd{child_.errors.get(), POLLIN, 0}};
        const int ready =
            ::poll(polled.data(), polled.size(), static_cast<int>(kLookAround.count()));
        if (ready < 0 && errno != EINTR) {
            const int saved = errno;
            return core::fail_errno(saved, "cannot wait for the disk worker");
        }
        if (ready <= 0) return {};
        if (polled[1].revents != 0) read_errors();
        if (polled[0].revents == 0) return {};
        std::array<char, 65536> chunk{};
        const auto n = ::recv(child_.socket.get(), chunk.data(), chunk.size(), 0);
        if (n < 0 && errno == EINTR) return {};
        if (n <= 0) {
            child_.socket.reset();
            return {};
        }
        heard_ = clock_.steady();
        reader_.feed({chunk.data(), static_cast<std::size_t>(n)});
        while (!final_) {
            AMILIFT_TRY(const auto text, reader_.next());
            if (!text) break;
            auto message = decode(*text, kForm);
            if (!message) return std::unexpected(std::move(message).error());
            AMILIFT_CHECK(std::visit([this](auto& m) { return this->take(m); }, *message));
        }
        return {};
    }

    /// That it was heard is all there is to it.
    static Result<> take(const AliveMessage& /*m*/) { return {}; }
    Result<> take(const StageMessage& m) {
        observer_.on_stage(m.stage);
        return {};
    }
    Result<> take(const image::Finding& m) {
        observer_.on_finding(m);
        return {};
    }
    Result<> take(const StepMessage& m) {
        observer_.on_step(m.index, m.count, m.text);
        return {};
    }
    Result<> take(const dev::CopyProgress& m) {
        observer_.on_progress(m);
        return {};
    }
    Result<> take(Answer& m) {
        final_ = std::move(m);
        return {};
    }
    Result<> take(core::Error& m) {
        final_ = std::unexpected(std::move(m));
        return {};
    }
    /// The answer to another kind of request.
    template <class Other>
    Result<> take(const Other& /*m*/) {
        child_.signal(SIGKILL);
        return fail(Errc::corrupt, "the disk worker answers what it was not asked");
    }

    void read_errors() {
        std::array<char, 4096> chunk{};
        const auto n = ::read(child_.errors.get(), chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) return;
        if (n <= 0) {
            child_.errors.reset();
            return;
        }
        said_.append(chunk.data(), static_cast<std::size_t>(n));
        if (said_.size() > kKeptStderr) said_.erase(0, said_.size() - kKeptStderr);
    }
    /// What is left in the pipe; a grandchild may keep it open, so nothing is waited for.
    void drain_errors() {
        if (child_.errors) ::fcntl(child_.errors.get(), F_SETFL, O_NONBLOCK);
        for (int i = 0; child_.errors && i < 64; ++i) read_errors();
        while (!said_.empty() && said_.back() == '\n') said_.pop_back();
    }

    Child& child_;
    const WorkerProgram& program_;
    ConversionObserver& observer_;
    const core::Cancel& cancel_;
    const core::SystemClock clock_;
    std::chrono::steady_clock::time_point heard_;
    std::optional<std::chrono::steady_clock::time_point> stop_by_;
    std::optional<Result<Answer>> final_;
    MessageReader reader_;
    std::string said_;
};

}  // namespace

template <class Answer>
Result<Answer> WorkerClient::ask(const WorkerRequest& request, ConversionObserver& observer,
                                 const core::Cancel& cancel, int copy_journal, int disk) {
    AMILIFT_CHECK(cancel.check());
    AMILIFT_TRY(auto child, Child::start(program_.argv, copy_journal, disk));
    // A worker that could not even start has closed the socket; what it said is told by run().
    if (auto sent = send_message(child.socket, encode_request(request));
        !sent && !sent.error().is(Errc::unavailable)) {
        return std::unexpected(std::move(sent).error());
    }
    return Conversation<Answer>(child, program_, observer, cancel).run();
}

Result<WorkerOutcome> WorkerClient::convert(const ConversionRequest& request,
                                            ConversionObserver& observer,
                                            const core::Cancel& cancel,
                                            const core::Fd& copy_journal) {
    return ask<WorkerOutcome>(request, observer, cancel, copy_journal.get(), -1);
}

Result<Inspection> WorkerClient::inspect(const InspectionRequest& request,
                                         ConversionObserver& observer, const core::Cancel& cancel) {
    return ask<Inspection>(request, observer, cancel, -1, request.disk.descriptor);
}

Result<PlanText> WorkerClient::plan(const ConversionRequest& request, ConversionObserver& observer,
                                    const core::Cancel& cancel) {
    return ask<PlanText>(PlanRequest{request}, observer, cancel, -1, request.source.descriptor);
}

}  // namespace amilift::worker
