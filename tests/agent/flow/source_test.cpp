// SPDX-License-Identifier: Apache-2.0
// What a job makes of a paravirtual and of an HVM source, in place and for a paravirtual target.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "flow/runner.hpp"
#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;
using flow::Outcome;
using ::testing::AnyOf;

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
