// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace amilift::job {

/// What a text of a job must look like, and how a message says it ("expected ...").
struct TextRule {
    bool (*accepts)(std::string_view);
    std::string_view expected;
};

/// [A-Za-z0-9._-]{1,64}
extern const TextRule kJobIdRule;
/// "ami-" and 8 or 17 lower-case hexadecimal digits.
[[nodiscard]] bool is_ami_id(std::string_view text);
extern const TextRule kAmiIdRule;
/// "auto", or "aki-" and 8 or 17 lower-case hexadecimal digits.
extern const TextRule kAkiRule;
/// The two names that EC2 reserves for the root device of an HVM instance. Source: EC2 User Guide,
/// "Device names for volumes on Amazon EC2 instances".
extern const TextRule kRootDeviceRule;
/// A value of the kernel's console= parameter for x86: tty0, ttyS0, ttyS0,115200n8. Source:
/// Linux Documentation/admin-guide/serial-console.rst.
extern const TextRule kConsoleRule;
/// http(s)://host[:port][/path], without user information, query and fragment (RFC 3986).
extern const TextRule kEndpointUrlRule;
/// EC2 tag keys: 1 to 128 characters; the prefix "aws:" is AWS's, "amilift:" is ours.
extern const TextRule kTagKeyRule;
extern const TextRule kSha256Rule;
extern const TextRule kS3VersionRule;

/// "30s", "90m", "2h" as a duration; nullopt for anything else. At most six digits.
[[nodiscard]] std::optional<std::chrono::seconds> parse_duration(std::string_view text);

/// "20GiB" as 20: whole GiB from 1 to kMaxSizeGib, without a sign or leading zeros; nullopt for
/// anything else.
[[nodiscard]] std::optional<std::uint32_t> parse_size_gib(std::string_view text);

/// "bucket/key" or "s3://bucket/key" as bucket and key; nullopt if the bucket breaks the rules of
/// Amazon S3 ("Bucket naming rules") or the key is empty or longer than 1024 bytes.
[[nodiscard]] std::optional<std::pair<std::string, std::string>> parse_s3_location(
    std::string_view text);

}  // namespace amilift::job
