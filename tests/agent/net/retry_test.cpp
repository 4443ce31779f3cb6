// SPDX-License-Identifier: Apache-2.0
#include "net/retry.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace amilift::net {
namespace {

using namespace std::chrono_literals;
using core::Duration;
using enum Verdict;

struct OutcomeRow {
    std::string name;
    Outcome outcome;
    Verdict verdict;
    bool may_have_happened;
};

Outcome transport(TransportFailure failure, bool sent) {
    return {.failure = failure, .request_sent = sent};
}

Outcome reply(int status, std::string_view code = {}, BodyKind body = BodyKind::none) {
    return {.status = status, .aws_code = code, .body = code.empty() ? body : BodyKind::aws_error};
}

class RetryOutcome : public ::testing::TestWithParam<OutcomeRow> {};

TEST_P(RetryOutcome, IsClassified) {
    EXPECT_EQ(to_string(classify(GetParam().outcome)), to_string(GetParam().verdict));
}

TEST_P(RetryOutcome, SaysWhetherItMayHaveBeenCarriedOut) {
    EXPECT_EQ(may_have_been_carried_out(GetParam().outcome), GetParam().may_have_happened);
}

const std::vector<OutcomeRow> kRows{
    {"ok", reply(200), success, true},
    {"created", reply(201), success, true},
    {"no_address", transport(TransportFailure::resolve, false), transient, false},
    {"refused_connection", transport(TransportFailure::connect, false), transient, false},
    {"connect_timeout", transport(TransportFailure::timed_out, false), transient, false},
    {"reply_timeout", transport(TransportFailure::timed_out, true), transient, true},
    {"lost_connection", transport(TransportFailure::connection_lost, true), transient, true},
    {"untrusted", transport(TransportFailure::untrusted, false), fatal, false},
    {"too_large", transport(TransportFailure::reply_too_large, true), fatal, true},
    {"malformed", transport(TransportFailure::malformed_reply, true), fatal, true},
    {"cancelled", transport(TransportFailure::cancelled, true), fatal, true},
    {"bad_url", transport(TransportFailure::invalid_request, false), fatal, false},
    {"curl_failure", transport(TransportFailure::internal, false), fatal, false},
    {"redirect", reply(301), fatal, false},
    {"bad_request", reply(400), fatal, false},
    {"not_found", reply(400, "InvalidVolume.NotFound"), fatal, false},
    {"unauthorized_operation", reply(403, "UnauthorizedOperation"), fatal, false},
    {"request_timeout_status", reply(408), transient, false},
    {"too_many_requests_status", reply(429), throttled, false},
    {"bandwidth_status", reply(509), throttled, true},
    {"aws_internal_error", reply(500, "InternalError"), transient, true},
    {"empty_500", reply(500), transient, true},
    {"foreign_500", reply(500, {}, BodyKind::foreign), fatal, true},
    {"foreign_502", reply(502, {}, BodyKind::foreign), transient, true},
    {"foreign_503", reply(503, {}, BodyKind::foreign), transient, true},
    {"foreign_504", reply(504, {}, BodyKind::foreign), transient, true},
    {"not_implemented", reply(501), fatal, true},
    {"aws_unavailable", reply(503, "Unavailable"), transient, false},
    {"throttled_with_503", reply(503, "RequestLimitExceeded"), throttled, false},
    {"throttled_with_400", reply(400, "Throttling"), throttled, false},
    {"throttled_with_500", reply(500, "ThrottlingException"), throttled, false},
    {"slow_down", reply(503, "SlowDown"), throttled, false},
    {"s3_request_timeout", reply(400, "RequestTimeout"), transient, false},
    {"resource_contention", reply(500, "ResourceContention"), transient, true},
    {"clock_in_the_future", reply(403, "RequestInTheFuture"), clock_skew, false},
    {"clock_too_skewed", reply(403, "RequestTimeTooSkewed"), clock_skew, false},
    {"auth_failure", reply(401, "AuthFailure"), signature, false},
    {"bad_signature", reply(403, "SignatureDoesNotMatch"), signature, false},
    {"request_expired", reply(400, "RequestExpired"), signature, false},
    {"expired_token", reply(400, "ExpiredToken"), credentials, false},
    {"unknown_key", reply(403, "InvalidClientTokenId"), credentials, false},
    {"quota_is_not_throttling", reply(400, "VolumeLimitExceeded"), fatal, false},
};

INSTANTIATE_TEST_SUITE_P(Table, RetryOutcome, ::testing::ValuesIn(kRows),
                         [](const auto& row) { return row.param.name; });

struct DelayRow {
    std::string name;
    Verdict verdict;
    int failed_attempts;
    std::optional<Duration> asked;
    double draw;
    Duration expected;
};

class RetryDelay : public ::testing::TestWithParam<DelayRow> {};

TEST_P(RetryDelay, IsWhatTheTableSays) {
    const auto& row = GetParam();
    EXPECT_EQ(retry_delay({}, row.verdict, row.failed_attempts, row.asked, row.draw), row.expected);
}

constexpr auto kNan = std::numeric_limits<double>::quiet_NaN();

const std::vector<DelayRow> kDelays{
    {"first_transient", transient, 1, {}, 1.0, 50ms},
    {"first_transient_half", transient, 1, {}, 0.5, 25ms},
    {"no_jitter_at_all", transient, 5, {}, 0.0, 0ms},
    {"fourth_transient", transient, 4, {}, 1.0, 400ms},
    {"first_throttle", throttled, 1, {}, 1.0, 1s},
    {"third_throttle", throttled, 3, {}, 0.25, 1s},
    {"cap", throttled, 6, {}, 1.0, 20s},
    {"cap_without_overflow", throttled, std::numeric_limits<int>::max(), {}, 1.0, 20s},
    {"attempt_zero_is_like_the_first", transient, 0, {}, 1.0, 50ms},
    {"negative_attempt", transient, -3, {}, 1.0, 50ms},
    {"asked_is_a_floor", transient, 1, 3s, 1.0, 3s},
    {"asked_does_not_shorten", throttled, 4, 1s, 1.0, 8s},
    {"asked_beyond_our_cap", transient, 1, 45s, 1.0, 45s},
    {"asked_too_much", transient, 1, 1h, 1.0, 60s},
    {"asked_negative", transient, 1, -5s, 0.0, 0ms},
    {"draw_above_one", transient, 1, {}, 7.0, 50ms},
    {"draw_below_zero", transient, 1, {}, -1.0, 0ms},
    {"draw_not_a_number", transient, 1, {}, kNan, 50ms},
};

INSTANTIATE_TEST_SUITE_P(Table, RetryDelay, ::testing::ValuesIn(kDelays),
                         [](const auto& row) { return row.param.name; });

TEST(RetryDelayLimits, BaseAboveTheCapIsTheCap) {
    const RetryParams params{.transient_base = 1min, .cap = 2s};
    EXPECT_EQ(retry_delay(params, transient, 1, {}, 1.0), Duration(2s));
}

TEST(RetryAfter, ReadsSecondsMillisecondsAndDates) {
    const auto now = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").value();
    const auto read = [&](const Headers& headers) { return retry_after(headers, now); };
    EXPECT_EQ(read({}), std::nullopt);
    EXPECT_EQ(read({{"Retry-After", "120"}}), Duration(120s));
    EXPECT_EQ(read({{"retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"}}), Duration(10s));
    EXPECT_EQ(read({{"Retry-After", "Sun, 06 Nov 1994 08:00:00 GMT"}}), Duration(0));
    EXPECT_EQ(read({{"x-amz-retry-after", "1500"}, {"Retry-After", "9"}}), Duration(1500ms));
    EXPECT_EQ(read({{"x-amz-retry-after", "soon"}, {"Retry-After", "9"}}), Duration(9s));
    EXPECT_EQ(read({{"Retry-After", "-1"}}), std::nullopt);
    EXPECT_EQ(read({{"Retry-After", "9e9"}}), std::nullopt);
    EXPECT_EQ(read({{"Retry-After", "9223372036854775807"}}), Duration(24h));
    EXPECT_EQ(read({{"Retry-After", "99999999999999999999999"}}), std::nullopt);
}

}  // namespace
}  // namespace amilift::net
