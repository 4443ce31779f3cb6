// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "flow/services.hpp"

namespace amilift::flow {

/// Calls `look` until it gives true, with growing intervals. `what` names the wait in the
/// time-out's message ("volume 'vol-1' to become available"); `seen` is appended to it and may be
/// changed by `look` at each call. A failure of `look` ends the wait, except Errc::unavailable: it
/// is an answer that did not come, and `look` is called again. Errors: timed_out; unavailable when
/// the last `look` had no answer.
[[nodiscard]] core::Result<> wait_until(
    core::Clock& clock, const core::Cancel& cancel, const WaitPolicy& policy,
    const std::string& what, const std::function<core::Result<bool>(std::string&)>& look);

}  // namespace amilift::flow
