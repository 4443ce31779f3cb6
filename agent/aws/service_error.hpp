// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::aws {

/// What a service says about a refused request.
struct ServiceError {
    std::string code;     ///< "InvalidVolume.NotFound"
    std::string message;  ///< the service's words, at most 1000 bytes, control characters removed
    std::string request_id;
    std::string region;  ///< S3 only: where the bucket is, if the reply says so
};

/// Reads the error documents of EC2 (<Response><Errors><Error>), of the query services
/// (<ErrorResponse><Error>) and of S3 (<Error>). Nothing if `body` is none of them or has no code.
[[nodiscard]] std::optional<ServiceError> parse_service_error(std::string_view body);

/// The kind of failure that an AWS error code stands for; `status` decides where the code says
/// nothing. The table is in Ec2Api's description (aws/ec2.hpp).
[[nodiscard]] core::Errc errc_of(std::string_view code, int status);

/// `text` on one line: control characters and line breaks become spaces, at most `limit` bytes.
[[nodiscard]] std::string one_line(std::string_view text, std::size_t limit);

}  // namespace amilift::aws
