// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "aws/client.hpp"

namespace amilift::aws {

/// S3 (API version 2006-03-01). `client` must outlive it. Thread-safe.
class S3Client {
  public:
    explicit S3Client(Client& client) : client_(client) {}

    /// GetObject: the object's bytes, at most `limit`. A `version` asks for that version. The
    /// bucket must be in the helper's region; if not, the error says where it is. Other errors:
    /// not_found, permission_denied (also for a missing key where s3:ListBucket is not allowed),
    /// corrupt (larger than `limit`), invalid_input (no bucket name can look like that).
    /// Addresses "https://bucket.s3.region.domain/key"; the path style is used if the endpoint is
    /// overridden or the bucket's name has dots, which TLS wildcards do not cover.
    [[nodiscard]] core::Result<std::string> get_object(const std::string& bucket,
                                                       const std::string& key,
                                                       const std::optional<std::string>& version,
                                                       std::size_t limit);

  private:
    Client& client_;
};

}  // namespace amilift::aws
