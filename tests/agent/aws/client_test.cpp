// SPDX-License-Identifier: Apache-2.0
#include "aws/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.hpp"
#include "core/sha256.hpp"
#include "tests/agent/aws/scripted_transport.hpp"

namespace amilift::aws {
namespace {

using namespace std::chrono_literals;
using core::Duration;
using core::Errc;
using fakes::ManualClock;
using net::TransportFailure;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::ec2_error;
using tests::ScriptedTransport;

/// Gives key-1, and after each renewal the next one.
class CountingCredentials final : public CredentialsProvider {
  public:
    core::Result<Credentials> get() override {
        if (absent) return core::fail(Errc::not_found, "no role is attached");
        return Credentials{.access_key_id = "key-" + std::to_string(number),
                           .secret_access_key = Secret("the-secret-key"),
                           .session_token = Secret("the-session-token")};
    }
    core::Result<Credentials> renew(const std::string& rejected) override {
        rejected_ids.push_back(rejected);
        if (!renewable) return core::fail(Errc::permission_denied, "no other keys");
        ++number;
        return get();
    }
    int number = 1;
    bool renewable = true;
    bool absent = false;
    std::vector<std::string> rejected_ids;
};

class AwsClient : public ::testing::Test {
  protected:
    ScriptedTransport transport;
    CountingCredentials credentials;
    ManualClock clock;
    core::Cancel cancel;
    ClientOptions options{.random = [] { return 1.0; }};
    EndpointOptions endpoints{.region = "eu-west-1"};

    static ServiceCall call(Repeat repeat = Repeat::safe) {
        return {.service = "ec2",
                .operation = "DescribeVolumes",
                .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                .body = "Action=DescribeVolumes",
                .repeat = repeat};
    }
    core::Result<net::HttpResponse> run(const ServiceCall& what = call()) {
        Client client(transport, credentials, clock, cancel, endpoints, options);
        return client.call(what);
    }
    /// The server's Date when it is `ahead` of our clock.
    net::Headers date(std::chrono::seconds ahead) const {
        return {{"Date", fmt_date(clock.wall() + ahead)}};
    }
    static std::string fmt_date(std::chrono::system_clock::time_point t) {
        const auto seconds = std::chrono::system_clock::to_time_t(t);
        std::tm parts{};
        ::gmtime_r(&seconds, &parts);
        std::array<char, 64> text{};
        std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        return text.data();
    }
};

TEST_F(AwsClient, SignsAndGivesTheReply) {
    transport.then(200, "<ok/>");
    const auto reply = run();
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_EQ(reply->body, "<ok/>");
    ASSERT_EQ(transport.requests.size(), 1U);
    const auto& sent = transport.requests[0];
    EXPECT_EQ(sent.url, "https://ec2.eu-west-1.amazonaws.com/");
    EXPECT_EQ(sent.body, "Action=DescribeVolumes");
    EXPECT_EQ(transport.header(0, "Host"), "ec2.eu-west-1.amazonaws.com");
    EXPECT_EQ(transport.header(0, "X-Amz-Date"), "20231114T221320Z");
    EXPECT_EQ(transport.header(0, "X-Amz-Security-Token"), "the-session-token");
    EXPECT_EQ(transport.header(0, "User-Agent"), "amilift");
    EXPECT_EQ(transport.header(0, "X-Amz-Content-Sha256"), "");
    EXPECT_THAT(transport.header(0, "Authorization"),
                HasSubstr("Credential=key-1/20231114/eu-west-1/ec2/aws4_request, SignedHeaders="
                          "content-type;host;x-amz-date;x-amz-security-token, Signature="));
    EXPECT_EQ(sent.connection, net::ConnectionUse::pooled);
}

TEST_F(AwsClient, UrlHoldsTheCanonicalQuery) {
    transport.then(200, "");
    auto what = call();
    what.service = "s3";
    what.method = net::Method::get;
    what.host_prefix = "bucket.";
    what.path = "/a%20b";
    what.query = {{"z", "1"}, {"a", "x y"}};
    ASSERT_TRUE(run(what));
    EXPECT_EQ(transport.requests[0].url,
              "https://bucket.s3.eu-west-1.amazonaws.com/a%20b?a=x%20y&z=1");
    EXPECT_EQ(transport.header(0, "Host"), "bucket.s3.eu-west-1.amazonaws.com");
    EXPECT_EQ(transport.header(0, "X-Amz-Content-Sha256"), core::sha256_hex(what.body).value());
}

TEST_F(AwsClient, OverrideKeepsRegionAndServiceOfTheSignature) {
    endpoints.overrides["ec2"] = "http://127.0.0.1:5000";
    transport.then(200, "");
    ASSERT_TRUE(run());
    EXPECT_EQ(transport.requests[0].url, "http://127.0.0.1:5000/");
    EXPECT_EQ(transport.header(0, "Host"), "127.0.0.1:5000");
    EXPECT_THAT(transport.header(0, "Authorization"), HasSubstr("/eu-west-1/ec2/aws4_request"));
}

TEST_F(AwsClient, RepeatsTransientFailuresWithBackOffAndFreshSignatures) {
    transport.then(TransportFailure::connect, false);
    transport.then(503, ec2_error("Unavailable"));
    transport.then(TransportFailure::timed_out, true);
    transport.then(502, "<html>Bad gateway</html>");
    transport.then(200, "done");
    transport.on_send = [&](const auto&) { clock.advance(1s); };
    const auto reply = run();
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_EQ(clock.elapsed(), 5s + 50ms + 100ms + 200ms + 400ms);
    EXPECT_EQ(transport.header(0, "X-Amz-Date"), "20231114T221320Z");
    EXPECT_EQ(transport.header(4, "X-Amz-Date"), "20231114T221324Z");
    EXPECT_NE(transport.header(0, "Authorization"), transport.header(4, "Authorization"));
}

TEST_F(AwsClient, WaitsLongerWhenThrottled) {
    transport.then(503, ec2_error("RequestLimitExceeded"));
    transport.then(400, ec2_error("Throttling"));
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(clock.elapsed(), 1s + 2s);
}

TEST_F(AwsClient, RetryAfterIsAFloor) {
    transport.then(503, ec2_error("Unavailable"), {{"Retry-After", "7"}});
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(clock.elapsed(), 7s);
}

/// Fails every request in the same way until `end`, then answers.
class Outage final : public net::HttpTransport {
  public:
    Outage(ManualClock& clock, Duration end, std::function<net::HttpResult()> failure)
        : clock_(clock), end_(end), failure_(std::move(failure)) {}
    net::HttpResult send(const net::HttpRequest&, const core::Cancel&) override {
        ++requests;
        if (clock_.elapsed() < end_) return failure_();
        return net::HttpResponse{200, {}, "done"};
    }
    int requests = 0;

  private:
    ManualClock& clock_;
    Duration end_;
    std::function<net::HttpResult()> failure_;
};

TEST_F(AwsClient, OutlivesAnOutageThatIsShorterThanItsDeadline) {
    const std::vector<std::function<net::HttpResult()>> failures{
        [] { return net::HttpResponse{503, {}, ec2_error("Unavailable")}; },
        [] { return net::HttpResponse{502, {}, "<html/>"}; },
        [] {
            return std::unexpected(
                net::HttpFailure{TransportFailure::connect, false,
                                 core::Error{Errc::unavailable, "connection refused", "", "", 0}});
        },
    };
    for (const auto outage : {15s, 60s, 90s}) {
        for (const auto& failure : failures) {
            const auto begin = clock.elapsed();
            Outage down(clock, begin + outage, failure);
            Client client(down, credentials, clock, cancel, endpoints, options);
            const auto reply = client.call(call());
            ASSERT_TRUE(reply) << reply.error().message();
            EXPECT_LE(clock.elapsed() - begin, outage + options.retry.cap);
            EXPECT_LE(down.requests, 20) << "it must not hammer a service that is down";
        }
    }
}

TEST_F(AwsClient, ForAPersonTheDeadlineIsShorter) {
    options.longest_call = 10s;
    Outage down(clock, 60s, [] { return net::HttpResponse{503, {}, ec2_error("Unavailable")}; });
    Client client(down, credentials, clock, cancel, endpoints, options);
    const auto reply = client.call(call());
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::unavailable);
    EXPECT_THAT(reply.error().what, HasSubstr("because 10 s are over"));
    EXPECT_LE(clock.elapsed(), 10s);
}

TEST_F(AwsClient, GivesUpWhenTheNextAttemptWouldComeTooLate) {
    auto what = call();
    what.deadline = 5s;
    for (int i = 0; i < 5; ++i)
        transport.then(503, ec2_error("RequestLimitExceeded", "Slow down."));
    const auto reply = run(what);
    ASSERT_FALSE(reply);
    EXPECT_EQ(transport.requests.size(), 3U);
    EXPECT_EQ(reply.error().code, Errc::unavailable);
    EXPECT_EQ(reply.error().id, "RequestLimitExceeded");
    EXPECT_EQ(
        reply.error().what,
        "ec2 DescribeVolumes at 'https://ec2.eu-west-1.amazonaws.com' was refused: "
        "RequestLimitExceeded: Slow down. (HTTP 503, request req-1); gave up after 3 attempts "
        "because 5 s are over");
}

TEST_F(AwsClient, DeadlineEndsTheAttempts) {
    auto what = call();
    what.deadline = 10s;
    for (int i = 0; i < 20; ++i) transport.then(TransportFailure::timed_out, true);
    transport.on_send = [&](const net::HttpRequest& request) {
        // No attempt may outlive the whole call.
        EXPECT_LE(request.attempt_timeout, 10s - clock.elapsed());
        clock.advance(std::min<core::Duration>(4s, request.attempt_timeout));
    };
    const auto reply = run(what);
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::unavailable);
    EXPECT_LE(clock.elapsed(), 10s);
    EXPECT_THAT(reply.error().what, HasSubstr("gave up after 3 attempts because 10 s are over"));
}

TEST_F(AwsClient, FatalErrorIsFinal) {
    transport.then(400, ec2_error("InvalidVolume.NotFound", "The volume 'vol-1' does not exist."));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::not_found);
    EXPECT_EQ(reply.error().id, "InvalidVolume.NotFound");
    EXPECT_THAT(reply.error().what, HasSubstr("The volume 'vol-1' does not exist."));
    EXPECT_EQ(transport.requests.size(), 1U);
}

TEST_F(AwsClient, DeniedActionNamesTheMissingPermission) {
    transport.then(403, ec2_error("UnauthorizedOperation"));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::permission_denied);
    EXPECT_THAT(reply.error().hint, HasSubstr("'ec2:DescribeVolumes'"));
}

TEST_F(AwsClient, ForeignPageIsNotQuotedButDescribed) {
    transport.then(500, "<html>stack trace of a proxy</html>", {{"Content-Type", "text/html"}});
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::unavailable);
    EXPECT_EQ(reply.error().what,
              "ec2 DescribeVolumes at 'https://ec2.eu-west-1.amazonaws.com' gave HTTP 500 with 35 "
              "bytes of 'text/html', expected an AWS error document");
    EXPECT_EQ(transport.requests.size(), 1U);
}

TEST_F(AwsClient, CorrectsTheClockOnceAndKeepsTheCorrection) {
    Client client(transport, credentials, clock, cancel, endpoints, options);
    transport.then(401, ec2_error("AuthFailure"), date(1h));
    transport.then(200, "done");
    ASSERT_TRUE(client.call(call()));
    EXPECT_EQ(transport.header(0, "X-Amz-Date"), "20231114T221320Z");
    EXPECT_EQ(transport.header(1, "X-Amz-Date"), "20231114T231320Z");
    EXPECT_TRUE(credentials.rejected_ids.empty());
    transport.then(200, "done");
    ASSERT_TRUE(client.call(call()));
    EXPECT_EQ(transport.header(2, "X-Amz-Date"), "20231114T231320Z");
}

TEST_F(AwsClient, CorrectsASlowClockToo) {
    transport.then(403, ec2_error("SignatureDoesNotMatch"), date(-24h));
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(transport.header(1, "X-Amz-Date"), "20231113T221320Z");
}

TEST_F(AwsClient, BlamesTheKeysWhenTheClockIsRight) {
    transport.then(401, ec2_error("AuthFailure"), date(299s));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::permission_denied);
    EXPECT_EQ(reply.error().id, "AuthFailure");
    EXPECT_EQ(transport.requests.size(), 1U);
}

TEST_F(AwsClient, CodeThatNamesTheClockNeedsNoBigDifference) {
    transport.then(403, ec2_error("RequestTimeTooSkewed"), date(10s));
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(transport.header(1, "X-Amz-Date"), "20231114T221330Z");
}

TEST_F(AwsClient, DoesNotChaseAClockThatKeepsMoving) {
    transport.then(403, ec2_error("RequestTimeTooSkewed"), date(1h));
    transport.then(403, ec2_error("RequestTimeTooSkewed"), date(5h));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().id, "RequestTimeTooSkewed");
    EXPECT_EQ(transport.requests.size(), 2U);
}

TEST_F(AwsClient, SkewWithoutADateIsFinal) {
    transport.then(403, ec2_error("RequestTimeTooSkewed"));
    ASSERT_FALSE(run());
    transport.then(403, ec2_error("RequestTimeTooSkewed"), {{"Date", "yesterday"}});
    ASSERT_FALSE(run());
    EXPECT_EQ(transport.requests.size(), 2U);
}

TEST_F(AwsClient, RenewsExpiredCredentialsOnce) {
    transport.then(400, ec2_error("ExpiredToken"));
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(credentials.rejected_ids, std::vector<std::string>{"key-1"});
    EXPECT_THAT(transport.header(1, "Authorization"), HasSubstr("Credential=key-2/"));
    EXPECT_EQ(clock.elapsed(), 0s);
}

TEST_F(AwsClient, RenewedCredentialsThatAreRefusedAreFinal) {
    transport.then(400, ec2_error("ExpiredToken"));
    transport.then(400, ec2_error("ExpiredToken"));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::permission_denied);
    EXPECT_EQ(transport.requests.size(), 2U);
}

TEST_F(AwsClient, RequestExpiredWithARightClockMeansTheToken) {
    transport.then(400, ec2_error("RequestExpired"), date(0s));
    transport.then(200, "done");
    ASSERT_TRUE(run());
    EXPECT_EQ(credentials.rejected_ids.size(), 1U);
}

TEST_F(AwsClient, SaysWhyCredentialsCouldNotBeRenewed) {
    credentials.renewable = false;
    transport.then(400, ec2_error("ExpiredToken", "The token has expired."));
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_THAT(reply.error().what, HasSubstr("The token has expired."));
    EXPECT_THAT(reply.error().what, HasSubstr("then no other keys"));
}

TEST_F(AwsClient, CreatingCallIsNotRepeatedOnceItMayHaveRun) {
    const std::vector<std::function<void()>> scripts{
        [&] { transport.then(TransportFailure::timed_out, true); },
        [&] { transport.then(TransportFailure::connection_lost, true); },
        [&] { transport.then(TransportFailure::reply_too_large, true); },
        [&] { transport.then(500, ec2_error("InternalError")); },
        [&] { transport.then(500, "<html/>"); },
        [&] { transport.then(503, "<html/>"); },
    };
    for (const auto& script : scripts) {
        transport.requests.clear();
        script();
        const auto reply = run(call(Repeat::once));
        ASSERT_FALSE(reply);
        EXPECT_EQ(reply.error().id, kOutcomeUnknown);
        EXPECT_THAT(reply.error().hint, HasSubstr("look for its result"));
        EXPECT_EQ(transport.requests.size(), 1U);
        EXPECT_EQ(transport.requests[0].connection, net::ConnectionUse::fresh);
        EXPECT_EQ(transport.requests[0].stall_timeout, transport.requests[0].attempt_timeout);
    }
}

TEST_F(AwsClient, CreatingCallIsRepeatedWhenItSurelyDidNotRun) {
    transport.then(TransportFailure::connect, false);
    transport.then(TransportFailure::timed_out, false);
    transport.then(503, ec2_error("RequestLimitExceeded"));
    transport.then(503, ec2_error("Unavailable"));
    transport.then(200, "created");
    const auto reply = run(call(Repeat::once));
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_EQ(transport.requests.size(), 5U);
}

TEST_F(AwsClient, CreatingCallThatIsRefusedKeepsItsCode) {
    transport.then(400, ec2_error("InvalidParameterValue"));
    const auto reply = run(call(Repeat::once));
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().id, "InvalidParameterValue");
    EXPECT_EQ(reply.error().code, Errc::invalid_input);
}

TEST_F(AwsClient, CancelEndsTheWaiting) {
    transport.then(503, ec2_error("Unavailable"));
    transport.on_send = [&](const auto&) { cancel.request("the deadline of the job passed"); };
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::cancelled);
    EXPECT_THAT(reply.error().what, HasSubstr("the deadline of the job passed"));
    EXPECT_EQ(transport.requests.size(), 1U);
}

TEST_F(AwsClient, MissingCredentialsAreReportedWithTheCall) {
    credentials.absent = true;
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::not_found);
    EXPECT_EQ(reply.error().what, "ec2 DescribeVolumes: no credentials: no role is attached");
    EXPECT_TRUE(transport.requests.empty());
}

TEST_F(AwsClient, BadEndpointSendsNothing) {
    endpoints.overrides["ec2"] = "ec2.example.org";
    const auto reply = run();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::invalid_input);
    EXPECT_TRUE(transport.requests.empty());
}

TEST_F(AwsClient, SecretsStayOutOfErrorsAndTheLog) {
    const std::string recital =
        "should have been GET x-amz-security-token:the-session-token "
        "the-secret-key";
    const std::vector<std::function<void()>> scripts{
        [&] { transport.then(403, ec2_error("SignatureDoesNotMatch", recital)); },
        [&] { transport.then(400, ec2_error("InvalidParameterValue", recital)); },
        [&] { transport.then(500, recital, {{"Content-Type", "text/plain"}}); },
        [&] {
            transport.then(503, ec2_error("Unavailable", recital));
            transport.then(400, ec2_error("ExpiredToken", recital));
            transport.then(400, ec2_error("ExpiredToken", recital));
        },
    };
    core::enable_debug_log(true);
    ::testing::internal::CaptureStderr();
    std::string all;
    for (const auto& script : scripts) {
        script();
        const auto reply = run();
        if (reply) continue;
        all += reply.error().message() + "\n";
    }
    all += ::testing::internal::GetCapturedStderr();
    core::enable_debug_log(false);
    EXPECT_THAT(all, HasSubstr("SignatureDoesNotMatch"));
    EXPECT_THAT(all, HasSubstr("[debug] ec2 DescribeVolumes: attempt 1 was transient"));
    EXPECT_THAT(all, Not(HasSubstr("the-session-token")));
    EXPECT_THAT(all, Not(HasSubstr("the-secret-key")));
}

}  // namespace
}  // namespace amilift::aws
