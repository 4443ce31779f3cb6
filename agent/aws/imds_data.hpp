// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "aws/credentials.hpp"
#include "core/result.hpp"

// The JSON document of the metadata service that holds keys. Pure.
namespace amilift::aws {

/// Reads what /iam/security-credentials/<role> gives. Errc::unavailable if the service says that it
/// has no keys now (its Code is not "Success"), corrupt if the document does not have its form.
/// Messages never hold the document.
[[nodiscard]] core::Result<Credentials> parse_role_credentials(std::string_view json,
                                                               std::string_view role);

/// Reads "2026-11-21T09:30:00Z", with or without a fraction of a second (dropped); nothing if it
/// is not of that form or no date.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_utc(std::string_view text);

}  // namespace amilift::aws
