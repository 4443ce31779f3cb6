// SPDX-License-Identifier: Apache-2.0
#include "app/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

namespace amilift::app {

ExitCode tell_error(const core::Error& error, bool json) {
    const auto code = exit_code_of(error.code);
    if (json) {
        print_json({{"version", 1},
                    {"ok", false},
                    {"error",
                     {{"code", core::to_string(error.code)},
                      {"id", error.id},
                      {"message", error.what},
                      {"hint", error.hint}}}});
    } else {
        fmt::print(stderr, "amilift: {}\n", printable_lines(error.what));
        if (!error.hint.empty()) fmt::print(stderr, "hint: {}\n", printable(error.hint));
    }
    return code;
}

void print_json(const nlohmann::ordered_json& document) {
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
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

ProgressBar::ProgressBar(core::Clock& clock)
    : clock_(clock), terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressBar::update(const dev::CopyProgress& progress) {
    if (progress.total_bytes == 0) return;
    const auto status = meter_.update(progress, clock_.steady());
    const auto fraction = dev::fraction_of(progress);
    if (progress.pass != std::exchange(last_pass_, progress.pass)) {
        finish();
        last_tenth_ = -1;
    }
    if (terminal_) {
        constexpr int kWidth = 30;
        const auto filled = static_cast<std::size_t>(fraction * kWidth);
        fmt::print(stderr, "\r[{}{}] {}\x1b[K", std::string(filled, '#'),
                   std::string(kWidth - filled, ' '), dev::describe(status));
        open_ = true;
        return;
    }
    const int tenth = static_cast<int>(fraction * 10);
    if (tenth == last_tenth_) return;
    last_tenth_ = tenth;
    fmt::print(stderr, "{}\n", dev::describe(status));
}

void ProgressBar::finish() {
    if (open_) fmt::print(stderr, "\n");
    open_ = false;
}

}  // namespace amilift::app
