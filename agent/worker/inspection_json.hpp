// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "worker/conversion.hpp"

namespace amilift::worker {

/// An inspection as the disk worker tells it to the agent: all that `amilift inspect` prints or
/// judges by.
[[nodiscard]] nlohmann::json inspection_to_json(const Inspection& inspection);

/// Takes nothing on trust: types, list lengths, enumerations and indexes are checked. Throws
/// std::exception, with the field that is wrong; never leaves protocol.cpp.
[[nodiscard]] Inspection inspection_from_json(const nlohmann::json& json);

}  // namespace amilift::worker
