// SPDX-License-Identifier: Apache-2.0
#include "aws/imds.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.hpp"
#include "tests/agent/aws/mock_imds.hpp"
#include "tests/agent/aws/scripted_transport.hpp"

namespace amilift::aws {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using net::TransportFailure;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::MockImds;
using tests::ScriptedTransport;

/// Against a server that behaves as EC2's does, over sockets.
class ImdsService : public ::testing::Test {
  protected:
    MockImds mock;
    net::CurlTransport transport;
    fakes::ManualClock clock;
    core::Cancel cancel;
    Imds imds{transport, clock, cancel, {.base_url = mock.url()}};
};

TEST_F(ImdsService, AnswersEveryQuestionWithOneToken) {
    EXPECT_EQ(imds.instance_id().value(), "i-0123456789abcdef0");
    EXPECT_EQ(imds.region().value(), "eu-west-1");
    EXPECT_EQ(imds.availability_zone().value(), "eu-west-1a");
    EXPECT_EQ(imds.domain().value(), "amazonaws.com");
    EXPECT_EQ(imds.user_data().value().value(), mock.user_data);
    const auto keys = imds.role_credentials();
    ASSERT_TRUE(keys) << keys.error().message();
    EXPECT_EQ(keys->access_key_id, "ASIAEXAMPLE");
    EXPECT_EQ(keys->secret_access_key.reveal(), "imds-secret-key");
    EXPECT_EQ(keys->session_token.reveal(), "imds-session-token");
    EXPECT_EQ(keys->expires, parse_utc("2026-11-21T15:30:00Z"));
    EXPECT_EQ(mock.tokens_given(), 1);
}

TEST_F(ImdsService, NothingIsEverAskedWithoutAToken) {
    (void)imds.instance_id();
    (void)imds.user_data();
    mock.expire_tokens();
    (void)imds.region();
    mock.token_status = 403;
    mock.expire_tokens();
    EXPECT_FALSE(imds.role_credentials());
    for (const auto& seen : mock.requests()) {
        if (seen.target == "/latest/api/token") {
            EXPECT_EQ(seen.method, "PUT");
            EXPECT_EQ(seen.header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
            EXPECT_EQ(seen.header("x-forwarded-for"), "");
        } else {
            EXPECT_EQ(seen.method, "GET");
            EXPECT_NE(seen.header("x-aws-ec2-metadata-token"), "") << seen.target;
        }
    }
}

TEST_F(ImdsService, UserDataIsBytes) {
    mock.user_data = std::string("\x1f\x8b\0\xff\r\n\n", 7);
    EXPECT_EQ(imds.user_data().value().value(), mock.user_data);
    mock.user_data = std::string(16384, '\xee');
    EXPECT_EQ(imds.user_data().value().value(), mock.user_data);
    mock.user_data.reset();
    const auto none = imds.user_data();
    ASSERT_TRUE(none);
    EXPECT_FALSE(*none);
}

TEST_F(ImdsService, LostTokenIsReplacedOnce) {
    EXPECT_TRUE(imds.instance_id());
    mock.expire_tokens();
    EXPECT_TRUE(imds.instance_id());
    EXPECT_EQ(mock.tokens_given(), 2);
    mock.refuse_all_tokens = true;
    const auto refused = imds.instance_id();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::permission_denied);
    EXPECT_THAT(refused.error().what, HasSubstr("HTTP 401"));
    EXPECT_EQ(mock.tokens_given(), 3);
}

TEST_F(ImdsService, OldTokenIsReplacedBeforeItEnds) {
    EXPECT_TRUE(imds.instance_id());
    clock.advance(5h + 59min);
    EXPECT_TRUE(imds.instance_id());
    EXPECT_EQ(mock.tokens_given(), 1);
    clock.advance(31s);
    EXPECT_TRUE(imds.instance_id());
    EXPECT_EQ(mock.tokens_given(), 2);
}

TEST_F(ImdsService, BelievesTheLifetimeThatRepliesTell) {
    mock.remaining_lifetime = "25";  // within the margin in which a token is replaced
    EXPECT_TRUE(imds.instance_id());
    EXPECT_TRUE(imds.instance_id());
    EXPECT_EQ(mock.tokens_given(), 2);
    for (const auto* odd : {"-1", "soon", "", "99999999999999999999", "12.5"}) {
        mock.remaining_lifetime = odd;
        EXPECT_TRUE(imds.instance_id()) << odd;
    }
}

TEST_F(ImdsService, WaitsWhileTheServiceIsBusy) {
    mock.fail_next = {503, 429, 500};
    EXPECT_EQ(imds.instance_id().value(), "i-0123456789abcdef0");
    EXPECT_EQ(clock.elapsed(), 200ms + 1s + 800ms);
    mock.fail_next = {};
    EXPECT_TRUE(imds.region());
    mock.fail_next = {503};  // now of a GET
    EXPECT_EQ(imds.region().value(), "eu-west-1");
}

TEST_F(ImdsService, BusyForTooLongIsAnError) {
    mock.fail_next.assign(1000, 503);
    const auto busy = imds.instance_id();
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().code, Errc::unavailable);
    EXPECT_THAT(busy.error().what, HasSubstr("HTTP 503; gave up after"));
    EXPECT_LE(clock.elapsed(), 60s);
    EXPECT_GE(clock.elapsed(), 50s);
}

TEST_F(ImdsService, SwitchedOffIsFinal) {
    mock.token_status = 403;
    const auto off = imds.instance_id();
    ASSERT_FALSE(off);
    EXPECT_EQ(off.error().code, Errc::permission_denied);
    EXPECT_THAT(off.error().hint, HasSubstr("HttpEndpoint=enabled"));
    EXPECT_EQ(mock.requests().size(), 1U);
}

TEST_F(ImdsService, ServiceWithoutVersion2IsNotUsed) {
    for (const int status : {404, 405}) {
        mock.token_status = status;
        const auto old = imds.instance_id();
        ASSERT_FALSE(old);
        EXPECT_EQ(old.error().code, Errc::unavailable);
        EXPECT_THAT(old.error().hint, HasSubstr("not with IMDSv2"));
    }
    mock.token_status = 400;
    EXPECT_FALSE(imds.instance_id());
    for (const auto& seen : mock.requests()) EXPECT_EQ(seen.method, "PUT");
}

TEST_F(ImdsService, TokenThatIsNoWordIsRefused) {
    for (const auto* body : {"", "two words", "<html>\n</html>", "\x01", "\xc3\xa9"}) {
        mock.token_body = body;
        const auto bad = imds.instance_id();
        ASSERT_FALSE(bad) << body;
        EXPECT_EQ(bad.error().code, Errc::corrupt);
    }
    mock.token_body = std::string(2000, 'x');
    EXPECT_FALSE(imds.instance_id());
}

TEST_F(ImdsService, AnswerOfAnotherServiceIsRefused) {
    for (const auto* body : {"", "<html><body>Login</body></html>", "a b", "../../etc", "x\x01"}) {
        mock.answers["/latest/meta-data/placement/region"] = body;
        const auto bad = imds.region();
        ASSERT_FALSE(bad) << body;
        EXPECT_EQ(bad.error().code, Errc::corrupt);
        EXPECT_THAT(bad.error().what, HasSubstr("'meta-data/placement/region'"));
    }
    mock.answers["/latest/meta-data/placement/region"] = std::string(200 << 10, 'x');
    EXPECT_FALSE(imds.region());
    mock.answers.erase("/latest/meta-data/placement/region");
    EXPECT_EQ(imds.region().error().code, Errc::not_found);
}

TEST_F(ImdsService, TrailingNewlineIsNotPartOfAWord) {
    mock.answers["/latest/meta-data/placement/region"] = "eu-west-1\r\n";
    EXPECT_EQ(imds.region().value(), "eu-west-1");
}

TEST_F(ImdsService, InstanceWithoutRoleIsExplained) {
    mock.answers.erase(MockImds::kRoles);
    const auto none = imds.role_credentials();
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Errc::not_found);
    EXPECT_THAT(none.error().hint, HasSubstr("instance profile"));
    mock.answers[MockImds::kRoles] = "";
    EXPECT_EQ(imds.role_credentials().error().code, Errc::not_found);
    mock.answers[MockImds::kRoles] = "helper";
    mock.answers.erase(std::string(MockImds::kRoles) + "helper");
    EXPECT_EQ(imds.role_credentials().error().code, Errc::not_found);
}

TEST_F(ImdsService, RoleNameCannotLeadElsewhere) {
    for (const auto* role : {"../../user-data", "a b", "x?y", "<html>"}) {
        mock.answers[MockImds::kRoles] = role;
        EXPECT_EQ(imds.role_credentials().error().code, Errc::corrupt) << role;
    }
    mock.answers[MockImds::kRoles] = "helper\nsecond";
    EXPECT_TRUE(imds.role_credentials());
}

TEST_F(ImdsService, SecretsStayOutOfErrorsAndTheLog) {
    mock.user_data = "user-data-secret";
    core::enable_debug_log(true);
    ::testing::internal::CaptureStderr();
    std::string all;
    const auto note = [&](const auto& result) {
        if (!result) all += result.error().message() + "\n";
    };
    note(imds.user_data());
    note(imds.role_credentials());
    const auto role = std::string(MockImds::kRoles) + "helper";
    for (
        const std::string bad :
        {R"({"Code": "Failed", "SecretAccessKey": "imds-secret-key", "Token": "imds-session-token"})",
         R"({"Code": "Success", "SecretAccessKey": "imds-secret-key"})",
         R"(imds-secret-key imds-session-token)"}) {
        mock.answers[role] = bad;
        note(imds.role_credentials());
    }
    mock.refuse_all_tokens = true;
    note(imds.user_data());
    mock.refuse_all_tokens = false;
    mock.fail_next.assign(1000, 503);
    note(imds.role_credentials());
    mock.fail_next.clear();
    mock.token_body = "imds-token with more";
    mock.expire_tokens();
    note(imds.user_data());
    all += ::testing::internal::GetCapturedStderr();
    core::enable_debug_log(false);
    EXPECT_GE(std::ranges::count(all, '\n'), 6) << all;
    for (const auto* secret :
         {"imds-token", "imds-secret-key", "imds-session-token", "user-data-secret"}) {
        EXPECT_THAT(all, Not(HasSubstr(secret)));
    }
}

TEST_F(ImdsService, FeedsTheRefreshingCredentials) {
    RefreshingCredentials provider([this] { return imds.role_credentials(); }, clock);
    EXPECT_EQ(provider.get().value().access_key_id, "ASIAEXAMPLE");
    EXPECT_EQ(provider.get().value().access_key_id, "ASIAEXAMPLE");
    // A token, the role's name, its keys; the second get() asks nobody.
    EXPECT_EQ(mock.requests().size(), 3U);
}

/// Where only timing matters, without sockets.
class ImdsTiming : public ::testing::Test {
  protected:
    ScriptedTransport transport;
    fakes::ManualClock clock;
    core::Cancel cancel;
    Imds imds{transport, clock, cancel};
};

TEST_F(ImdsTiming, AsksTheLinkLocalAddressWithShortTimeouts) {
    transport.then(200, "token-1");
    transport.then(200, "i-1");
    EXPECT_EQ(imds.instance_id().value(), "i-1");
    EXPECT_EQ(transport.requests[0].url, "http://169.254.169.254/latest/api/token");
    EXPECT_EQ(transport.requests[1].url, "http://169.254.169.254/latest/meta-data/instance-id");
    for (const auto& request : transport.requests) {
        EXPECT_EQ(request.connect_timeout, 1s);
        EXPECT_EQ(request.attempt_timeout, 3s);
    }
    EXPECT_EQ(transport.header(1, "X-aws-ec2-metadata-token"), "token-1");
}

TEST_F(ImdsTiming, SilenceIsExplainedByTheHopLimit) {
    transport.on_send = [&](const net::HttpRequest& request) {
        clock.advance(request.attempt_timeout);
        transport.then(TransportFailure::timed_out, true);
    };
    const auto silent = imds.instance_id();
    ASSERT_FALSE(silent);
    EXPECT_EQ(silent.error().code, Errc::timed_out);
    EXPECT_THAT(silent.error().what, HasSubstr("'http://169.254.169.254', session token"));
    EXPECT_THAT(silent.error().what, HasSubstr("in 60 s"));
    EXPECT_THAT(silent.error().hint, HasSubstr("HttpPutResponseHopLimit"));
    EXPECT_LE(clock.elapsed(), 60s);
    EXPECT_GT(transport.requests.size(), 5U);
    for (const auto& request : transport.requests) EXPECT_EQ(request.method, net::Method::put);
}

TEST_F(ImdsTiming, WaitsForTheNetworkToComeUp) {
    for (int i = 0; i < 6; ++i) transport.then(TransportFailure::connect, false);
    transport.then(200, "token-1");
    transport.then(200, "i-1");
    EXPECT_EQ(imds.instance_id().value(), "i-1");
    EXPECT_EQ(clock.elapsed(), 200ms + 400ms + 800ms + 1600ms + 3200ms + 5s);
}

TEST_F(ImdsTiming, OverallTimeoutCanBeShort) {
    Imds hasty(transport, clock, cancel, {.overall_timeout = 2s});
    for (int i = 0; i < 50; ++i) transport.then(TransportFailure::connect, false);
    EXPECT_FALSE(hasty.instance_id());
    EXPECT_LE(clock.elapsed(), 2s);
}

TEST_F(ImdsTiming, CancelEndsTheWaiting) {
    transport.then(TransportFailure::connect, false);
    transport.on_send = [&](const auto&) { cancel.request("stop"); };
    EXPECT_EQ(imds.instance_id().error().code, Errc::cancelled);
    EXPECT_EQ(transport.requests.size(), 1U);
}

TEST_F(ImdsTiming, LifetimeIsKeptWithinWhatEc2Takes) {
    Imds forever(transport, clock, cancel, {.token_lifetime = 100h});
    transport.then(200, "token-1");
    transport.then(200, "i-1");
    EXPECT_TRUE(forever.instance_id());
    EXPECT_EQ(transport.header(0, "X-aws-ec2-metadata-token-ttl-seconds"), "21600");
}

}  // namespace
}  // namespace amilift::aws
