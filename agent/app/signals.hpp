// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <functional>
#include <thread>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::app {

/// Hears SIGTERM and SIGINT in a thread of its own, so that nothing runs in a signal handler.
/// SIGPIPE is ignored. A SIGINT after the first signal ends the process at once: somebody does not
/// want to wait for the clean-up. Must be made before any other thread, so that all of them inherit
/// the blocked signals.
class SignalWatcher {
  public:
    /// `on_signal` is called once, with the signal's number.
    [[nodiscard]] static core::Result<SignalWatcher> start(std::function<void(int)> on_signal);
    SignalWatcher(SignalWatcher&&) = default;
    SignalWatcher& operator=(SignalWatcher&&) = delete;
    SignalWatcher(const SignalWatcher&) = delete;
    SignalWatcher& operator=(const SignalWatcher&) = delete;
    ~SignalWatcher();

  private:
    SignalWatcher() = default;
    core::Fd wake_;  ///< eventfd: ends the thread
    std::thread thread_;
};

}  // namespace amilift::app
