// SPDX-License-Identifier: Apache-2.0
#include "aws/s3_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace amilift::aws {
namespace {

using core::Errc;
using core::fail;

/// An error document must fit, however small the object may be.
constexpr std::size_t kErrorLimit = 64 << 10;

/// 3 to 63 of a-z 0-9 . -, first and last a letter or digit (S3 User Guide, "General purpose bucket
/// naming rules").
bool bucket_name(const std::string& name) {
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return name.size() >= 3 && name.size() <= 63 && alphanumeric(name.front()) &&
           alphanumeric(name.back()) && name.find("..") == std::string::npos &&
           std::ranges::all_of(name,
                               [&](char c) { return alphanumeric(c) || c == '.' || c == '-'; });
}

}  // namespace

core::Result<std::string> S3Client::get_object(const std::string& bucket, const std::string& key,
                                               const std::optional<std::string>& version,
                                               std::size_t limit) {
    if (!bucket_name(bucket)) {
        return fail(Errc::invalid_input,
                    fmt::format("'{}' is no bucket name", one_line(bucket, 80)),
                    "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens");
    }
    if (key.empty() || key.size() > 1024) {
        return fail(Errc::invalid_input,
                    fmt::format("the key of an object in bucket '{}' has {} bytes, expected 1 to "
                                "1024",
                                bucket, key.size()),
                    "check the object's name");
    }
    AMILIFT_TRY(const auto endpoint, client_.endpoint("s3"));
    const bool path_style = endpoint.overridden || bucket.find('.') != std::string::npos;
    ServiceCall call{.service = "s3",
                     .operation = "GetObject",
                     .method = net::Method::get,
                     .path_rule = PathRule::verbatim,
                     .body_limit = std::max(limit, kErrorLimit)};
    call.path = "/" + percent_encode(key, "/");
    if (path_style) {
        call.path = "/" + bucket + call.path;
    } else {
        call.host_prefix = bucket + ".";
    }
    if (version) call.query.push_back({"versionId", *version});

    auto reply = client_.call(call);
    if (reply) {
        if (reply->body.size() <= limit) return std::move(reply->body);
        return fail(Errc::corrupt,
                    fmt::format("object '{}' of bucket '{}' has {} bytes, expected at most {}",
                                one_line(key, 200), bucket, reply->body.size(), limit),
                    "check that this is the object that was meant");
    }
    auto error = std::move(reply).error();
    if (error.id == "PermanentRedirect" || error.id == "TemporaryRedirect" ||
        error.id == "AuthorizationHeaderMalformed" ||
        error.id == "IllegalLocationConstraintException") {
        error.code = Errc::invalid_input;
        error.hint = fmt::format(
            "the bucket is in another region than the helper ('{}'): use a "
            "bucket in this region",
            client_.region());
    } else if (error.code == Errc::permission_denied && error.id.starts_with("AccessDenied")) {
        error.hint =
            "allow 's3:GetObject' (with a version: 's3:GetObjectVersion') on the object, "
            "and check its name: without 's3:ListBucket' S3 hides that a key is missing";
    }
    return std::unexpected(std::move(error).with_context(
        fmt::format("object '{}' of bucket '{}'", one_line(key, 200), bucket)));
}

}  // namespace amilift::aws
