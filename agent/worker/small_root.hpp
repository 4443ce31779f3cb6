// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"

namespace amilift::worker {

/// Changes the root of the calling process, in its own mount namespace, to a filesystem in memory
/// that shows what a conversion needs of the helper and nothing else:
///  - /usr, and /bin, /sbin, /lib* where they are directories of their own, read-only: the programs
///    and libraries;
///  - of /etc only the linker's cache and the settings of the filesystem programs, read-only;
///  - /dev, /proc and /sys, the last read-only;
///  - /tmp as it is, and a /run that is empty.
/// No other file of the helper can be named afterwards, and no socket of a service can be reached:
/// D-Bus or systemd would do for a taken over worker what the system call filter denies it. Mounts
/// of the old root end. Needs CAP_SYS_ADMIN and dev::enter_private_mount_namespace(). Source:
/// pivot_root(2). Errors: permission_denied, io_error.
[[nodiscard]] core::Result<> enter_small_root();

}  // namespace amilift::worker
