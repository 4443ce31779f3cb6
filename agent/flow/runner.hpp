// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"
#include "flow/record.hpp"
#include "flow/services.hpp"

namespace amilift::flow {

/// A state that is entered more often than this is not entered again: the job fails instead of
/// restarting for ever.
inline constexpr int kMaxEntries = 3;

/// Runs the job of this helper to its end, from wherever an earlier run of the agent left it.
/// Returns the final record (outcome succeeded or failed); an error only when the agent was told to
/// stop in mid-job (Errc::cancelled: the record says where to go on). A record that cannot be read
/// fails the job, and what the job made is removed.
[[nodiscard]] core::Result<Record> run_job(Services& services);

}  // namespace amilift::flow
