// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/clock.hpp"

namespace amilift::fakes {

/// Time that moves only when somebody sleeps.
class ManualClock final : public core::Clock {
  public:
    [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
        return std::chrono::system_clock::from_time_t(1'700'000'000) + elapsed_ + wall_step_;
    }
    [[nodiscard]] std::chrono::steady_clock::time_point steady() const override {
        return std::chrono::steady_clock::time_point(std::chrono::hours(1)) + elapsed_;
    }
    [[nodiscard]] core::Result<> sleep_for(core::Duration d, const core::Cancel& cancel) override {
        if (auto told = cancel.check(); !told) return told;
        elapsed_ += d;
        return {};
    }
    void advance(core::Duration d) { elapsed_ += d; }
    /// Somebody sets the wall clock, as NTP does after a boot.
    void step_wall(core::Duration d) { wall_step_ += d; }
    [[nodiscard]] core::Duration elapsed() const { return elapsed_; }

  private:
    core::Duration elapsed_{};
    core::Duration wall_step_{};
};

}  // namespace amilift::fakes
