// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace amilift::core {

/// A program to run: no shell, ever.
struct Command {
    std::vector<std::string> argv;  ///< argv[0] is looked up in the helper's PATH
    std::string input{};            ///< given on standard input
    Duration timeout = std::chrono::seconds(60);
    std::size_t output_limit = 1 << 20;  ///< bytes kept of stdout and of stderr, each
    /// Ends it early; null: nothing does. Not for a program that writes to a disk of ours.
    const Cancel* cancel = nullptr;
};

struct CommandOutput {
    int exit_code = 0;
    std::string out{};
    std::string err{};
};

/// The end of what a program has said, on stderr if it said anything there, in one line without
/// control characters: it may repeat what an image holds.
[[nodiscard]] std::string last_words(const CommandOutput& output);

/// Runs programs of the helper. A seam: tests replay recorded output.
class CommandRunner {
  public:
    CommandRunner() = default;
    CommandRunner(const CommandRunner&) = delete;
    CommandRunner& operator=(const CommandRunner&) = delete;
    virtual ~CommandRunner() = default;

    /// Runs to the end and gives the exit code, whatever it is. Errors: not_installed (no such
    /// program), timed_out and cancelled (the whole process group has been killed), corrupt (more
    /// output than the limit), io_error (killed by a signal, or a system call failed).
    [[nodiscard]] virtual Result<CommandOutput> run(const Command& command) = 0;

    /// The same, and an exit code other than 0 is Errc::io_error with the last lines of stderr.
    [[nodiscard]] Result<CommandOutput> run_ok(const Command& command);
};

/// The real one: posix_spawn in a process group of its own, LC_ALL=C.UTF-8, no inherited
/// descriptors.
class ProcessRunner final : public CommandRunner {
  public:
    [[nodiscard]] Result<CommandOutput> run(const Command& command) override;
};

}  // namespace amilift::core
