// SPDX-License-Identifier: Apache-2.0
#include "net/retry.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace amilift::net {
namespace {

struct CodeRow {
    std::string_view code;
    Verdict verdict;
};

// A code says more than a status: the table is asked first.
constexpr std::array kCodes{
    CodeRow{"BandwidthLimitExceeded", Verdict::throttled},
    CodeRow{"EC2ThrottledException", Verdict::throttled},
    CodeRow{"PriorRequestNotComplete", Verdict::throttled},
    CodeRow{"ProvisionedThroughputExceededException", Verdict::throttled},
    CodeRow{"RequestLimitExceeded", Verdict::throttled},
    CodeRow{"RequestThrottled", Verdict::throttled},
    CodeRow{"RequestThrottledException", Verdict::throttled},
    CodeRow{"SlowDown", Verdict::throttled},
    CodeRow{"ThrottledException", Verdict::throttled},
    CodeRow{"Throttling", Verdict::throttled},
    CodeRow{"ThrottlingException", Verdict::throttled},
    CodeRow{"TooManyRequestsException", Verdict::throttled},
    CodeRow{"TransactionInProgressException", Verdict::throttled},

    CodeRow{"BadDigest", Verdict::transient},  // S3: the body was damaged on its way
    CodeRow{"RequestTimeout", Verdict::transient},
    CodeRow{"RequestTimeoutException", Verdict::transient},
    CodeRow{"ResourceContention", Verdict::transient},

    CodeRow{"RequestInTheFuture", Verdict::clock_skew},
    CodeRow{"RequestTimeTooSkewed", Verdict::clock_skew},

    CodeRow{"AuthFailure", Verdict::signature},
    CodeRow{"InvalidSignatureException", Verdict::signature},
    CodeRow{"RequestExpired", Verdict::signature},
    CodeRow{"SignatureDoesNotMatch", Verdict::signature},

    CodeRow{"ExpiredToken", Verdict::credentials},
    CodeRow{"ExpiredTokenException", Verdict::credentials},
    CodeRow{"InvalidClientTokenId", Verdict::credentials},
    CodeRow{"UnrecognizedClientException", Verdict::credentials},
};

std::optional<Verdict> verdict_of_code(std::string_view code) noexcept {
    const auto row = std::ranges::find(kCodes, code, &CodeRow::code);
    if (row == kCodes.end()) return std::nullopt;
    return row->verdict;
}

Verdict verdict_of_failure(TransportFailure failure) noexcept {
    switch (failure) {
        case TransportFailure::resolve:
        case TransportFailure::connect:
        case TransportFailure::timed_out:
        case TransportFailure::connection_lost:
            return Verdict::transient;
        case TransportFailure::invalid_request:
        case TransportFailure::untrusted:
        case TransportFailure::reply_too_large:
        case TransportFailure::malformed_reply:
        case TransportFailure::cancelled:
        case TransportFailure::internal:
            return Verdict::fatal;
    }
    return Verdict::fatal;
}

std::optional<std::int64_t> whole_number(const std::string& text) {
    std::int64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < 0) return std::nullopt;
    return value;
}

}  // namespace

std::string_view to_string(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::success:
            return "success";
        case Verdict::transient:
            return "transient";
        case Verdict::throttled:
            return "throttled";
        case Verdict::clock_skew:
            return "clock_skew";
        case Verdict::signature:
            return "signature";
        case Verdict::credentials:
            return "credentials";
        case Verdict::fatal:
            return "fatal";
    }
    return "fatal";
}

Verdict classify(const Outcome& outcome) noexcept {
    if (outcome.failure) return verdict_of_failure(*outcome.failure);
    if (outcome.status >= 200 && outcome.status < 300) return Verdict::success;
    if (const auto known = verdict_of_code(outcome.aws_code)) return *known;
    switch (outcome.status) {
        case 408:
        case 502:
        case 503:
        case 504:
            return Verdict::transient;
        case 429:
        case 509:
            return Verdict::throttled;
        case 500:
            return outcome.body == BodyKind::foreign ? Verdict::fatal : Verdict::transient;
        default:
            return Verdict::fatal;
    }
}

bool may_have_been_carried_out(const Outcome& outcome) noexcept {
    if (outcome.failure) return outcome.request_sent;
    if (outcome.status < 500) return outcome.status >= 200 && outcome.status < 300;
    if (outcome.body != BodyKind::aws_error) return true;
    // The service itself says that it did not take the request up.
    return outcome.status != 503 && verdict_of_code(outcome.aws_code) != Verdict::throttled;
}

core::Duration retry_delay(const RetryParams& params, Verdict verdict, int failed_attempts,
                           std::optional<core::Duration> retry_after, double draw) noexcept {
    const auto base = verdict == Verdict::throttled ? params.throttle_base : params.transient_base;
    auto ceiling = std::min(base, params.cap);
    for (int i = 1; i < failed_attempts && ceiling < params.cap; ++i) {
        ceiling = std::min(ceiling * 2, params.cap);
    }
    const auto share = std::isnan(draw) ? 1.0 : std::clamp(draw, 0.0, 1.0);
    const auto wait = core::Duration(std::llround(static_cast<double>(ceiling.count()) * share));
    if (!retry_after) return wait;
    return std::max(wait, std::clamp(*retry_after, core::Duration::zero(), params.retry_after_cap));
}

std::optional<core::Duration> retry_after(const Headers& headers,
                                          std::chrono::system_clock::time_point now) {
    // A day is longer than any caller waits; the bound keeps the arithmetic from overflowing.
    constexpr std::int64_t kDayMs = 24LL * 60 * 60 * 1000;
    if (const auto* text = find_header(headers, "x-amz-retry-after")) {
        if (const auto ms = whole_number(*text)) return core::Duration(std::min(*ms, kDayMs));
    }
    const auto* text = find_header(headers, "retry-after");
    if (!text) return std::nullopt;
    if (const auto seconds = whole_number(*text)) {
        return core::Duration(std::min(*seconds, kDayMs / 1000) * 1000);
    }
    const auto date = parse_http_date(*text);
    if (!date) return std::nullopt;
    return std::clamp(std::chrono::duration_cast<core::Duration>(*date - now),
                      core::Duration::zero(), core::Duration(kDayMs));
}

}  // namespace amilift::net
