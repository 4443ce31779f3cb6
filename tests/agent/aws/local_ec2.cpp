// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/aws/local_ec2.hpp"

#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

#include "core/spawn.hpp"

namespace amilift::aws::tests {
namespace {

using core::Errc;
using SteadyClock = std::chrono::steady_clock;

core::Result<std::string> read_line(const core::Fd& fd, std::chrono::seconds at_most) {
    const auto end = SteadyClock::now() + at_most;
    std::string line;
    while (true) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - SteadyClock::now());
        pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
        if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) == 0) {
            return core::fail(Errc::timed_out, "localec2 said nothing for 60 s");
        }
        std::array<char, 4096> chunk{};
        const auto got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got <= 0) return core::fail(Errc::io_error, "localec2 ended before it was up");
        line.append(chunk.data(), static_cast<std::size_t>(got));
        if (const auto newline = line.find('\n'); newline != std::string::npos) {
            return line.substr(0, newline);
        }
    }
}

}  // namespace

std::optional<std::string> LocalEc2::python() {
    const char* value = std::getenv("AMILIFT_PYTHON");
    if (!value || *value == '\0') return std::nullopt;
    return value;
}

core::Result<LocalEc2> LocalEc2::start(const std::vector<std::string>& arguments) {
    std::vector<std::string> words{python().value_or("python3"), "tests/cloud/localec2", "up",
                                   "--no-qemu", "--json"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    AMILIFT_TRY(auto input, core::make_pipe());
    AMILIFT_TRY(auto output, core::make_pipe());
    posix_spawn_file_actions_t actions{};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.read.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output.write.get(), STDOUT_FILENO);
    LocalEc2 cloud;
    const int failed =
        ::posix_spawnp(&cloud.pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        cloud.pid_ = -1;
        return core::fail_errno(failed, "cannot run '" + words[0] + "'");
    }
    cloud.input_ = std::move(input.write);
    output.write.reset();
    AMILIFT_TRY(const auto line, read_line(output.read, std::chrono::seconds(60)));
    cloud.facts_ = nlohmann::json::parse(line, nullptr, false);
    if (!cloud.facts_.is_object()) {
        return core::fail(Errc::corrupt, "localec2's first line is no JSON object: " + line);
    }
    return cloud;
}

LocalEc2::LocalEc2(LocalEc2&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      input_(std::move(other.input_)),
      facts_(std::move(other.facts_)) {}

LocalEc2::~LocalEc2() {
    if (pid_ < 0) return;
    input_.reset();  // it ends when its standard input does
    const auto end = SteadyClock::now() + std::chrono::seconds(15);
    while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
        if (SteadyClock::now() >= end) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

}  // namespace amilift::aws::tests
