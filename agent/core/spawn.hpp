// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::core {

/// What is written to one end is read from the other.
struct Pipe {
    Fd read;
    Fd write;
};

/// pipe2(2) with O_CLOEXEC: a program gets an end by Spawn::give() alone.
[[nodiscard]] Result<Pipe> make_pipe();

/// What a child process gets: descriptors, in the order of the calls, a process group of its own,
/// so that all it started can be ended with it, and default signals, none of them blocked, whatever
/// this process does with its own. Source: posix_spawn(3).
class Spawn {
  public:
    Spawn();
    Spawn(const Spawn&) = delete;
    Spawn& operator=(const Spawn&) = delete;
    ~Spawn();

    /// The child's descriptor `to` is this process's `from`.
    void give(int from, int to);
    void give_null(int to);
    /// The child has no descriptor of that number, whatever this process was started with.
    void withhold(int number);
    /// Close-on-exec is the rule, but a descriptor that this process was started with has not heard
    /// of it.
    void close_from(int first);

    /// Where a program is looked for that is named without a '/'.
    enum class Lookup { as_named, search_path };
    /// Starts argv[0] with that environment ("NAME=value"). 0 and the child's number in `pid`, or
    /// an error number.
    [[nodiscard]] int start(pid_t& pid, std::vector<std::string> argv,
                            std::vector<std::string> environment, Lookup lookup) const;

  private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

}  // namespace amilift::core
