// SPDX-License-Identifier: Apache-2.0
// The disk worker as a program of its own, and programs that behave like a broken one.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "core/command.hpp"
#include "worker/heartbeat_commands.hpp"
#include "worker/protocol.hpp"
#include "worker/server.hpp"

// LeakSanitizer looks at the process with ptrace at its end, which the sandbox forbids.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
    return "detect_leaks=0";
}

namespace {

using namespace amilift;

constexpr int kSocket = 3;

/// What a command is that waits for a disk in the kernel, where no signal reaches it.
class StuckCommands final : public core::CommandRunner {
  public:
    core::Result<core::CommandOutput> run(const core::Command& /*command*/) override {
        while (true) ::pause();
    }
};

/// Runs `sleep 1` by `inner`, with signs of life, and then tells an outcome.
int command(const core::Fd& socket, core::CommandRunner& inner, core::Duration timeout) {
    const std::function<void()> tell = [&socket] {
        (void)worker::send_message(socket, worker::encode(worker::AliveMessage{}));
    };
    worker::HeartbeatCommands commands(inner, std::chrono::milliseconds(50), tell);
    core::Command sleep;
    sleep.argv = {"sleep", "1"};
    sleep.timeout = timeout;
    const auto ran = commands.run(sleep);
    worker::WorkerOutcome outcome;
    outcome.proofs = {ran ? "ran" : ran.error().what};
    (void)worker::send_message(socket, worker::encode(outcome));
    return 0;
}

int misbehave(const std::string& how) {
    const core::Fd socket(kSocket);
    worker::MessageReader reader;
    const auto request = worker::receive_message(socket, reader, std::chrono::seconds(10));
    if (!request) return 9;
    if (how == "exit") {
        std::fputs("first line\nthe disk is on fire\n", stderr);
        return 7;
    }
    if (how == "abort") std::abort();
    if (how == "garbage") {
        (void)!::write(kSocket, "GET / HTTP/1.1\r\n\r\n", 18);
        ::pause();
    }
    if (how == "wrong-json") {
        (void)worker::send_message(socket, R"({"v":1,"type":"surprise"})");
        ::pause();
    }
    if (how == "half") {
        (void)!::write(kSocket, "\0\0\1\0{\"v\":1", 10);
        return 0;
    }
    if (how == "silent") ::pause();
    if (how == "deaf") {
        std::signal(SIGTERM, SIG_IGN);
        while (true) ::pause();
    }
    if (how == "command") {
        core::ProcessRunner processes;
        return command(socket, processes, std::chrono::seconds(20));
    }
    if (how == "stuck-command") {
        StuckCommands stuck;
        return command(socket, stuck, std::chrono::milliseconds(700));
    }
    if (how == "environment") {
        std::string seen;
        for (char** variable = environ; *variable != nullptr; ++variable) {
            seen += std::string(*variable) + ";";
        }
        (void)worker::send_message(
            socket, worker::encode(core::Error{core::Errc::refused, seen, "", "seen", 0}));
        return 0;
    }
    if (how == "descriptors") {
        std::string seen;
        for (int number = 0; number < 64; ++number) {
            if (::fcntl(number, F_GETFD) >= 0) seen += std::to_string(number) + ";";
        }
        (void)worker::send_message(
            socket, worker::encode(core::Error{core::Errc::refused, seen, "", "seen", 0}));
        return 0;
    }
    if (how == "relay") {
        (void)worker::send_message(socket, worker::encode(worker::StageMessage{"inspect"}));
        (void)worker::send_message(
            socket, worker::encode(image::Finding{image::Severity::info, "f", "", "", "", ""}));
        (void)worker::send_message(socket, worker::encode(worker::StepMessage{0, 1, "copy"}));
        (void)worker::send_message(socket, worker::encode(dev::CopyProgress{1, 2}));
        worker::WorkerOutcome outcome;
        outcome.proofs = {"proof"};
        (void)worker::send_message(socket, worker::encode(outcome));
        return 0;
    }
    return 8;
}

}  // namespace

/// `disk-worker [DIRECTORY]`: the directory of the host that the worker sees.
int main(int argc, char** argv) {
    const std::string how = argc > 1 ? argv[1] : "";
    if (how != "disk-worker") return misbehave(how);
    return worker::run_disk_worker({.socket_fd = kSocket,
                                    .journal_fd = worker::kWorkerJournal,
                                    .disk_fd = worker::kWorkerDisk,
                                    .shown_directory = argc > 2 ? argv[2] : ""});
}
