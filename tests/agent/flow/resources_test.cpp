// SPDX-License-Identifier: Apache-2.0
#include "flow/resources.hpp"

#include <gtest/gtest.h>

#include "fakes/fake_ec2.hpp"
#include "fakes/manual_clock.hpp"

namespace amilift::fakes {
namespace {

class Resources : public ::testing::Test {
  protected:
    aws::Volume& volume(const std::string& id) {
        auto& v = ec2.volumes[id];
        v.id = id;
        v.state = "available";
        v.size_gib = 8;
        v.tags = {{"amilift:job", "j"}};
        return v;
    }
    aws::Snapshot& snapshot(const std::string& id) {
        auto& s = ec2.snapshots[id];
        s.id = id;
        s.state = "completed";
        s.tags = {{"amilift:job", "j"}};
        return s;
    }
    FakeEc2 ec2;
    ManualClock clock;
    core::Cancel cancel;
};

TEST_F(Resources, FindsWhatIsLeftAndSparesTheResult) {
    volume("vol-1");
    volume("vol-other").tags = {{"amilift:job", "k"}};
    snapshot("snap-used");
    snapshot("snap-left");
    auto& image = ec2.images["ami-1"];
    image.id = "ami-1";
    image.state = "available";
    image.owner_id = "self";
    image.tags = {{"amilift:job", "j"}};
    image.block_devices.emplace_back().snapshot_id = "snap-used";

    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    EXPECT_EQ(flow::describe(*left),
              (std::vector<std::string>{"volume vol-1 (8 GiB, available)",
                                        "snapshot snap-left (0 GiB, completed)"}));
    ASSERT_TRUE(flow::remove(ec2, clock, cancel, {}, *left));
    EXPECT_TRUE(ec2.volumes.contains("vol-other"));
    EXPECT_FALSE(ec2.volumes.contains("vol-1"));
    EXPECT_TRUE(ec2.snapshots.contains("snap-used"));
    EXPECT_FALSE(ec2.snapshots.contains("snap-left"));
    EXPECT_TRUE(ec2.images.contains("ami-1"));
}

TEST_F(Resources, RemovesAnImageThatNeverBecameAvailableWithItsSnapshot) {
    snapshot("snap-1");
    auto& image = ec2.images["ami-1"];
    image.id = "ami-1";
    image.state = "failed";
    image.owner_id = "self";
    image.tags = {{"amilift:job", "j"}};
    image.block_devices.emplace_back().snapshot_id = "snap-1";
    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    ASSERT_TRUE(flow::remove(ec2, clock, cancel, {}, *left));
    EXPECT_TRUE(ec2.images.empty());
    EXPECT_TRUE(ec2.snapshots.empty());
}

TEST_F(Resources, DetachesBeforeItDeletes) {
    auto& v = volume("vol-1");
    v.state = "in-use";
    v.attachments.push_back({"i-1", "/dev/sdf", "attached", false});
    ASSERT_TRUE(flow::detach_and_delete(ec2, clock, cancel, {}, "vol-1"));
    EXPECT_EQ(ec2.count("DetachVolume"), 1);
    EXPECT_TRUE(ec2.volumes.empty());
}

TEST_F(Resources, AVolumeThatIsGoneIsFine) {
    EXPECT_TRUE(flow::detach_and_delete(ec2, clock, cancel, {}, "vol-gone"));
}

TEST_F(Resources, AVolumeThatStaysBusyIsNamedAfterTheTimeOut) {
    auto& v = volume("vol-1");
    v.state = "in-use";
    v.attachments.push_back({"i-1", "/dev/sdf", "busy", false});
    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    const auto removed = flow::remove(ec2, clock, cancel, {}, *left);
    ASSERT_FALSE(removed);
    EXPECT_NE(removed.error().what.find("vol-1"), std::string::npos);
    EXPECT_NE(removed.error().what.find("busy"), std::string::npos) << removed.error().what;
    EXPECT_GE(clock.elapsed(), flow::Waits{}.volume_detached.timeout);
}

}  // namespace
}  // namespace amilift::fakes
