// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace amilift::core {

/// Library code logs at debug level only, through this; the app decides where it goes (spdlog) and
/// reports everything that a user should see. Never pass tokens, credentials or user-data.
void log_debug(std::string_view message);

/// Debug messages on or off (off by default). Standard error, "[debug] " before each line.
void enable_debug_log(bool on);

}  // namespace amilift::core
