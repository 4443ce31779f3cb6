// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "core/clock.hpp"
#include "core/command.hpp"

namespace amilift::worker {

/// Runs commands by `inner`, and calls `beat` from another thread `every` so often while one runs,
/// but no longer than the command's own time-out: e2fsck of a large volume says nothing for hours,
/// and is not a disk that does not answer. All three must outlive this object.
class HeartbeatCommands final : public core::CommandRunner {
  public:
    HeartbeatCommands(core::CommandRunner& inner, core::Duration every,
                      const std::function<void()>& beat)
        : inner_(inner), every_(every), beat_(beat) {}

    /// The result of `inner`; that of errno when there is no thread to be had.
    [[nodiscard]] core::Result<core::CommandOutput> run(const core::Command& command) override;

  private:
    core::CommandRunner& inner_;
    core::Duration every_;
    const std::function<void()>& beat_;
};

}  // namespace amilift::worker
