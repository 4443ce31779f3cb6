// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "app/inspection.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {

/// The documents that --json prints; each has "version": 1 and "ok": true. That of an inspection is
/// described by conf/inspection.schema.json.
[[nodiscard]] nlohmann::ordered_json to_json(const InspectionReport& report);
[[nodiscard]] nlohmann::ordered_json to_json(const worker::PlanText& plan);
[[nodiscard]] nlohmann::ordered_json to_json(const worker::ConversionResult& result);

}  // namespace amilift::app
