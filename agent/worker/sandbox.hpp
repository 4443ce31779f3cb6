// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "core/result.hpp"

namespace amilift::worker {

/// What the disk worker keeps of what its parent has.
struct Enclosure {
    int socket_fd = -1;   ///< 3 or more
    int journal_fd = -1;  ///< of the copy; -1: none
    int disk_fd = -1;     ///< the disk, open for reading; -1: none
    /// See enter_small_root(). Empty: nothing; only tests show something.
    std::string shown_directory{};
};

/// Takes from the calling process everything that reading a hostile disk does not need. Call it
/// first thing in the disk worker, while it has one thread; it cannot be undone. Needs root.
///
/// Afterwards the process, and each program that it starts,
///  - has no network: a network namespace without any interface, and no socket but of AF_UNIX;
///  - sees no file of the helper but what a conversion needs (enter_small_root());
///  - has mounts, IPC objects and a host name of its own, so that the host never sees a mount;
///  - has a clean environment (PATH, LC_ALL) and no descriptor but 0, 1, 2, and those of the
///    enclosure;
///  - has the capabilities of kept_capabilities() and cannot gain one;
///  - is refused system calls that serve no conversion (seccomp): modules, kexec, ptrace, bpf,
///    keys, device nodes, new user namespaces;
///  - is bounded in memory, writes no core file, and dies with the thread that started it.
/// Errors: permission_denied (not root), io_error.
[[nodiscard]] core::Result<> enter_sandbox(const Enclosure& enclosure);

struct KeptCapability {
    unsigned number;  ///< CAP_..., linux/capability.h
    const char* reason;
};
/// The capabilities that a conversion needs, and why.
[[nodiscard]] std::span<const KeptCapability> kept_capabilities();

}  // namespace amilift::worker
