// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/result.hpp"

namespace amilift::worker {

/// Changes the root of the calling process, in its own mount namespace, to a filesystem in memory
/// that shows what a conversion needs of the helper and nothing else:
///  - /usr, and /bin, /sbin, /lib* where they are directories of their own, read-only: the programs
///    and libraries;
///  - of /etc only the linker's cache and the settings of the filesystem programs, read-only;
///  - /dev without what is mounted below it, /proc and /sys, the last read-only;
///  - a /tmp and a /run of its own, in memory and empty;
///  - for tests, whose disks are files: `shown_directory` as it is, where it is. Empty: nothing.
/// No other file of the helper can be named afterwards, and no socket of a service or of a user can
/// be reached: D-Bus, systemd, an SSH agent would do for a taken over worker what the system call
/// filter denies it. Mounts of the old root end.
///
/// It is no jail against a determined attacker: CAP_SYS_ADMIN stays, for mounts and loop devices,
/// and with it every block device of the helper, the one that it runs from among them. A parser
/// that goes wrong is held by this, an exploit of the kernel is not.
///
/// Needs CAP_SYS_ADMIN and dev::enter_private_mount_namespace(). Source: pivot_root(2). Errors:
/// permission_denied, io_error; those of making `shown_directory` there.
[[nodiscard]] core::Result<> enter_small_root(const std::string& shown_directory = {});

}  // namespace amilift::worker
