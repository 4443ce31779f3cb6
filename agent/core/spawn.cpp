// SPDX-License-Identifier: Apache-2.0
#include "core/spawn.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace amilift::core {
namespace {

/// As execve(2) takes them; valid while `texts` is.
std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (auto& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

}  // namespace

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        const int saved = errno;
        return fail_errno(saved, "cannot make a pipe");
    }
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Spawn::Spawn() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    sigset_t none{};
    sigset_t defaults{};
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGCHLD}) sigaddset(&defaults, number);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

Spawn::~Spawn() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
}

void Spawn::give(int from, int to) {
    posix_spawn_file_actions_adddup2(&actions_, from, to);
}

void Spawn::give_null(int to) {
    posix_spawn_file_actions_addopen(&actions_, to, "/dev/null", O_RDONLY, 0);
}

void Spawn::withhold(int number) {
    // glibc ignores that it is not open.
    posix_spawn_file_actions_addclose(&actions_, number);
}

void Spawn::close_from(int first) {
    posix_spawn_file_actions_addclosefrom_np(&actions_, first);
}

int Spawn::start(pid_t& pid, std::vector<std::string> argv, std::vector<std::string> environment,
                 Lookup lookup) const {
    const auto words = pointers(argv);
    const auto variables = pointers(environment);
    const auto run = lookup == Lookup::search_path ? ::posix_spawnp : ::posix_spawn;
    return run(&pid, words.front(), &actions_, &attributes_, words.data(), variables.data());
}

}  // namespace amilift::core
