// SPDX-License-Identifier: Apache-2.0
#include "flow/attached_root.hpp"

#include <fmt/format.h>

#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;

class AttachedRootTest : public FlowTest {
  protected:
    core::Result<> inspect(const std::function<core::Result<>(const flow::AttachedRoot&)>& use) {
        auto s = services();
        return flow::with_attached_root(s, kSource, fmt::format("inspect-{}", ++inspections_), use);
    }
    void expect_nothing_left() {
        EXPECT_EQ(ec2.volumes.size(), 0U);
        EXPECT_EQ(ec2.snapshots.size(), 0U);
        EXPECT_EQ(ec2.images.size(), 1U);
        EXPECT_FALSE(std::filesystem::exists(record_path()));
        EXPECT_EQ(control.powered_off, 0);
        EXPECT_TRUE(worker.orders.empty());
    }
    int inspections_ = 0;
};

TEST_F(AttachedRootTest, SeesTheRootOnAVolumeThatGoesAgain) {
    std::string seen;
    const auto done = inspect([&](const flow::AttachedRoot& root) -> core::Result<> {
        seen = root.path;
        EXPECT_EQ(root.image.id, kSource);
        EXPECT_EQ(root.path, "/dev/fake-" + root.volume);
        EXPECT_EQ(root.device, "/dev/sdf");
        const auto& volume = ec2.volumes.at(root.volume);
        EXPECT_EQ(volume.snapshot_id, "snap-0000000000000000c");
        EXPECT_EQ(volume.tags.at("amilift:job"), "inspect-1");
        EXPECT_EQ(volume.attachments.front().instance_id, kHelper);
        EXPECT_EQ(ec2.delete_on_termination, (std::set<std::string>{"/dev/sdf"}));
        return {};
    });
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_FALSE(seen.empty());
    EXPECT_EQ(ec2.count("CreateVolume"), 1);
    EXPECT_EQ(ec2.count("CreateSnapshot"), 0);
    expect_nothing_left();
}

TEST_F(AttachedRootTest, TakesHvmAndLicensedAmisButNoMarketplaceOnes) {
    auto& source = ec2.images.at(kSource);
    source.virtualization_type = "hvm";
    source.usage_operation = "RunInstances:0010";
    EXPECT_TRUE(inspect([](const flow::AttachedRoot&) -> core::Result<> { return {}; }));
    source.product_codes = {"abc123"};
    const auto refused = inspect([](const flow::AttachedRoot&) -> core::Result<> {
        ADD_FAILURE() << "nothing is to be looked at";
        return {};
    });
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().id, "product-codes");
    EXPECT_EQ(ec2.count("CreateVolume"), 1);
    expect_nothing_left();
}

TEST_F(AttachedRootTest, RemovesTheVolumeAfterAFailureAndAfterCtrlC) {
    const auto failed = inspect([](const flow::AttachedRoot&) -> core::Result<> {
        return core::fail(Errc::refused, "an empty disk", "", "empty-disk");
    });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().id, "empty-disk");
    expect_nothing_left();
    const auto stopped = inspect([this](const flow::AttachedRoot&) -> core::Result<> {
        job_cancel.request("stopped by signal 2");
        return job_cancel.check();
    });
    ASSERT_FALSE(stopped);
    EXPECT_TRUE(stopped.error().is(Errc::cancelled));
    expect_nothing_left();
}

TEST_F(AttachedRootTest, LeavesNothingWhicheverCallIsRefusedOrGetsNoAnswer) {
    const auto nothing = [](const flow::AttachedRoot&) -> core::Result<> { return {}; };
    ASSERT_TRUE(inspect(nothing));
    const auto total = static_cast<int>(ec2.calls.size());
    ASSERT_GT(total, 6);
    for (const bool before : {true, false}) {
        for (int at = 0; at < total; ++at) {
            SCOPED_TRACE(fmt::format("call {} {}", at, before ? "refused" : "without an answer"));
            TearDown();
            ec2.reset();
            SetUp();
            int call = 0;
            std::string refused;
            ec2.hook = [&](const std::string& action, bool is_before) -> core::Result<> {
                if (is_before != before || call++ != at) return {};
                refused = action;
                return core::fail(Errc::permission_denied, "UnauthorizedOperation: " + action, "",
                                  "UnauthorizedOperation");
            };
            const auto done = inspect(nothing);
            ec2.hook = nullptr;
            if (ec2.volumes.empty()) {
                expect_nothing_left();
                continue;
            }
            // What could not be removed is told.
            ASSERT_FALSE(done) << refused;
            EXPECT_NE(done.error().what.find(ec2.volumes.begin()->first), std::string::npos)
                << done.error().message();
        }
    }
}

}  // namespace
}  // namespace amilift::fakes
