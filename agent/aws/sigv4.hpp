// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "aws/secret.hpp"
#include "core/result.hpp"
#include "net/http.hpp"

namespace amilift::aws {

/// A name and a value, not percent-encoded.
struct QueryPair {
    std::string name;
    std::string value;
};

/// RFC 3986 percent-encoding as SigV4 demands: everything but A-Z a-z 0-9 - _ . ~ becomes %XX with
/// upper-case digits. `keep` holds further characters that stay as they are ("/" in paths).
[[nodiscard]] std::string percent_encode(std::string_view text, std::string_view keep = {});

/// The pairs encoded, sorted by name and then value, "=" also before an empty value. It is both the
/// canonical form and what is put into the URL.
[[nodiscard]] std::string canonical_query(const std::vector<QueryPair>& query);

/// How the path enters the signature.
enum class PathRule {
    normalized,  ///< dots and empty segments removed, then encoded once more: all but S3
    verbatim     ///< as on the request line: S3
};

/// What is signed for.
struct SigningScope {
    std::string region;
    std::string service;  ///< signing name: "ec2", "s3"
    std::chrono::system_clock::time_point time;
};

struct SigningInput {
    std::string method;
    std::string path = "/";  ///< as on the request line, percent-encoded
    std::vector<QueryPair> query{};
    net::Headers headers{};    ///< must hold Host and X-Amz-Date
    std::string payload_hash;  ///< hex SHA-256 of the body, or "UNSIGNED-PAYLOAD"
    PathRule path_rule = PathRule::normalized;
};

/// "20150830T123600Z", the form of X-Amz-Date.
[[nodiscard]] std::string amz_date(std::chrono::system_clock::time_point time);

/// Step 1 of Signature Version 4: method, path, query, headers, signed names, payload hash. Headers
/// that proxies or libcurl may change (User-Agent, Connection, ...) are left out.
[[nodiscard]] std::string canonical_request(const SigningInput& input);

/// Step 2: algorithm, time, scope, hash of the canonical request. Errc::internal only if OpenSSL
/// fails.
[[nodiscard]] core::Result<std::string> string_to_sign(std::string_view canonical_request,
                                                       const SigningScope& scope);

/// Steps 3 and 4: the value of the Authorization header. Errc::internal only if OpenSSL fails.
/// The derived key is not kept: four HMACs cost microseconds, a kept key is one more secret.
/// Source: AWS IAM User Guide, "Create a signed AWS API request".
[[nodiscard]] core::Result<std::string> authorization(const SigningInput& input,
                                                      const SigningScope& scope,
                                                      const std::string& access_key_id,
                                                      const Secret& secret_access_key);

}  // namespace amilift::aws
