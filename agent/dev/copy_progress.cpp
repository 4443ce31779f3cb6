// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_progress.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/printable.hpp"

namespace amilift::dev {
namespace {

// Before, a rate would be that of the first few chunks.
constexpr std::chrono::milliseconds kShortest{100};

std::string describe_time(std::chrono::seconds time) {
    const auto seconds = time.count();
    if (seconds < 120) return fmt::format("{} s", seconds);
    const auto minutes = (seconds + 30) / 60;
    if (minutes < 120) return fmt::format("{} min", minutes);
    return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

}  // namespace

CopyStatus CopyMeter::update(const CopyProgress& progress,
                             std::chrono::steady_clock::time_point now) {
    if (pass_ != progress.pass) {
        pass_ = progress.pass;
        start_ = now;
        start_bytes_ = progress.done_bytes;
    }
    CopyStatus status{progress, 0, std::nullopt};
    const auto elapsed = now - start_;
    if (elapsed < kShortest || progress.done_bytes <= start_bytes_) return status;
    const auto rate = static_cast<double>(progress.done_bytes - start_bytes_) /
                      std::chrono::duration<double>(elapsed).count();
    status.bytes_per_second = static_cast<std::uint64_t>(rate);
    const auto left = static_cast<double>(progress.total_bytes - progress.done_bytes) / rate;
    status.left = std::chrono::seconds(std::llround(left));
    return status;
}

double fraction_of(const CopyProgress& progress) {
    if (progress.total_bytes == 0) return 1;
    return static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes);
}

std::string describe(const CopyStatus& status) {
    const auto& progress = status.progress;
    auto text =
        fmt::format("{} {:.0f}% of {}", progress.pass == CopyPass::verify ? "verified" : "copied",
                    100 * fraction_of(progress), core::format_bytes(progress.total_bytes));
    if (progress.resumed_bytes > 0) {
        text += fmt::format(" ({} before a restart)", core::format_bytes(progress.resumed_bytes));
    }
    if (status.left) {
        text += fmt::format(", {}/s, {} left", core::format_bytes(status.bytes_per_second),
                            describe_time(*status.left));
    }
    return text;
}

}  // namespace amilift::dev
