// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "aws/credentials.hpp"
#include "core/result.hpp"

// The two JSON documents of the metadata service. Pure.
namespace amilift::aws {

/// The instance identity document.
struct InstanceIdentity {
    std::string account_id;
    std::string region;
    std::string availability_zone;
    std::string instance_id;
    std::string image_id;
    std::string instance_type;
    std::string architecture;
    std::string private_ip;
    std::string pending_time;
    std::string document;  ///< the exact bytes, which AWS's signature covers
};

/// Errc::corrupt if `json` is no object or lacks account, region or instance id; absent or null
/// other fields are empty.
[[nodiscard]] core::Result<InstanceIdentity> parse_identity(std::string json);

/// Reads what /iam/security-credentials/<role> gives. Errc::unavailable if the service says that it
/// has no keys now (its Code is not "Success"), corrupt if the document does not have its form.
/// Messages never hold the document.
[[nodiscard]] core::Result<Credentials> parse_role_credentials(std::string_view json,
                                                               std::string_view role);

/// Reads "2026-11-21T09:30:00Z", with or without a fraction of a second (dropped); nothing if it
/// is not of that form or no date.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_utc(std::string_view text);

}  // namespace amilift::aws
