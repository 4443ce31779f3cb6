// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "worker/conversion.hpp"

namespace amilift::app {

/// The documents that --json prints; each has "version": 1 and "ok": true.
[[nodiscard]] nlohmann::ordered_json to_json(const worker::Inspection& inspection);
[[nodiscard]] nlohmann::ordered_json to_json(const worker::PlanText& plan);
[[nodiscard]] nlohmann::ordered_json to_json(const worker::ConversionResult& result);

/// The same inspection for people, on standard output.
void print_inspection(const std::string& source, const worker::Inspection& inspection);

}  // namespace amilift::app
