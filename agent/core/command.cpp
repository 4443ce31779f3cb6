// SPDX-License-Identifier: Apache-2.0
#include "core/command.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>

#include "core/fd.hpp"
#include "core/printable.hpp"
#include "core/spawn.hpp"

namespace amilift::core {
namespace {

/// How often a running command's cancel is looked at.
constexpr Duration kCancelEvery = std::chrono::milliseconds(100);

/// The child's environment: what tools need, and nothing that changes their language or leaks a
/// secret.
std::vector<std::string> child_environment() {
    std::vector<std::string> env{"LC_ALL=C.UTF-8"};
    for (const char* name : {"PATH", "TMPDIR", "HOME"}) {
        if (const char* value = std::getenv(name)) env.push_back(fmt::format("{}={}", name, value));
    }
    if (env.size() == 1) env.emplace_back("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    return env;
}

bool is_requested(const Cancel* cancel) {
    return cancel != nullptr && cancel->requested();
}

/// Kills and reaps the child's process group unless it has been reaped already.
class Child {
  public:
    explicit Child(pid_t pid) : pid_(pid) {}
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (pid_ <= 0) return;
        ::kill(-pid_, SIGKILL);
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    /// The wait status, once the child has ended; absent if it has not by the deadline, or `cancel`
    /// is requested. A child may go on long after it has closed its output.
    std::optional<int> wait(const Deadline& deadline, const SystemClock& clock,
                            const Cancel* cancel) {
        constexpr auto kPause = std::chrono::milliseconds(2);
        int status = 0;
        while (true) {
            const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
            if (ended == pid_) {
                pid_ = -1;
                return status;
            }
            if (ended < 0 && errno != EINTR) return std::nullopt;
            if (deadline.left(clock) == Duration::zero() || is_requested(cancel)) {
                return std::nullopt;
            }
            std::this_thread::sleep_for(kPause);
        }
    }

  private:
    pid_t pid_;
};

}  // namespace

std::string last_words(const CommandOutput& output) {
    constexpr std::size_t kShown = 600;
    auto text = output.err.empty() ? output.out : output.err;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    if (text.size() > kShown) text.erase(0, text.size() - kShown);
    std::ranges::replace(text, '\n', ' ');
    return printable(text);
}

Result<CommandOutput> CommandRunner::run_ok(const Command& command) {
    AMILIFT_TRY(auto output, run(command));
    if (output.exit_code != 0) {
        return fail(Errc::io_error,
                    fmt::format("'{}' ended with exit code {}: {}", fmt::join(command.argv, " "),
                                output.exit_code, last_words(output)));
    }
    return output;
}

Result<CommandOutput> ProcessRunner::run(const Command& command) {
    if (command.argv.empty()) return fail(Errc::internal, "a command without a program was run");
    AMILIFT_TRY(auto in, make_pipe());
    AMILIFT_TRY(auto out, make_pipe());
    AMILIFT_TRY(auto err, make_pipe());

    Spawn spawn;
    spawn.give(in.read.get(), STDIN_FILENO);
    spawn.give(out.write.get(), STDOUT_FILENO);
    spawn.give(err.write.get(), STDERR_FILENO);
    spawn.close_from(STDERR_FILENO + 1);
    pid_t pid = -1;
    const int rc = spawn.start(pid, command.argv, child_environment(), Spawn::Lookup::search_path);
    if (rc == ENOENT) {
        return fail(Errc::not_installed,
                    fmt::format("program '{}' is not installed on this helper", command.argv[0]),
                    "install the package that has it");
    }
    if (rc != 0) return fail_errno(rc, fmt::format("cannot start '{}'", command.argv[0]));
    Child child(pid);
    in.read.reset();
    out.write.reset();
    err.write.reset();

    SystemClock clock;
    const Deadline deadline(clock, command.timeout);
    CommandOutput output;
    std::string_view to_send = command.input;
    if (to_send.empty())
        in.write.reset();
    else
        ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    std::array<char, 16384> chunk{};
    const auto cut_off = [&command]() -> Result<CommandOutput> {
        if (command.cancel != nullptr) AMILIFT_CHECK(command.cancel->check());
        return fail(Errc::timed_out,
                    fmt::format("'{}' did not end within {} ms and was killed",
                                fmt::join(command.argv, " "), command.timeout.count()));
    };
    while (out.read || err.read) {
        std::array<pollfd, 3> polled{pollfd{out.read.get(), POLLIN, 0},
                                     pollfd{err.read.get(), POLLIN, 0},
                                     pollfd{in.write.get(), POLLOUT, 0}};
        auto left = deadline.left(clock);
        if (left == Duration::zero() || is_requested(command.cancel)) return cut_off();
        if (command.cancel != nullptr) left = std::min(left, kCancelEvery);
        const int ready = ::poll(polled.data(), polled.size(), static_cast<int>(left.count()));
        if (ready < 0 && errno != EINTR) {
            const int saved = errno;
            return fail_errno(saved, "cannot poll a child's pipes");
        }
        if (ready <= 0) continue;
        if (polled[2].revents != 0) {
            // SIGPIPE is ignored in every amilift process; EPIPE means that the child reads no
            // more.
            const auto n = ::write(in.write.get(), to_send.data(), to_send.size());
            if (n > 0) to_send.remove_prefix(static_cast<std::size_t>(n));
            if ((n < 0 && errno != EAGAIN && errno != EINTR) || to_send.empty()) in.write.reset();
        }
        struct Stream {
            Fd& fd;
            std::string& text;
            short revents;
        };
        for (auto& stream : {Stream{out.read, output.out, polled[0].revents},
                             Stream{err.read, output.err, polled[1].revents}}) {
            if (stream.revents == 0) continue;
            const auto n = ::read(stream.fd.get(), chunk.data(), chunk.size());
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                stream.fd.reset();
                continue;
            }
            stream.text.append(chunk.data(), static_cast<std::size_t>(n));
            if (stream.text.size() > command.output_limit) {
                return fail(Errc::corrupt,
                            fmt::format("'{}' printed more than {} bytes and was killed",
                                        fmt::join(command.argv, " "), command.output_limit));
            }
        }
    }
    const auto status = child.wait(deadline, clock, command.cancel);
    if (!status) return cut_off();
    if (WIFSIGNALED(*status)) {
        return fail(Errc::io_error, fmt::format("'{}' was ended by signal {}",
                                                fmt::join(command.argv, " "), WTERMSIG(*status)));
    }
    output.exit_code = WEXITSTATUS(*status);
    return output;
}

}  // namespace amilift::core
