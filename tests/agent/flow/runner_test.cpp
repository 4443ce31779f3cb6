// SPDX-License-Identifier: Apache-2.0
#include "flow/runner.hpp"

#include <fmt/format.h>

#include "aws/client.hpp"
#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;
using flow::Outcome;

TEST_F(FlowTest, LeavesOneAmiOneSnapshotAndNoVolume) {
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(ec2.registered.size(), 1U);
    const auto& image = ec2.images.at(record->image);
    EXPECT_EQ(image.state, "available");
    EXPECT_EQ(image.name, "web-2011-hvm-2023-11-14");
    EXPECT_EQ(image.virtualization_type, "hvm");
    EXPECT_EQ(image.architecture, "x86_64");
    EXPECT_EQ(image.root_device_name, "/dev/xvda");
    EXPECT_EQ(ec2.registered[0].ena_support, true);
    ASSERT_EQ(image.block_devices.size(), 1U);
    EXPECT_EQ(image.block_devices[0].snapshot_id, record->snapshot);
    EXPECT_EQ(image.block_devices[0].volume_size_gib, 9);
    EXPECT_EQ(image.tags.at("Team"), "web");
    EXPECT_FALSE(image.tags.contains("aws:cloudformation:stack-name"));
    EXPECT_EQ(image.tags.at("amilift:source-ami"), kSource);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(ec2.snapshots.size(), 1U);
    EXPECT_EQ(ec2.delete_on_termination, (std::set<std::string>{"/dev/sdf", "/dev/sdg"}));
    EXPECT_EQ(ec2.count("TerminateInstances"), 1);
    EXPECT_EQ(control.powered_off, 1);
    EXPECT_EQ(control.armed, std::vector<std::chrono::seconds>{std::chrono::minutes(120)});
    EXPECT_EQ(observer.states,
              (std::vector<std::string>{"fetch-job", "preflight", "create-volumes",
                                        "attach-volumes", "convert", "detach-volumes", "snapshot",
                                        "register-image", "delete-volumes", "finish"}));
}

TEST_F(FlowTest, GivesTheWorkerTheDevicesOfItsVolumes) {
    const auto record = run();
    ASSERT_TRUE(record);
    ASSERT_EQ(worker.orders.size(), 1U);
    const auto& order = worker.orders[0];
    EXPECT_EQ(order.source_path, "/dev/fake-" + order.source_volume);
    EXPECT_EQ(order.target_path, "/dev/fake-" + order.target_volume);
    EXPECT_NE(order.source_volume, order.target_volume);
    EXPECT_EQ(order.source_device, "/dev/sdf");
    EXPECT_EQ(order.target_device, "/dev/sdg");
    EXPECT_TRUE(order.target_is_untouched);
    EXPECT_EQ(ec2.created.at(order.source_volume).snapshot_id, "snap-0000000000000000c");
    EXPECT_EQ(ec2.created.at(order.target_volume).snapshot_id, std::nullopt);
    EXPECT_EQ(ec2.created.at(order.target_volume).size_gib, 9);
    EXPECT_EQ(ec2.created.at(order.target_volume).availability_zone, "eu-west-1a");
}

TEST_F(FlowTest, SetsNoEnaSupportWithoutAProvenDriver) {
    worker.outcome->ena_driver.clear();
    const auto record = run();
    ASSERT_TRUE(record);
    ASSERT_EQ(ec2.registered.size(), 1U);
    EXPECT_EQ(ec2.registered[0].ena_support, std::nullopt);
    ASSERT_FALSE(observer.warnings.empty());
    EXPECT_NE(observer.warnings[0].find("no ENA driver"), std::string::npos);
}

TEST_F(FlowTest, GptGetsTheBootModeThatIsProven) {
    for (const bool uefi : {true, false}) {
        std::filesystem::remove(record_path());
        ec2.images.erase("unused");
        job.id = uefi ? "by-uefi" : "by-bios";
        job.target.name = job.id;
        job.conversion.layout = job::Layout::gpt;
        worker.outcome->boots_by_uefi = uefi;
        const auto record = run();
        ASSERT_TRUE(record);
        ASSERT_EQ(record->outcome, Outcome::succeeded) << record->error;
        EXPECT_EQ(ec2.registered.back().boot_mode, uefi ? "uefi-preferred" : "legacy-bios");
    }
    EXPECT_EQ(worker.orders.back().options.layout, job::Layout::gpt);
}

TEST_F(FlowTest, BootModeIsLeftToEc2ForMbr) {
    worker.outcome->boots_by_uefi = true;
    ASSERT_TRUE(run());
    EXPECT_EQ(ec2.registered.at(0).boot_mode, std::nullopt);
}

TEST_F(FlowTest, WantedSizeIsTheTargetVolumes) {
    job.conversion.size_gib = 20;
    const auto record = run();
    ASSERT_TRUE(record);
    ASSERT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.created.at(worker.orders.at(0).target_volume).size_gib, 20);
    EXPECT_EQ(worker.orders[0].options.size_gib, 20U);
    EXPECT_EQ(ec2.registered.at(0).block_devices.at(0).volume_size_gib, 20);
}

TEST_F(FlowTest, ToleratesObjectsThatAreUnknownAfterTheirCreation) {
    ec2.invisible = 4;
    ec2.slowness = 5;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
}

TEST_F(FlowTest, RefusesBeforeAnythingIsCreated) {
    ec2.images[kSource].virtualization_type = "hvm";
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "already-hvm");
    EXPECT_EQ(ec2.count("CreateVolume"), 0);
    EXPECT_EQ(ec2.count("TerminateInstances"), 1);
    EXPECT_EQ(observer.states, (std::vector<std::string>{"fetch-job", "preflight", "finish"}));
}

TEST_F(FlowTest, RefusesMoreTagsThanEc2TakesBeforeAnythingIsCreated) {
    for (int i = 0; i < 47; ++i) ec2.images.at(kSource).tags[fmt::format("tag-{}", i)] = "x";
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("52 tags"), std::string::npos) << record->error;
    EXPECT_EQ(ec2.count("CreateVolume"), 0);
}

TEST_F(FlowTest, SaysWhichAmiIsUnknown) {
    job.source.ami = "ami-0000000000000ffff";
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "InvalidAMIID.NotFound");
    EXPECT_NE(record->error.find("ami-0000000000000ffff"), std::string::npos) << record->error;
}

TEST_F(FlowTest, CleansUpAfterAFailedConversion) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "xen-only-kernel");
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(ec2.snapshots.size(), 0U);
    EXPECT_EQ(ec2.images.size(), 1U);
}

TEST_F(FlowTest, StartsAKilledDiskWorkerAgain) {
    const auto good = worker.outcome;
    worker.outcome = core::fail(Errc::io_error, "the disk worker was ended by signal 9", "",
                                flow::kWorkerKilled);
    worker.during = [&] {
        if (worker.orders.size() == 2) worker.outcome = good;
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(worker.orders.size(), 2U);
    EXPECT_TRUE(worker.orders[0].target_is_untouched);
    EXPECT_FALSE(worker.orders[1].target_is_untouched);
    EXPECT_EQ(worker.orders[0].target_volume, worker.orders[1].target_volume);
}

TEST_F(FlowTest, StartsADiskWorkerThatIsAlwaysKilledThreeTimes) {
    worker.outcome = core::fail(Errc::io_error, "the disk worker was ended by signal 9", "",
                                flow::kWorkerKilled);
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(worker.orders.size(), 3U);
    EXPECT_EQ(ec2.volumes.size(), 0U);
}

TEST_F(FlowTest, CleansUpWhatEc2DoesNotKnowYet) {
    ec2.invisible = 6;
    int volumes = 0;
    ec2.hook = [&](const std::string& action, bool is_before) -> core::Result<> {
        if (action != "CreateVolume" || !is_before || ++volumes < 2) return {};
        return core::fail(Errc::permission_denied, "UnauthorizedOperation", "",
                          "UnauthorizedOperation");
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(ec2.volumes.size(), 0U);
}

TEST_F(FlowTest, CleansUpWhenAVolumeNeverAppears) {
    devices.appears = false;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("did not appear"), std::string::npos);
    EXPECT_EQ(ec2.volumes.size(), 0U);
}

TEST_F(FlowTest, LeavesNoAmiThatDidNotBecomeAvailable) {
    ec2.hook = [this](const std::string& action, bool before) -> core::Result<> {
        if (action == "DescribeImages" && before) {
            for (auto& [id, image] : ec2.images) {
                if (image.state == "pending") {
                    image.state = "failed";
                    image.state_reason = "internal error";
                }
            }
        }
        return {};
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("internal error"), std::string::npos) << record->error;
    EXPECT_EQ(ec2.images.size(), 1U);
    EXPECT_EQ(ec2.snapshots.size(), 0U);
    EXPECT_EQ(ec2.volumes.size(), 0U);
}

TEST_F(FlowTest, CleansUpWhenTheDeadlinePasses) {
    worker.during = [this] { job_cancel.request("the job's deadline of 120 minutes has passed"); };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("deadline"), std::string::npos);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(control.powered_off, 1);
}

TEST_F(FlowTest, TakesASuffixWhenTheNameIsTakenAndTheJobAllowsIt) {
    auto other = ec2.images[kSource];
    other.id = "ami-0000000000000000d";
    other.name = "web-2011-hvm-2023-11-14";
    other.owner_id = "self";
    ec2.images[other.id] = other;
    const auto refused = run();
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->error_id, "InvalidAMIName.Duplicate");
    EXPECT_EQ(ec2.count("CreateVolume"), 0);

    std::filesystem::remove(record_path());
    job.target.on_name_collision = job::NameCollision::suffix;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->image_name, "web-2011-hvm-2023-11-14-2");
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
}

TEST_F(FlowTest, RefusesAVolumeThatAnotherHelperUses) {
    job.id = "shared";
    aws::Volume v;
    v.id = "vol-0000000000000000e";
    v.state = "in-use";
    v.availability_zone = "eu-west-1a";
    v.attachments.push_back({"i-0000000000000000f", "/dev/sdf", "attached", true});
    v.tags = {{"amilift:job", "shared"}, {"amilift:role", "source"}};
    ec2.volumes[v.id] = v;
    ec2.instances["i-0000000000000000f"].id = "i-0000000000000000f";
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("another helper works on the same job"), std::string::npos);
    // Cleaning up must not tear the volume from under the other helper.
    EXPECT_TRUE(ec2.volumes.contains(v.id));
    EXPECT_EQ(ec2.volumes.at(v.id).attachments.front().state, "attached");
}

TEST_F(FlowTest, CleansUpWhatTheRecordKnowsWhenTheSearchIsRefused) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    ec2.hook = [](const std::string& action, bool) -> core::Result<> {
        if (action != "DescribeSnapshots") return {};
        return core::fail(Errc::permission_denied, "UnauthorizedOperation", "",
                          "UnauthorizedOperation");
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(control.powered_off, 1);
}

TEST_F(FlowTest, TakesAnAdoptedTargetForUsed) {
    job.id = "again";
    aws::Volume v;
    v.id = "vol-0000000000000000e";
    v.state = "available";
    v.availability_zone = "eu-west-1a";
    v.size_gib = 9;
    v.tags = {{"amilift:job", "again"}, {"amilift:role", "target"}};
    ec2.volumes[v.id] = v;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(worker.orders.size(), 1U);
    EXPECT_EQ(worker.orders[0].target_volume, v.id);
    EXPECT_FALSE(worker.orders[0].target_is_untouched);
}

TEST_F(FlowTest, RefusesVolumesThatWereMadeForAnotherAmi) {
    job.id = "again";
    aws::Volume v;
    v.id = "vol-0000000000000000e";
    v.state = "available";
    v.availability_zone = "eu-west-1a";
    v.snapshot_id = "snap-of-another-ami";
    v.tags = {{"amilift:job", "again"}, {"amilift:role", "source"}};
    ec2.volumes[v.id] = v;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("another job"), std::string::npos) << record->error;
    EXPECT_TRUE(worker.orders.empty());
}

TEST_F(FlowTest, LooksForWhatALostAnswerHadCreated) {
    std::set<std::string> lost;
    ec2.hook = [&](const std::string& action, bool is_before) -> core::Result<> {
        if (is_before || (action != "CreateSnapshot" && action != "RegisterImage")) return {};
        if (!lost.insert(action).second) return {};
        return core::fail(Errc::timed_out, action + " got no answer", "",
                          std::string(aws::kOutcomeUnknown));
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(lost.size(), 2U);
    EXPECT_EQ(ec2.snapshots.size(), 1U);
    EXPECT_EQ(ec2.registered.size(), 1U);
}

}  // namespace
}  // namespace amilift::fakes
