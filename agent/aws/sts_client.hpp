// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "aws/client.hpp"

namespace amilift::aws {

/// Whose keys these are.
struct CallerIdentity {
    std::string account;  ///< 12 digits
    std::string arn;
    std::string user_id;
};

/// Reads a GetCallerIdentity reply; Errc::corrupt if it is none.
[[nodiscard]] core::Result<CallerIdentity> parse_caller_identity(std::string_view xml);

/// STS (API version 2011-06-15). `client` must outlive it. Thread-safe.
class StsClient {
  public:
    explicit StsClient(Client& client) : client_(client) {}

    /// GetCallerIdentity: needs no permission, so it proves that keys, clock and endpoint are
    /// right.
    [[nodiscard]] core::Result<CallerIdentity> get_caller_identity();

  private:
    Client& client_;
};

}  // namespace amilift::aws
