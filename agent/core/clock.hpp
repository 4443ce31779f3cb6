// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

#include "core/result.hpp"

namespace amilift::core {

using Duration = std::chrono::milliseconds;

/// Set once when the process is asked to stop (SIGTERM, deadline). Every wait listens to it.
class Cancel {
  public:
    /// Wakes all waiters; `reason` ends up in their error. The first call wins.
    void request(std::string reason);
    [[nodiscard]] bool requested() const;
    /// Errc::cancelled with the reason once requested, else success.
    [[nodiscard]] Result<> check() const;
    /// Sleeps for `d` or until requested; returns check().
    [[nodiscard]] Result<> sleep_for(Duration d) const;

  private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    bool requested_ = false;
    std::string reason_;
};

/// Time, as a seam: tests use a clock that moves only when somebody sleeps.
class Clock {
  public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;
    /// Wall-clock time (for signatures, tags and names).
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall() const = 0;
    /// Monotonic time (for deadlines).
    [[nodiscard]] virtual std::chrono::steady_clock::time_point steady() const = 0;
    /// Sleeps, or returns Errc::cancelled as soon as `cancel` is requested.
    [[nodiscard]] virtual Result<> sleep_for(Duration d, const Cancel& cancel) = 0;
};

/// The real one.
class SystemClock final : public Clock {
  public:
    [[nodiscard]] std::chrono::system_clock::time_point wall() const override;
    [[nodiscard]] std::chrono::steady_clock::time_point steady() const override;
    [[nodiscard]] Result<> sleep_for(Duration d, const Cancel& cancel) override;
};

/// A point in monotonic time by which something must be done.
class Deadline {
  public:
    Deadline(const Clock& clock, Duration in) : at_(clock.steady() + in) {}
    [[nodiscard]] bool passed(const Clock& clock) const { return clock.steady() >= at_; }
    /// Time left, never negative.
    [[nodiscard]] Duration left(const Clock& clock) const;

  private:
    std::chrono::steady_clock::time_point at_;
};

/// "2026-11-21T09:30:00Z" (RFC 3339, UTC, whole seconds).
[[nodiscard]] std::string format_utc(std::chrono::system_clock::time_point t);

/// The reverse of format_utc(); Errc::corrupt for anything else.
[[nodiscard]] Result<std::chrono::system_clock::time_point> parse_utc(const std::string& text);

}  // namespace amilift::core
