// SPDX-License-Identifier: Apache-2.0
#include "core/clock.hpp"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>

namespace amilift::core {

void Cancel::request(std::string reason) {
    {
        const std::lock_guard lock(mutex_);
        if (requested_) return;
        requested_ = true;
        reason_ = std::move(reason);
    }
    changed_.notify_all();
}

bool Cancel::requested() const {
    const std::lock_guard lock(mutex_);
    return requested_;
}

Result<> Cancel::check() const {
    const std::lock_guard lock(mutex_);
    if (requested_) return fail(Errc::cancelled, reason_);
    return {};
}

Result<> Cancel::sleep_for(Duration d) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, d, [this] { return requested_; });
    if (requested_) return fail(Errc::cancelled, reason_);
    return {};
}

std::chrono::system_clock::time_point SystemClock::wall() const {
    return std::chrono::system_clock::now();
}

std::chrono::steady_clock::time_point SystemClock::steady() const {
    return std::chrono::steady_clock::now();
}

Result<> SystemClock::sleep_for(Duration d, const Cancel& cancel) {
    return cancel.sleep_for(d);
}

Duration Deadline::left(const Clock& clock) const {
    const auto left = std::chrono::duration_cast<Duration>(at_ - clock.steady());
    return std::max(left, Duration::zero());
}

std::string format_utc(std::chrono::system_clock::time_point t) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(t);
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(whole)));
}

Result<std::chrono::system_clock::time_point> parse_utc(const std::string& text) {
    std::tm fields{};
    const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &fields);
    if (rest == nullptr || *rest != '\0') {
        return fail(Errc::corrupt,
                    fmt::format("'{}' is no time of the form 2026-11-21T09:30:00Z", text));
    }
    return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

}  // namespace amilift::core
