// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::job {

/// How much user-data unpacks to at most, in all (bytes).
inline constexpr std::size_t kMaxUserDataBytes = std::size_t{4} * 1024 * 1024;

/// The job document that was found in user-data.
struct UserData {
    std::string text;    ///< UTF-8, line ends LF; line numbers are those of what the user wrote
    std::string origin;  ///< "user-data", "user-data (gzip), MIME part 2 'job.yaml'"
};

/// Finds the job document in an instance's user-data. A job document is a text whose first line is
/// "#amilift", a "#cloud-config" with the key `amilift`, or a MIME part of type text/x-amilift;
/// other MIME parts are left to cloud-init. Each may be packed with gzip, and the whole may be
/// base64. A byte order mark, CR LF and blank lines before the first line do no harm.
///
/// Errors: not_found, id "no-user-data" (nothing but white space); invalid_input with the id
/// "no-job" (readable, but no job in it; the message says what it is), "unreadable-user-data"
/// (binary, UTF-16, damaged gzip or MIME, too large) or "two-jobs". No message repeats what
/// user-data holds: it may be a secret.
[[nodiscard]] core::Result<UserData> decode_user_data(std::string_view bytes);

}  // namespace amilift::job
