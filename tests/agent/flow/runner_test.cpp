// SPDX-License-Identifier: Apache-2.0
#include "flow/runner.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

#include "aws/client.hpp"
#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;
using flow::Outcome;
using flow::State;
using ::testing::AnyOf;

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

TEST_F(FlowTest, ConvertsOneVolumeOfTheSnapshotInPlace) {
    job.conversion.layout = job::Layout::in_place;
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.count("CreateVolume"), 1);
    ASSERT_EQ(worker.orders.size(), 1U);
    const auto& order = worker.orders[0];
    EXPECT_EQ(order.source_path, "");
    EXPECT_EQ(order.source_volume, "");
    EXPECT_EQ(order.target_path, "/dev/fake-" + order.target_volume);
    EXPECT_TRUE(order.target_is_untouched);
    EXPECT_EQ(order.options.layout, job::Layout::in_place);
    const auto& created = ec2.created.at(order.target_volume);
    EXPECT_EQ(created.snapshot_id, "snap-0000000000000000c");
    EXPECT_EQ(created.size_gib, std::nullopt) << "the size of the snapshot";
    EXPECT_EQ(created.volume_type, "gp3");
    EXPECT_EQ(ec2.registered[0].block_devices[0].volume_size_gib, 8);
    EXPECT_EQ(ec2.delete_on_termination, (std::set<std::string>{"/dev/sdf"}));
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(ec2.snapshots.size(), 1U);
}

TEST_F(FlowTest, InPlaceGivesNoAmiThatIsBilledOtherwise) {
    job.conversion.layout = job::Layout::in_place;
    ec2.images.at(kSource).usage_operation = "RunInstances:0010";
    const auto lost = run();
    ASSERT_TRUE(lost);
    EXPECT_EQ(lost->error_id, "billing-codes-lost") << lost->error;
    EXPECT_EQ(ec2.images.size(), 1U);
    EXPECT_EQ(ec2.snapshots.size(), 0U);
}

TEST_F(FlowTest, InPlaceKeepsTheBillingCodes) {
    job.conversion.layout = job::Layout::in_place;
    ec2.images.at(kSource).usage_operation = "RunInstances:0010";
    ec2.hook = [this](const std::string& action, bool before) -> core::Result<> {
        if (action != "RegisterImage" || before) return {};
        for (auto& [id, image] : ec2.images) image.usage_operation = "RunInstances:0010";
        return {};
    };
    const auto kept = run();
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->outcome, Outcome::succeeded) << kept->error;
}

TEST_F(FlowTest, InPlaceTellsTheWorkerOfAnInterruptedConversion) {
    job.conversion.layout = job::Layout::in_place;
    worker.during = [this] {
        worker.during = nullptr;
        throw Crash{};
    };
    EXPECT_THROW((void)run(), Crash);
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(worker.orders.size(), 2U);
    EXPECT_TRUE(worker.orders[0].target_is_untouched);
    EXPECT_FALSE(worker.orders[1].target_is_untouched);
    EXPECT_EQ(worker.orders[0].target_volume, worker.orders[1].target_volume);
}

TEST_F(FlowTest, AnHvmSourceIsConvertedOnOneVolumeOfItsSnapshot) {
    make_source_hvm();
    auto& source = ec2.images.at(kSource);
    source.boot_mode = "uefi-preferred";
    worker.outcome->boots_by_uefi = true;
    source.imds_support = "v2.0";
    source.sriov_net_support = "simple";
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.count("CreateVolume"), 1);
    const auto& order = worker.orders.at(0);
    EXPECT_EQ(order.source_path, "");
    EXPECT_TRUE(order.target_is_untouched);
    EXPECT_EQ(order.options.layout, job::Layout::mbr) << "what the job says of other sources";
    const auto& created = ec2.created.at(order.target_volume);
    EXPECT_EQ(created.snapshot_id, "snap-0000000000000000c");
    EXPECT_EQ(created.size_gib, std::nullopt);
    const auto& registered = ec2.registered.at(0);
    EXPECT_EQ(registered.boot_mode, "uefi-preferred");
    EXPECT_EQ(registered.imds_support, "v2.0");
    EXPECT_EQ(registered.sriov_net_support, "simple");
    EXPECT_EQ(registered.tpm_support, "");
    EXPECT_EQ(registered.ena_support, true);
    EXPECT_EQ(registered.block_devices.at(0).volume_size_gib, 8);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(ec2.snapshots.size(), 1U);
}

TEST_F(FlowTest, AnHvmSourceThatUefiIsNotSeenToStartIsRegisteredForBios) {
    make_source_hvm();
    ec2.images.at(kSource).boot_mode = "uefi-preferred";
    ec2.images.at(kSource).tpm_support = "v2.0";
    worker.outcome->boots_by_uefi = false;
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.registered.at(0).boot_mode, "legacy-bios");
    EXPECT_EQ(ec2.registered.at(0).tpm_support, "") << "EC2 takes it for UEFI only";
    EXPECT_TRUE(std::ranges::any_of(observer.warnings, [](const std::string& warning) {
        return warning.find("instead of uefi-preferred") != std::string::npos;
    }));
}

TEST_F(FlowTest, AnHvmSourceGetsALargerVolumeOfItsSnapshot) {
    make_source_hvm();
    job.conversion.size_gib = 20;
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    const auto& created = ec2.created.at(worker.orders.at(0).target_volume);
    EXPECT_EQ(created.snapshot_id, "snap-0000000000000000c");
    EXPECT_EQ(created.size_gib, 20);
    EXPECT_EQ(worker.orders.at(0).options.size_gib, 20U);
    EXPECT_EQ(ec2.registered.at(0).block_devices.at(0).volume_size_gib, 20);
}

TEST_F(FlowTest, AUefiSourceKeepsItsBootModeAndIsWarnedOf) {
    make_source_hvm();
    ec2.images.at(kSource).boot_mode = "uefi";
    ec2.images.at(kSource).tpm_support = "v2.0";
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.registered.at(0).boot_mode, "uefi");
    EXPECT_EQ(ec2.registered.at(0).tpm_support, "v2.0");
    ASSERT_FALSE(observer.warnings.empty());
    EXPECT_NE(observer.warnings[0].find("boot mode uefi"), std::string::npos);
    EXPECT_NE(observer.warnings.back().find("nothing proves that UEFI starts the new AMI"),
              std::string::npos);
}

TEST_F(FlowTest, AnHvmSourceKeepsItsBillingCodes) {
    make_source_hvm();
    ec2.images.at(kSource).usage_operation = "RunInstances:0010";
    ec2.hook = [this](const std::string& action, bool before) -> core::Result<> {
        if (action != "RegisterImage" || before) return {};
        for (auto& [id, image] : ec2.images) image.usage_operation = "RunInstances:0010";
        return {};
    };
    const auto kept = run();
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->outcome, Outcome::succeeded) << kept->error;
}

class ParavirtualFlowTest : public FlowTest {
  protected:
    void SetUp() override {
        FlowTest::SetUp();
        job.conversion.virtualization = job::Virtualization::paravirtual;
        job.target.name = job::kPvName;
        job.target.root_device_name = job::kPvRootDeviceName;
        aws::Image aki;
        aki.id = kAki;
        aki.name = "pv-grub-hd0_1.05-x86_64.gz";
        aki.state = "available";
        aki.owner_id = "amazon";
        ec2.images[kAki] = aki;
    }
    static constexpr const char* kAki = "aki-0000000f";
};

TEST_F(ParavirtualFlowTest, RegistersWithPvGrubAndWithoutWhatHvmNeeds) {
    ec2.images.at(kSource).virtualization_type = "hvm";
    const auto record = run();
    ASSERT_TRUE(record) << record.error().message();
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(ec2.registered.size(), 1U);
    const auto& request = ec2.registered[0];
    EXPECT_EQ(request.name, "web-2011-pv-2023-11-14");
    EXPECT_EQ(request.virtualization_type, "paravirtual");
    EXPECT_EQ(request.kernel_id, kAki);
    EXPECT_EQ(request.root_device_name, "/dev/sda1");
    EXPECT_EQ(request.ena_support, std::nullopt);
    EXPECT_EQ(request.boot_mode, std::nullopt);
    ASSERT_EQ(worker.orders.size(), 1U);
    EXPECT_EQ(worker.orders[0].options.virtualization, job::Virtualization::paravirtual);
    EXPECT_EQ(worker.orders[0].options.architecture, "x86_64");
    EXPECT_EQ(ec2.created.at(worker.orders[0].target_volume).size_gib, 8);
    EXPECT_TRUE(observer.warnings.empty());
}

TEST_F(ParavirtualFlowTest, RefusesBeforeAnythingIsCreated) {
    job.target.aki = "aki-0000000e";
    auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->error_id, "InvalidAMIID.NotFound");
    std::filesystem::remove(record_path());
    job.target.aki = "auto";
    ec2.images.at(kSource).architecture = "i386";
    record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->error_id, "no-aki");
    EXPECT_EQ(ec2.count("CreateVolume"), 0);
}

TEST_F(ParavirtualFlowTest, KeepsItsPvGrubOverARestart) {
    worker.during = [this] {
        stop.request("told to stop");
        job_cancel.request("told to stop");
    };
    ASSERT_FALSE(run());
    const auto kept = flow::load_record(record_path());
    ASSERT_TRUE(kept && *kept);
    EXPECT_EQ((*kept)->kernel_id, kAki);
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

TEST_F(FlowTest, EndsTheHelperWhenThereIsNoJob) {
    fetched = core::fail(Errc::not_found, "this instance has no user-data", "", "no-user-data");
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "no-user-data");
    EXPECT_EQ(ec2.count("TerminateInstances"), 1);
    EXPECT_EQ(control.powered_off, 1);
}

TEST_F(FlowTest, NeverEndsAMachineThatIsNoThrowawayHelper) {
    auto s = services();
    s.throwaway = false;
    ASSERT_TRUE(flow::run_job(s));
    EXPECT_EQ(ec2.count("TerminateInstances"), 0);
    EXPECT_EQ(control.powered_off, 0);
}

TEST_F(FlowTest, KeepsTheHelperWhenTheJobSaysSo) {
    job.finish.on_success = job::FinishAction::keep;
    ASSERT_TRUE(run());
    EXPECT_EQ(ec2.count("TerminateInstances"), 0);
    EXPECT_EQ(control.powered_off, 0);
    EXPECT_EQ(control.disarmed, 1);
}

TEST_F(FlowTest, PowersOffWhenTheApiRefusesToTerminate) {
    ec2.hook = [](const std::string& action, bool) -> core::Result<> {
        if (action != "TerminateInstances") return {};
        return core::fail(Errc::permission_denied, "UnauthorizedOperation", "",
                          "UnauthorizedOperation");
    };
    ASSERT_TRUE(run());
    EXPECT_EQ(control.powered_off, 1);
    ASSERT_FALSE(observer.warnings.empty());
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

TEST_F(FlowTest, StopsInMidJobAndGoesOnAtTheNextStart) {
    worker.during = [this] {
        stop.request("told to stop");
        job_cancel.request("told to stop");
    };
    const auto stopped = run();
    ASSERT_FALSE(stopped);
    EXPECT_TRUE(stopped.error().is(Errc::cancelled));
    EXPECT_EQ(ec2.volumes.size(), 2U);

    core::Cancel fresh_stop;
    core::Cancel fresh_job;
    worker.during = nullptr;
    flow::Services again{ec2,
                         devices,
                         worker,
                         control,
                         clock,
                         fresh_stop,
                         fresh_job,
                         observer,
                         [this]() -> core::Result<job::Job> { return job; },
                         {kHelper, "eu-west-1a", "eu-west-1"},
                         record_path(),
                         "0.1.0",
                         true,
                         {},
                         boot_id};
    const auto record = flow::run_job(again);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.count("CreateVolume"), 2);
    ASSERT_EQ(worker.orders.size(), 2U);
    EXPECT_EQ(control.armed.size(), 2U);
    // Bytes of the first try may be on the target: the second must not skip zero blocks.
    EXPECT_FALSE(worker.orders[1].target_is_untouched);
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

TEST_F(FlowTest, BreaksARestartLoop) {
    flow::Record stuck;
    stuck.instance_id = kHelper;
    stuck.job_id = kHelper;
    stuck.state = State::convert;
    stuck.started_at = core::format_utc(clock.wall());
    stuck.entries["convert"] = flow::kMaxEntries;
    ASSERT_TRUE(flow::save_record(record_path(), stuck));
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "restart-loop");
    EXPECT_EQ(control.powered_off, 1);
}

TEST_F(FlowTest, IgnoresARecordThatCameWithTheHelpersAmi) {
    flow::Record other;
    other.instance_id = "i-00000000000000bad";
    other.state = State::ended;
    other.started_at = core::format_utc(clock.wall());
    ASSERT_TRUE(flow::save_record(record_path(), other));
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
}

TEST_F(FlowTest, OnlyEndsTheHelperAgainOnceTheJobHasEnded) {
    ASSERT_TRUE(run());
    const auto calls = ec2.calls.size();
    for (int again = 2; again < 6; ++again) {
        const auto record = run();
        ASSERT_TRUE(record);
        EXPECT_EQ(record->outcome, Outcome::succeeded);
        EXPECT_EQ(ec2.count("TerminateInstances"), again);
        EXPECT_EQ(control.powered_off, again);
    }
    EXPECT_EQ(ec2.calls.size(), calls + 4);
}

TEST_F(FlowTest, StopsTheHelperWhenTheJobSaysSo) {
    job.finish.on_success = job::FinishAction::stop;
    ASSERT_TRUE(run());
    EXPECT_EQ(ec2.count("StopInstances"), 1);
    EXPECT_EQ(ec2.count("TerminateInstances"), 0);
    EXPECT_EQ(control.powered_off, 1);
    // Killed while it was stopping the helper, the agent is started again at once.
    ASSERT_TRUE(run());
    EXPECT_EQ(ec2.count("StopInstances"), 2);
    EXPECT_EQ(control.powered_off, 2);
    EXPECT_EQ(control.disarmed, 0);
}

TEST_F(FlowTest, KeepsAStoppedHelperThatIsStartedAgain) {
    job.finish.on_failure = job::FinishAction::stop;
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    ASSERT_TRUE(run());
    EXPECT_EQ(control.powered_off, 1);
    for (const char* boot : {"second", "third"}) {
        boot_id = boot;
        const auto calls = ec2.calls.size();
        // Long after the job's deadline, and with user-data that is no job any more.
        clock.advance(std::chrono::hours(30));
        if (boot_id == "third") fetched = core::fail(Errc::not_found, "no user-data");
        const auto again = run();
        ASSERT_TRUE(again);
        EXPECT_EQ(again->outcome, Outcome::failed);
        EXPECT_EQ(again->error_id, "xen-only-kernel");
        EXPECT_EQ(ec2.calls.size(), calls) << "nothing is done but told";
    }
    EXPECT_EQ(control.powered_off, 1);
    EXPECT_EQ(control.disarmed, 2);
}

TEST_F(FlowTest, TellsTheOutcomeUnderTheIdOfTheJobThatHadIt) {
    job.finish.on_success = job::FinishAction::stop;
    for (const char* id : {"first", ""}) {
        job.id = id;
        boot_id = "first";
        job.target.name = fmt::format("result of '{}'", id);
        std::filesystem::remove(record_path());
        const auto record = run();
        ASSERT_TRUE(record);
        ASSERT_EQ(record->outcome, Outcome::succeeded) << record->error;
        // Stopped, the helper gets another job in its user-data, and is started again.
        job.id = "another";
        boot_id = "second";
        const auto again = run();
        ASSERT_TRUE(again);
        EXPECT_EQ(again->job_id, *id == '\0' ? kHelper : id);
    }
}

TEST_F(FlowTest, ReportsARecordThatCannotBeReadAndCleansUpByTag) {
    for (const char* text : {"{", "", R"({"version": 9, "state": "convert"})"}) {
        SCOPED_TRACE(text);
        job.id = fmt::format("web-{}", std::string_view(text).size());
        worker.during = [] { throw Crash{}; };
        EXPECT_THROW((void)run(), Crash);
        EXPECT_EQ(ec2.volumes.size(), 2U);
        std::ofstream(record_path()) << text;
        observer.finished.clear();
        const auto record = run();
        ASSERT_TRUE(record) << record.error().message();
        EXPECT_EQ(record->outcome, Outcome::failed);
        EXPECT_NE(record->error.find(record_path()), std::string::npos) << record->error;
        EXPECT_EQ(observer.finished, record->error);
        EXPECT_EQ(ec2.volumes.size(), 0U);
        EXPECT_EQ(ec2.instances.at(kHelper).state, "shutting-down");
        std::filesystem::remove(record_path());
    }
}

TEST_F(FlowTest, KeepsAKeptHelperAfterItsReboot) {
    job.finish.on_success = job::FinishAction::keep;
    ASSERT_TRUE(run());
    ASSERT_TRUE(run());
    EXPECT_EQ(control.disarmed, 2);
    EXPECT_EQ(control.powered_off, 0);
}

TEST_F(FlowTest, DoesNotEndTheHelperWhenItIsToldToStopWhileCleaningUp) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    ec2.hook = [&](const std::string& action, bool) -> core::Result<> {
        if (action == "DeleteVolume") stop.request("told to stop");
        if (action != "DeleteVolume") return {};
        return core::fail(Errc::unavailable, "no answer");
    };
    const auto stopped = run();
    ASSERT_FALSE(stopped);
    EXPECT_EQ(control.powered_off, 0);
    EXPECT_EQ(flow::load_record(record_path()).value()->state, State::clean_up);
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

TEST_F(FlowTest, CleansUpAndEndsWithoutARecord) {
    worker.during = [this] { std::filesystem::remove_all(directory_); };
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
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

/// How many volumes a job makes of its source.
enum class Way { copy, in_place, hvm };

class FlowOfEachWay : public FlowTest, public ::testing::WithParamInterface<Way> {
  protected:
    void SetUp() override {
        FlowTest::SetUp();
        if (GetParam() == Way::in_place) job.conversion.layout = job::Layout::in_place;
        if (GetParam() == Way::hvm) make_source_hvm();
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, FlowOfEachWay, ::testing::Values(Way::copy, Way::in_place, Way::hvm),
                         [](const auto& way) {
                             return way.param == Way::copy       ? "copy"
                                    : way.param == Way::in_place ? "in_place"
                                                                 : "hvm";
                         });

/// The agent dies at every single API call, once before the call has an effect and once after;
/// restarted, it ends with the same result and nothing twice.
TEST_P(FlowOfEachWay, SurvivesACrashAtEveryApiCall) {
    ASSERT_TRUE(run());
    const auto total = static_cast<int>(ec2.calls.size());
    ASSERT_GT(total, 15);
    for (const bool before : {true, false}) {
        for (int at = 0; at < total; ++at) {
            SCOPED_TRACE(fmt::format("crash {} call {}", before ? "before" : "after", at));
            TearDown();
            ec2.reset();
            SetUp();
            int call = 0;
            bool crashed = false;
            ec2.hook = [&](const std::string&, bool is_before) -> core::Result<> {
                if (is_before != before) return {};
                if (call++ == at && !crashed) {
                    crashed = true;
                    throw Crash{};
                }
                return {};
            };
            bool died = false;
            try {
                (void)run();
            } catch (const Crash&) {
                died = true;
            }
            ASSERT_TRUE(died || !crashed);
            const auto record = run();
            ec2.hook = nullptr;
            ASSERT_TRUE(record) << record.error().message();
            EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
            EXPECT_EQ(ec2.volumes.size(), 0U);
            EXPECT_EQ(ec2.snapshots.size(), 1U);
            EXPECT_EQ(ec2.images.size(), 2U);
            EXPECT_EQ(ec2.registered.size(), 1U);
        }
    }
}

/// Every API call fails for good once: the job says so, ends the helper, and leaves nothing behind.
TEST_P(FlowOfEachWay, LeavesNothingBehindWhenAnyCallIsRefused) {
    ASSERT_TRUE(run());
    const auto total = static_cast<int>(ec2.calls.size());
    for (int at = 0; at < total; ++at) {
        SCOPED_TRACE(fmt::format("call {} refused", at));
        TearDown();
        ec2.reset();
        SetUp();
        control.powered_off = 0;
        int call = 0;
        std::string refused;
        ec2.hook = [&](const std::string& action, bool is_before) -> core::Result<> {
            if (!is_before) return {};
            if (call++ != at) return {};
            refused = action;
            return core::fail(Errc::permission_denied, "UnauthorizedOperation: " + action, "",
                              "UnauthorizedOperation");
        };
        const auto record = run();
        ec2.hook = nullptr;
        ASSERT_TRUE(record) << record.error().message();
        EXPECT_EQ(control.powered_off, 1);
        if (record->outcome == Outcome::failed) {
            EXPECT_NE(record->error.find(refused), std::string::npos) << record->error;
            EXPECT_EQ(ec2.volumes.size(), 0U);
            EXPECT_EQ(ec2.snapshots.size(), 0U);
            EXPECT_EQ(ec2.images.size(), 1U);
        } else if (!record->warning.empty()) {
            EXPECT_NE(record->warning.find(refused), std::string::npos) << record->warning;
        } else {
            // Only the very last call may fail without a trace in the record, and one that is
            // asked again once the volume is attached.
            EXPECT_THAT(refused, AnyOf("TerminateInstances", "ModifyInstanceAttribute"));
        }
    }
}

}  // namespace
}  // namespace amilift::fakes
