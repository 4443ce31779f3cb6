// SPDX-License-Identifier: Apache-2.0
#include "app/helper_control.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "core/atomic_file.hpp"
#include "core/fd.hpp"

namespace amilift::app {
namespace {

/// Seconds since boot, as /proc/uptime counts them (suspend included), rounded down.
core::Result<std::int64_t> uptime_seconds() {
    AMILIFT_TRY(const auto text, core::read_file("/proc/uptime", 256));
    char* end = nullptr;
    const auto value = std::strtod(text.c_str(), &end);
    if (end == text.c_str()) {
        return core::fail(core::Errc::corrupt,
                          fmt::format("/proc/uptime holds '{}', expected seconds", text));
    }
    return static_cast<std::int64_t>(value);
}

}  // namespace

SystemHelperControl::SystemHelperControl(core::CommandRunner& commands, core::Cancel& job_cancel,
                                         std::string deadline_path)
    : commands_(commands), job_cancel_(job_cancel), deadline_path_(std::move(deadline_path)) {}

SystemHelperControl::~SystemHelperControl() {
    stop_timer();
}

void SystemHelperControl::stop_timer() {
    timer_cancel_.request("the deadline is not needed any more");
    if (timer_.joinable()) timer_.join();
}

core::Result<> SystemHelperControl::arm_deadline(std::chrono::seconds left) {
    AMILIFT_TRY(const auto now, uptime_seconds());
    const auto gone_by = now + left.count() + flow::kDeadlineGrace.count();
    AMILIFT_CHECK(core::write_file_atomically(deadline_path_, fmt::format("{}\n", gone_by)));
    if (timer_.joinable()) return {};  // armed already: the job's deadline does not move
    timer_ = std::thread([this, left] {
        // Cut short only when the agent is done.
        if (timer_cancel_.sleep_for(left)) {
            job_cancel_.request(fmt::format(
                "the job's deadline has passed (last {} s of it in this run)", left.count()));
        }
    });
    return {};
}

core::Result<> SystemHelperControl::disarm_deadline() {
    stop_timer();
    return core::write_file_atomically(deadline_path_, "never\n");
}

core::Result<> SystemHelperControl::power_off() {
    const core::Command command{{"systemctl", "--no-block", "poweroff"}};
    AMILIFT_CHECK(commands_.run_ok(command));
    return {};
}

}  // namespace amilift::app
