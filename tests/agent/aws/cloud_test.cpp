// SPDX-License-Identifier: Apache-2.0
// The clients against the Local EC2 of tests/cloud: every signature and every IAM action is checked
// there, with the policy of conf/iam/helper-policy.json. No instance runs anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "aws/ec2_client.hpp"
#include "aws/imds.hpp"
#include "aws/s3_client.hpp"
#include "tests/agent/aws/local_ec2.hpp"

namespace amilift::aws {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using ::testing::HasSubstr;
using tests::LocalEc2;

const Tags kTags{{"amilift:job", "web 2011/é+&="}, {"amilift:step", "target"}};
const Filters kOurs{{"tag:amilift:job", {"web 2011/é+&="}}};

/// A system clock that is wrong.
class WrongClock final : public core::Clock {
  public:
    explicit WrongClock(std::chrono::seconds ahead) : ahead_(ahead) {}
    std::chrono::system_clock::time_point wall() const override { return right_.wall() + ahead_; }
    std::chrono::steady_clock::time_point steady() const override { return right_.steady(); }
    core::Result<> sleep_for(core::Duration d, const core::Cancel& cancel) override {
        return right_.sleep_for(d, cancel);
    }

  private:
    core::SystemClock right_;
    std::chrono::seconds ahead_;
};

class Cloud : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!LocalEc2::python()) {
            GTEST_SKIP()
                << "AMILIFT_PYTHON does not name a Python with tests/cloud/requirements.txt";
        }
    }
    void start(const std::vector<std::string>& arguments = {}) {
        auto started = LocalEc2::start(arguments);
        ASSERT_TRUE(started) << started.error().message();
        cloud.emplace(*std::move(started));
        for (const auto* service : {"ec2", "s3"}) {
            options.overrides[service] = cloud->fact("endpoint");
        }
        options.region = cloud->fact("region");
    }
    [[nodiscard]] Credentials admin() const {
        return {.access_key_id = cloud->fact("access_key"),
                .secret_access_key = Secret(cloud->fact("secret_key")),
                .session_token = Secret()};
    }
    /// Asks again while the service does not know yet what it has just created, or until `done`.
    template <class Ask, class Done>
    auto wait_for(Ask ask, Done done) {
        auto answer = ask();
        for (int i = 0; i < 100 && !(answer && done(*answer)); ++i) {
            EXPECT_TRUE(answer || answer.error().is(Errc::not_found)) << answer.error().message();
            EXPECT_TRUE(clock.sleep_for(100ms, cancel));
            answer = ask();
        }
        EXPECT_TRUE(answer) << answer.error().message();
        return answer;
    }
    auto wait_for_volume(Ec2Client& ec2, const std::string& id, const std::string& state) {
        return wait_for([&] { return ec2.describe_volumes({id}, {}); },
                        [&](const auto& found) { return found.at(0).state == state; });
    }

    std::optional<LocalEc2> cloud;
    net::CurlTransport transport;
    core::SystemClock clock;
    core::Cancel cancel;
    EndpointOptions options;
};

TEST_F(Cloud, HelperGoesThroughAConversionsCalls) {
    const std::string user_data = "#amilift\nsource: {ami: ami-12345678}\n";
    const auto file = ::testing::TempDir() + "amilift-user-data-" + std::to_string(::getpid());
    std::ofstream(file) << user_data;
    start({"--instance", "--user-data", file});
    ::unlink(file.c_str());
    if (HasFatalFailure()) return;

    // As on a real helper: identity and role keys from the metadata service, EC2 over TLS.
    Imds imds(transport, clock, cancel, {.base_url = cloud->fact("metadata")});
    ASSERT_EQ(imds.instance_id().value(), cloud->fact("instance"));
    EXPECT_EQ(imds.region().value(), options.region);
    EXPECT_EQ(imds.domain().value(), "amazonaws.com");
    EXPECT_EQ(imds.user_data().value().value(), user_data);
    const auto zone = imds.availability_zone().value();
    const auto helper = cloud->fact("instance");

    RefreshingCredentials credentials([&] { return imds.role_credentials(); }, clock);
    net::CurlTransport tls({.ca_bundle = cloud->fact("ca")});
    for (auto& [service, url] : options.overrides) url = cloud->fact("tls_endpoint");
    Client client(tls, credentials, clock, cancel, options);
    Ec2Client ec2(client);

    CreateVolumeRequest wanted;
    wanted.availability_zone = zone;
    wanted.size_gib = 2;
    wanted.client_token = "web-2011-target-1";
    wanted.tags = kTags;
    const auto volume = ec2.create_volume(wanted);
    ASSERT_TRUE(volume) << volume.error().message();
    EXPECT_EQ(volume->size_gib, 2);
    EXPECT_EQ(ec2.create_volume(wanted).value().id, volume->id) << "the token was not honoured";
    auto other = wanted;
    other.size_gib = 3;
    EXPECT_EQ(ec2.create_volume(other).error().id, "IdempotentParameterMismatch");
    wait_for_volume(ec2, volume->id, "available");
    const auto ours = ec2.describe_volumes({}, kOurs);
    ASSERT_TRUE(ours) << ours.error().message();
    ASSERT_EQ(ours->size(), 1U);
    EXPECT_EQ(ours->at(0).id, volume->id);
    EXPECT_EQ(ours->at(0).tags, kTags);

    ASSERT_TRUE(ec2.attach_volume(volume->id, helper, "/dev/sdf"));
    const auto attached = wait_for([&] { return ec2.describe_volumes({volume->id}, {}); },
                                   [](const auto& found) {
                                       return !found.at(0).attachments.empty() &&
                                              found[0].attachments[0].state == "attached";
                                   });
    ASSERT_TRUE(attached);
    EXPECT_EQ(attached->at(0).attachments.at(0).instance_id, helper);
    EXPECT_EQ(attached->at(0).attachments.at(0).device, "/dev/sdf");
    const auto again = ec2.attach_volume(volume->id, helper, "/dev/sdg");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Errc::conflict) << again.error().message();
    const auto marked = ec2.delete_volume_on_termination(helper, "/dev/sdf");
    ASSERT_TRUE(marked) << marked.error().message();
    EXPECT_TRUE(
        ec2.describe_volumes({volume->id}, {})->at(0).attachments.at(0).delete_on_termination);
    EXPECT_EQ(ec2.delete_volume(volume->id).error().id, "VolumeInUse");
    const auto instances = ec2.describe_instances({helper}, {});
    ASSERT_TRUE(instances) << instances.error().message();
    EXPECT_EQ(instances->at(0).state, "running");
    EXPECT_THAT(instances->at(0).block_devices, ::testing::Contains(::testing::Field(
                                                    &BlockDeviceMapping::device_name, "/dev/sdf")));
    ASSERT_TRUE(ec2.detach_volume(volume->id, helper, Detach::orderly));
    wait_for_volume(ec2, volume->id, "available");

    const auto snapshot =
        ec2.create_snapshot({.volume_id = volume->id, .description = "a + b", .tags = kTags});
    ASSERT_TRUE(snapshot) << snapshot.error().message();
    const auto complete =
        wait_for([&] { return ec2.describe_snapshots({snapshot->id}, {}); },
                 [](const auto& found) { return found.at(0).state == "completed"; });
    ASSERT_TRUE(complete);
    EXPECT_EQ(complete->at(0).description, "a + b");
    EXPECT_EQ(complete->at(0).volume_id, volume->id);
    EXPECT_EQ(ec2.describe_snapshots({}, kOurs).value().size(), 1U);

    RegisterImageRequest target;
    target.name = "web (2011)-hvm";
    target.description = "made by a test";
    target.architecture = "x86_64";
    target.root_device_name = "/dev/xvda";
    target.ena_support = true;
    target.tags = kTags;
    BlockDeviceMapping root;
    root.device_name = "/dev/xvda";
    root.snapshot_id = snapshot->id;
    root.volume_size_gib = 2;
    root.volume_type = "gp3";
    root.delete_on_termination = true;
    target.block_devices = {root};
    const auto image = ec2.register_image(target);
    ASSERT_TRUE(image) << image.error().message();
    const auto registered =
        wait_for([&] { return ec2.describe_images({*image}, {}, {}); },
                 [](const auto& found) { return !found.empty() && found[0].state == "available"; });
    ASSERT_TRUE(registered);
    const auto& made = registered->at(0);
    EXPECT_EQ(made.name, target.name);
    EXPECT_EQ(made.virtualization_type, "hvm");
    EXPECT_EQ(made.architecture, "x86_64");
    EXPECT_EQ(made.root_device_name, "/dev/xvda");
    EXPECT_TRUE(made.ena_support);
    EXPECT_EQ(made.tags, kTags);
    ASSERT_EQ(made.block_devices.size(), 1U);
    EXPECT_EQ(made.block_devices[0].snapshot_id, snapshot->id);
    EXPECT_EQ(made.block_devices[0].volume_type, "gp3");
    EXPECT_EQ(ec2.describe_images({}, {"self"}, {{"name", {target.name}}}).value().size(), 1U);
    EXPECT_EQ(ec2.register_image(target).error().code, Errc::already_exists);
    EXPECT_EQ(ec2.delete_snapshot(snapshot->id).error().code, Errc::conflict);

    const auto tagged = ec2.create_tags({helper}, {{"amilift:state", "done & <proven>"}});
    ASSERT_TRUE(tagged) << tagged.error().message();
    EXPECT_EQ(ec2.describe_instances({helper}, {})->at(0).tags.at("amilift:state"),
              "done & <proven>");
    ASSERT_TRUE(ec2.deregister_image(*image));
    ASSERT_TRUE(ec2.delete_snapshot(snapshot->id));
    ASSERT_TRUE(ec2.delete_volume(volume->id));
    EXPECT_EQ(ec2.delete_volume("vol-0123456789abcdef0").error().code, Errc::not_found);
    EXPECT_EQ(ec2.delete_snapshot(snapshot->id).error().code, Errc::not_found);
    ASSERT_TRUE(ec2.terminate_instance(helper));
}

TEST_F(Cloud, WrongKeysAndForbiddenActionsAreRefused) {
    start();
    if (HasFatalFailure()) return;
    auto wrong = admin();
    wrong.secret_access_key = Secret("not the secret key");
    StaticCredentials wrong_keys(wrong);
    Client wrong_client(transport, wrong_keys, clock, cancel, options);
    const auto refused = Ec2Client(wrong_client).describe_volumes({}, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::permission_denied) << refused.error().message();
    EXPECT_EQ(refused.error().id, "AuthFailure");

    StaticCredentials helper_keys({.access_key_id = cloud->fact("helper_access_key"),
                                   .secret_access_key = Secret(cloud->fact("helper_secret_key")),
                                   .session_token = Secret()});
    Client helper_client(transport, helper_keys, clock, cancel, options);
    EXPECT_TRUE(Ec2Client(helper_client).describe_volumes({}, {}));
    // The policy wants amilift's tag on every volume.
    CreateVolumeRequest untagged;
    untagged.availability_zone = options.region + "a";
    untagged.size_gib = 1;
    const auto forbidden = Ec2Client(helper_client).create_volume(untagged);
    ASSERT_FALSE(forbidden);
    EXPECT_EQ(forbidden.error().id, "UnauthorizedOperation") << forbidden.error().message();
    EXPECT_THAT(forbidden.error().hint, HasSubstr("'ec2:CreateVolume'"));
}

TEST_F(Cloud, WrongClockIsCorrected) {
    start();
    if (HasFatalFailure()) return;
    for (const auto ahead : {std::chrono::seconds(3h), std::chrono::seconds(-26h)}) {
        WrongClock wrong(ahead);
        StaticCredentials keys(admin());
        Client client(transport, keys, wrong, cancel, options);
        const auto volumes = Ec2Client(client).describe_volumes({}, {});
        EXPECT_TRUE(volumes) << volumes.error().message();
    }
}

TEST_F(Cloud, FaultsAreRiddenOutOrReported) {
    start({"--fault", "DescribeVolumes@1=503:RequestLimitExceeded", "--fault",
           "DescribeVolumes@2=drop", "--fault", "DescribeVolumes@3=truncate", "--fault",
           "DescribeSnapshots@1x0=garbage", "--fault", "CreateSnapshot@1=drop-after", "--fault",
           "CreateVolume@1=drop-after", "--fault", "DeleteVolume@1=drop-after"});
    if (HasFatalFailure()) return;
    StaticCredentials keys(admin());
    Client client(transport, keys, clock, cancel, options, {.longest_call = 10s});
    Ec2Client ec2(client);
    const auto listed = ec2.describe_volumes({}, kOurs);
    ASSERT_TRUE(listed) << listed.error().message();

    CreateVolumeRequest wanted;
    wanted.availability_zone = options.region + "a";
    wanted.size_gib = 1;
    wanted.client_token = "token";
    wanted.tags = kTags;
    const auto volume = ec2.create_volume(wanted);
    ASSERT_TRUE(volume) << volume.error().message();
    wait_for_volume(ec2, volume->id, "available");
    EXPECT_EQ(ec2.describe_volumes({}, kOurs).value().size(), 1U) << "created twice";

    const auto snapshot =
        ec2.create_snapshot({.volume_id = volume->id, .description = {}, .tags = kTags});
    ASSERT_FALSE(snapshot);
    EXPECT_EQ(snapshot.error().id, kOutcomeUnknown) << snapshot.error().message();

    const auto garbage = ec2.describe_snapshots({}, {});
    ASSERT_FALSE(garbage);
    EXPECT_TRUE(garbage.error().is(Errc::unavailable) || garbage.error().is(Errc::corrupt))
        << garbage.error().message();
    // Deleted by the first request, whose answer was lost: the second is told that it is going.
    const auto deleted = ec2.delete_volume(volume->id);
    ASSERT_FALSE(deleted);
    EXPECT_TRUE(deleted.error().is(Errc::not_found) || deleted.error().is(Errc::conflict))
        << deleted.error().message();
}

TEST_F(Cloud, ObjectsAreRead) {
    start();
    if (HasFatalFailure()) return;
    StaticCredentials keys(admin());
    Client client(transport, keys, clock, cancel, options);
    const auto bucket = cloud->fact("job_bucket");
    const std::string key = "jobs/web 2011/é+&=.yaml";
    const std::string body("source: {ami: ami-1}\n\0\xff", 23);
    ServiceCall put{.service = "s3",
                    .operation = "CreateBucket",
                    .method = net::Method::put,
                    .path = "/" + bucket,
                    .path_rule = PathRule::verbatim};
    const auto made = client.call(put);
    ASSERT_TRUE(made) << made.error().message();
    put.operation = "PutObject";
    put.path += "/" + percent_encode(key, "/");
    put.body = body;
    const auto stored = client.call(put);
    ASSERT_TRUE(stored) << stored.error().message();
    S3Client s3(client);
    const auto object = s3.get_object(bucket, key, std::nullopt, 1000);
    ASSERT_TRUE(object) << object.error().message();
    EXPECT_EQ(*object, body);
    EXPECT_EQ(s3.get_object(bucket, key, std::nullopt, 22).error().code, Errc::corrupt);
    EXPECT_EQ(s3.get_object(bucket, "absent", std::nullopt, 10).error().code, Errc::not_found);
}

}  // namespace
}  // namespace amilift::aws
