// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include "app/exit_code.hpp"
#include "app/output.hpp"
#include "app/signals.hpp"
#include "core/clock.hpp"

namespace amilift::app {

/// Runs `work(cancel)` with SIGTERM and SIGINT turned into a cancel, so that mounts and loop
/// devices are given back; a second Ctrl-C ends the process at once.
template <class Work>
[[nodiscard]] ExitCode with_signals(bool json, Work work) {
    core::Cancel cancel;
    const auto signals = SignalWatcher::start(
        [&cancel](int number) { cancel.request(fmt::format("stopped by signal {}", number)); });
    if (!signals) return tell_error(signals.error(), json);
    return work(static_cast<const core::Cancel&>(cancel));
}

}  // namespace amilift::app
