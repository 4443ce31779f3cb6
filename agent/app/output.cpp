// SPDX-License-Identifier: Apache-2.0
#include "app/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace amilift::app {

ExitCode tell_error(const core::Error& error, bool json) {
    const auto code = exit_code_of(error.code);
    if (json) {
        const nlohmann::ordered_json document{{"version", 1},
                                              {"ok", false},
                                              {"error",
                                               {{"code", core::to_string(error.code)},
                                                {"id", error.id},
                                                {"message", error.what},
                                                {"hint", error.hint}}}};
        fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
        fmt::print(stderr, "amilift: {}\n", printable_lines(error.what));
        if (!error.hint.empty()) fmt::print(stderr, "hint: {}\n", printable(error.hint));
    }
    return code;
}

std::string printable_lines(std::string_view text) {
    std::string out;
    while (true) {
        const auto end = text.find('\n');
        out += printable(text.substr(0, end));
        if (end == std::string_view::npos) return out;
        out += '\n';
        text.remove_prefix(end + 1);
    }
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr double kKiB = 1024;
    const auto value = static_cast<double>(bytes);
    if (value >= kKiB * kKiB * kKiB) return fmt::format("{:.1f} GiB", value / (kKiB * kKiB * kKiB));
    if (value >= kKiB * kKiB) return fmt::format("{:.0f} MiB", value / (kKiB * kKiB));
    if (value >= kKiB) return fmt::format("{:.0f} KiB", value / kKiB);
    return fmt::format("{} bytes", bytes);
}

ProgressBar::ProgressBar(core::Clock& clock)
    : clock_(clock), start_(clock.steady()), terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressBar::update(const dev::CopyProgress& progress) {
    if (progress.total_bytes == 0) return;
    const auto fraction =
        static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes);
    const auto seconds = std::chrono::duration<double>(clock_.steady() - start_).count();
    const auto rate = seconds > 0 ? static_cast<double>(progress.done_bytes) / seconds : 0;
    const auto left =
        rate > 0 ? static_cast<double>(progress.total_bytes - progress.done_bytes) / rate : 0;
    const auto numbers = fmt::format("{:3.0f}% of {}, {}/s, {:.0f} s left", fraction * 100,
                                     format_bytes(progress.total_bytes),
                                     format_bytes(static_cast<std::uint64_t>(rate)), left);
    if (terminal_) {
        constexpr int kWidth = 30;
        const auto filled = static_cast<std::size_t>(fraction * kWidth);
        fmt::print(stderr, "\rcopy [{}{}] {}\x1b[K", std::string(filled, '#'),
                   std::string(kWidth - filled, ' '), numbers);
        open_ = true;
        return;
    }
    const int tenth = static_cast<int>(fraction * 10);
    if (tenth == last_tenth_) return;
    last_tenth_ = tenth;
    fmt::print(stderr, "copy: {}\n", numbers);
}

void ProgressBar::finish() {
    if (open_) fmt::print(stderr, "\n");
    open_ = false;
}

}  // namespace amilift::app
