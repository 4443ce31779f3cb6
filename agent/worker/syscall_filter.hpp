// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"

namespace amilift::worker {

/// Installs the disk worker's seccomp filter in the calling process and all that it starts. Calls
/// that serve no conversion give EPERM; sockets of other families than AF_UNIX give EAFNOSUPPORT.
/// PR_SET_NO_NEW_PRIVS must be set. Source: seccomp(2), Linux Documentation/userspace-api/
/// seccomp_filter.rst.
[[nodiscard]] core::Result<> filter_system_calls();

}  // namespace amilift::worker
