// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace amilift::core {
namespace {

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "amilift", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
        made->set_pattern("[%l] %v");
        made->set_level(spdlog::level::off);
        return made;
    }();
    return *instance;
}

}  // namespace

void log_debug(std::string_view message) {
    logger().debug(message);
}

void enable_debug_log(bool on) {
    logger().set_level(on ? spdlog::level::debug : spdlog::level::off);
}

}  // namespace amilift::core
