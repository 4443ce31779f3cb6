// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/ec2_client.hpp"
#include "aws/s3_client.hpp"
#include "core/sha256.hpp"
#include "tests/agent/aws/golden.hpp"
#include "tests/agent/aws/scripted_transport.hpp"
#include "tests/agent/net/http_test_server.hpp"

namespace amilift::aws {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using net::TransportFailure;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::ec2_error;
using tests::golden_text;

class ServiceClients : public ::testing::Test {
  protected:
    tests::ScriptedTransport transport;
    StaticCredentials credentials{{.access_key_id = "AKIDEXAMPLE",
                                   .secret_access_key = Secret("the-secret-key"),
                                   .session_token = Secret("the-session-token")}};
    fakes::ManualClock clock;
    core::Cancel cancel;
    Client client{transport, credentials, clock, cancel, {.region = "eu-west-1"}};
    Ec2Client ec2{client};
    S3Client s3{client};

    static std::string volumes_page(const std::string& id, const std::string& next) {
        return "<DescribeVolumesResponse><volumeSet><item><volumeId>" + id +
               "</volumeId></item></volumeSet>" +
               (next.empty() ? "" : "<nextToken>" + next + "</nextToken>") +
               "</DescribeVolumesResponse>";
    }
    static std::string yes(const std::string& action) {
        return "<" + action + "Response><return>true</return></" + action + "Response>";
    }
};

TEST_F(ServiceClients, DescribeFollowsThePages) {
    transport.then(200, volumes_page("vol-1", "t1"));
    transport.then(200, volumes_page("vol-2", "t2"));
    transport.then(200, volumes_page("vol-3", ""));
    const auto volumes = ec2.describe_volumes({}, {{"status", {"available"}}});
    ASSERT_TRUE(volumes) << volumes.error().message();
    ASSERT_EQ(volumes->size(), 3U);
    EXPECT_EQ(volumes->at(2).id, "vol-3");
    EXPECT_THAT(transport.requests[0].body, HasSubstr("MaxResults=500"));
    EXPECT_THAT(transport.requests[0].body, Not(HasSubstr("NextToken")));
    EXPECT_THAT(transport.requests[2].body, HasSubstr("NextToken=t2"));
    EXPECT_THAT(transport.requests[2].body, HasSubstr("Filter.1.Name=status"));
}

TEST_F(ServiceClients, EmptyPageInTheMiddleIsNotTheEnd) {
    transport.then(200,
                   "<DescribeVolumesResponse><volumeSet/><nextToken>t</nextToken>"
                   "</DescribeVolumesResponse>");
    transport.then(200, volumes_page("vol-1", ""));
    const auto volumes = ec2.describe_volumes({}, {});
    ASSERT_TRUE(volumes);
    EXPECT_EQ(volumes->size(), 1U);
}

TEST_F(ServiceClients, PagesThatGoRoundInCirclesEnd) {
    transport.then(200, volumes_page("vol-1", "same"));
    transport.then(200, volumes_page("vol-1", "same"));
    const auto volumes = ec2.describe_volumes({}, {});
    ASSERT_FALSE(volumes);
    EXPECT_EQ(volumes.error().code, Errc::corrupt);
    EXPECT_THAT(volumes.error().what, HasSubstr("'DescribeVolumes' gives the same next page"));
}

TEST_F(ServiceClients, NeverListsAllPublicImages) {
    const auto images = ec2.describe_images({}, {}, {});
    ASSERT_FALSE(images);
    EXPECT_EQ(images.error().code, Errc::internal);
    EXPECT_TRUE(transport.requests.empty());
}

TEST_F(ServiceClients, CreatingCallsReportAnUnknownOutcome) {
    CreateVolumeRequest volume;
    volume.availability_zone = "eu-west-1a";
    volume.size_gib = 1;
    transport.then(TransportFailure::timed_out, true);
    EXPECT_EQ(ec2.create_volume(volume).error().id, kOutcomeUnknown);
    transport.then(TransportFailure::timed_out, true);
    EXPECT_EQ(ec2.create_snapshot({.volume_id = "vol-1", .description = {}, .tags = {}}).error().id,
              kOutcomeUnknown);
    transport.then(TransportFailure::connection_lost, true);
    EXPECT_EQ(ec2.register_image({}).error().id, kOutcomeUnknown);
    EXPECT_EQ(transport.requests.size(), 3U);
    // An unreadable yes is a yes as well.
    transport.then(200, "<CreateSnapshotResponse><snapsho");
    const auto snapshot =
        ec2.create_snapshot({.volume_id = "vol-1", .description = {}, .tags = {}});
    ASSERT_FALSE(snapshot);
    EXPECT_EQ(snapshot.error().id, kOutcomeUnknown);
    EXPECT_EQ(snapshot.error().code, Errc::corrupt);
}

TEST_F(ServiceClients, TokenMakesCreateVolumeRepeatable) {
    CreateVolumeRequest volume;
    volume.availability_zone = "eu-west-1a";
    volume.size_gib = 1;
    volume.client_token = "token-1";
    transport.then(TransportFailure::timed_out, true);
    transport.then(200, golden_text("responses/CreateVolume-blank.xml"));
    const auto created = ec2.create_volume(volume);
    ASSERT_TRUE(created) << created.error().message();
    EXPECT_EQ(created->id, "vol-1234567890abcdef0");
    EXPECT_EQ(transport.requests[0].body, transport.requests[1].body);
}

TEST_F(ServiceClients, CallsWithoutAResultNeedAYes) {
    transport.then(200, "<AttachVolumeResponse><status>attaching</status></AttachVolumeResponse>");
    EXPECT_TRUE(ec2.attach_volume("vol-1", "i-1", "/dev/sdf"));
    transport.then(200, "<DetachVolumeResponse><status>detaching</status></DetachVolumeResponse>");
    EXPECT_TRUE(ec2.detach_volume("vol-1", "i-1", Detach::orderly));
    transport.then(200, yes("DeleteVolume"));
    EXPECT_TRUE(ec2.delete_volume("vol-1"));
    transport.then(200, yes("ModifyInstanceAttribute"));
    EXPECT_TRUE(ec2.delete_volume_on_termination("i-1", "/dev/sdf"));
    transport.then(200, yes("DeleteSnapshot"));
    EXPECT_TRUE(ec2.delete_snapshot("snap-1"));
    transport.then(200, yes("DeregisterImage"));
    EXPECT_TRUE(ec2.deregister_image("ami-1"));
    transport.then(200, yes("CreateTags"));
    EXPECT_TRUE(ec2.create_tags({"vol-1"}, {{"k", "v"}}));
    transport.then(200, "<TerminateInstancesResponse><instancesSet/></TerminateInstancesResponse>");
    EXPECT_TRUE(ec2.terminate_instance("i-1"));
    transport.then(200, "<StopInstancesResponse><instancesSet/></StopInstancesResponse>");
    EXPECT_TRUE(ec2.stop_instance("i-1"));
    EXPECT_EQ(transport.left(), 0U);
    transport.then(200, "<html>captive portal</html>");
    const auto deleted = ec2.delete_volume("vol-1");
    ASSERT_FALSE(deleted);
    EXPECT_EQ(deleted.error().code, Errc::corrupt);
}

TEST_F(ServiceClients, TaggingNothingIsDone) {
    EXPECT_TRUE(ec2.create_tags({}, {{"k", "v"}}));
    EXPECT_TRUE(ec2.create_tags({"vol-1"}, {}));
    EXPECT_TRUE(transport.requests.empty());
}

TEST_F(ServiceClients, ErrorsOfEc2KeepTheirCode) {
    transport.then(400, ec2_error("VolumeInUse", "vol-1 is already attached"));
    const auto attached = ec2.attach_volume("vol-1", "i-1", "/dev/sdf");
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code, Errc::conflict);
    EXPECT_EQ(attached.error().id, "VolumeInUse");
    transport.then(400, ec2_error("InvalidAMIName.Duplicate"));
    const auto registered = ec2.register_image({});
    ASSERT_FALSE(registered);
    EXPECT_EQ(registered.error().code, Errc::already_exists);
}

TEST_F(ServiceClients, S3UsesTheBucketsHostName) {
    transport.then(200, "job");
    const auto object = s3.get_object("jobs", "web/a b+é.yaml", "v/1", 1000);
    ASSERT_TRUE(object) << object.error().message();
    EXPECT_EQ(*object, "job");
    EXPECT_EQ(transport.requests[0].url,
              "https://jobs.s3.eu-west-1.amazonaws.com/web/a%20b%2B%C3%A9.yaml?versionId=v%2F1");
    EXPECT_EQ(transport.requests[0].method, net::Method::get);
    EXPECT_GE(transport.requests[0].body_limit, 1000U);
    EXPECT_EQ(transport.header(0, "X-Amz-Content-Sha256"), core::sha256_hex("").value());
}

TEST_F(ServiceClients, S3LimitIsForObjectsNotForErrors) {
    transport.then(200, "12345");
    EXPECT_EQ(s3.get_object("jobs", "k", std::nullopt, 5).value(), "12345");
    transport.then(200, "123456");
    const auto large = s3.get_object("jobs", "k", std::nullopt, 5);
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, Errc::corrupt);
    EXPECT_THAT(large.error().what, HasSubstr("has 6 bytes, expected at most 5"));
    EXPECT_GE(transport.requests[0].body_limit, 10'000U);
    transport.then(200, "");
    EXPECT_TRUE(s3.get_object("jobs", "k", std::nullopt, 1 << 20));
    EXPECT_EQ(transport.requests[2].body_limit, std::size_t{1} << 20);
}

TEST_F(ServiceClients, S3UsesThePathForDotsAndOverrides) {
    transport.then(200, "");
    ASSERT_TRUE(s3.get_object("my.jobs", "k", std::nullopt, 10));
    EXPECT_EQ(transport.requests[0].url, "https://s3.eu-west-1.amazonaws.com/my.jobs/k");
    Client overridden(transport, credentials, clock, cancel,
                      {.region = "eu-west-1", .overrides = {{"s3", "http://127.0.0.1:9"}}});
    transport.then(200, "");
    ASSERT_TRUE(S3Client(overridden).get_object("jobs", "k", std::nullopt, 10));
    EXPECT_EQ(transport.requests[1].url, "http://127.0.0.1:9/jobs/k");
}

TEST_F(ServiceClients, S3ExplainsABucketElsewhere) {
    transport.then(301, "<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>",
                   {{"x-amz-bucket-region", "us-east-2"}});
    const auto header = s3.get_object("jobs", "k", std::nullopt, 10);
    ASSERT_FALSE(header);
    EXPECT_EQ(header.error().code, Errc::invalid_input);
    EXPECT_THAT(header.error().what, HasSubstr("the bucket is in region 'us-east-2'"));
    EXPECT_THAT(header.error().hint, HasSubstr("('eu-west-1')"));
    transport.then(400,
                   "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>"
                   "<Region>ap-south-1</Region></Error>");
    const auto body = s3.get_object("jobs", "k", std::nullopt, 10);
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().code, Errc::invalid_input);
    EXPECT_THAT(body.error().what, HasSubstr("the bucket is in region 'ap-south-1'"));
}

TEST_F(ServiceClients, S3ErrorsNameTheObject) {
    transport.then(404, "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>");
    const auto missing = s3.get_object("jobs", "web.yaml", std::nullopt, 10);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Errc::not_found);
    EXPECT_THAT(missing.error().what, HasSubstr("object 'web.yaml' of bucket 'jobs'"));
    transport.then(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
    const auto denied = s3.get_object("jobs", "web.yaml", std::nullopt, 10);
    ASSERT_FALSE(denied);
    EXPECT_EQ(denied.error().code, Errc::permission_denied);
    EXPECT_THAT(denied.error().hint, HasSubstr("s3:GetObject"));
}

TEST_F(ServiceClients, S3RefusesImpossibleNames) {
    const std::vector<std::string> names{"",     "ab",  "Upper",       "under_score",       "-x-",
                                         "a..b", "a/b", "x.evil.com/", std::string(64, 'a')};
    for (const auto& bucket : names) {
        EXPECT_EQ(s3.get_object(bucket, "k", std::nullopt, 10).error().code, Errc::invalid_input);
    }
    EXPECT_EQ(s3.get_object("jobs", "", std::nullopt, 10).error().code, Errc::invalid_input);
    EXPECT_EQ(s3.get_object("jobs", std::string(1025, 'k'), std::nullopt, 10).error().code,
              Errc::invalid_input);
    EXPECT_TRUE(transport.requests.empty());
}

/// The whole way through sockets, with a server that misbehaves first.
TEST(ServiceClientsWiring, SurvivesAServerThatMisbehaves) {
    int count = 0;
    net::tests::HttpTestServer server([&](const net::tests::SeenRequest&,
                                          net::tests::Exchange& exchange) {
        switch (++count) {
            case 1:
                return exchange.reply(503, ec2_error("Unavailable"));
            case 2:
                return exchange.reset();
            case 3:
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n<Describe");
                return exchange.close();
            case 4:
                return exchange.reply(502, "<html>Bad gateway</html>");
            default:
                return exchange.reply(200, golden_text("responses/DescribeVolumes-attached.xml"));
        }
    });
    net::CurlTransport transport;
    auto keys = Credentials{.access_key_id = "AKIDEXAMPLE",
                            .secret_access_key = Secret("the-secret-key"),
                            .session_token = Secret("the-session-token")};
    StaticCredentials credentials(keys);
    core::SystemClock clock;
    core::Cancel cancel;
    Client client(transport, credentials, clock, cancel,
                  {.region = "eu-west-1", .overrides = {{"ec2", server.url()}}});
    const auto volumes = Ec2Client(client).describe_volumes({}, {});
    ASSERT_TRUE(volumes) << volumes.error().message();
    EXPECT_EQ(volumes->size(), 2U);
    const auto seen = server.requests();
    ASSERT_EQ(seen.size(), 5U);
    for (const auto& request : seen) {
        EXPECT_EQ(request.method, "POST");
        EXPECT_EQ(request.header("host"), server.url().substr(7));
        EXPECT_THAT(request.body, HasSubstr("Action=DescribeVolumes"));
        EXPECT_THAT(request.header("authorization"), HasSubstr("AWS4-HMAC-SHA256 Credential="));
        EXPECT_THAT(request.header("authorization"), Not(HasSubstr("the-secret-key")));
        EXPECT_EQ(request.header("x-amz-security-token"), "the-session-token");
    }
}

}  // namespace
}  // namespace amilift::aws
