// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/sandbox.hpp"

namespace amilift::worker {

/// The disk worker: encloses itself (sandbox.hpp), takes one request from the socket, does it, and
/// answers (protocol.hpp). What the hidden sub-command `disk-worker` runs; call it before any
/// thread is started. Takes over the descriptors; all but the socket may be numbers that are not
/// open. Stops early, cleaning up, on SIGTERM and when the agent closes the socket. Returns the
/// exit code: 0 when an outcome or an error has been sent, 1 when nobody could be told.
[[nodiscard]] int run_disk_worker(Enclosure enclosure);

}  // namespace amilift::worker
