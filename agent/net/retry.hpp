// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "core/clock.hpp"
#include "net/http.hpp"

namespace amilift::net {

/// What the body of a failed reply is.
enum class BodyKind {
    none,       ///< empty, or the reply is a success and nobody looked
    aws_error,  ///< an error document of the service, with a code
    foreign     ///< anything else: a proxy's or load balancer's page, say
};

/// What one attempt came to. Either `failure` is set or `status` is.
struct Outcome {
    std::optional<TransportFailure> failure{};
    bool request_sent = true;  ///< see HttpFailure
    int status = 0;
    std::string_view aws_code{};  ///< "RequestLimitExceeded"; empty if there is none
    BodyKind body = BodyKind::none;
};

/// What to do about an outcome.
enum class Verdict {
    success,
    transient,    ///< try again soon
    throttled,    ///< try again, later
    clock_skew,   ///< the service says that our clock is wrong: correct it, try again once
    signature,    ///< refused signature: wrong keys, or a wrong clock if the reply's Date says so
    credentials,  ///< expired or unknown credentials: renew them, try again once
    fatal         ///< trying again would give the same
};

/// The stable name of a verdict ("throttled").
[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

/// Pure. Which codes and statuses mean what: the AWS SDKs' "standard" retry mode, with two
/// differences: certificate failures are fatal, and an HTTP 500 whose body is not AWS's is fatal
/// (something else answers at that address), while foreign 502, 503 and 504 come from gateways and
/// are transient.
[[nodiscard]] Verdict classify(const Outcome& outcome) noexcept;

/// Pure. False if the service has certainly not carried the request out (it never got it, or
/// refused it with a code that says so); true if it may have. What must not happen twice is not
/// repeated after true.
[[nodiscard]] bool may_have_been_carried_out(const Outcome& outcome) noexcept;

/// How long to wait before the next try; the AWS SDKs' standard mode of 2026, but without a limit
/// of attempts: what ends them is the deadline of the call.
struct RetryParams {
    core::Duration transient_base = std::chrono::milliseconds(50);
    core::Duration throttle_base = std::chrono::seconds(1);
    core::Duration cap = std::chrono::seconds(20);
    /// A server cannot make us wait longer than this by Retry-After.
    core::Duration retry_after_cap = std::chrono::seconds(60);
};

/// Pure. The wait before the next try after `failed_attempts` (>= 1) failures in a row: random
/// between 0 and base * 2^(failed_attempts - 1), at most cap; never below what the server asked for
/// (`retry_after`). `draw` is a random number in [0, 1]; numbers outside are clamped.
[[nodiscard]] core::Duration retry_delay(const RetryParams& params, Verdict verdict,
                                         int failed_attempts,
                                         std::optional<core::Duration> retry_after,
                                         double draw) noexcept;

/// The wait that a reply asks for: x-amz-retry-after (milliseconds), else Retry-After (seconds, or
/// an HTTP date compared with `now`; RFC 9110 section 10.2.3). Nothing if absent or unreadable.
[[nodiscard]] std::optional<core::Duration> retry_after(const Headers& headers,
                                                        std::chrono::system_clock::time_point now);

}  // namespace amilift::net
