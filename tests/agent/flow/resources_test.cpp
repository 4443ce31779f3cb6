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

TEST_F(Resources, AVolumeThatIsStuckIsDetachedByForceInTheEnd) {
    ec2.stuck = true;
    for (const char* state : {"attaching", "attached", "busy"}) {
        auto& v = volume("vol-1");
        v.state = "in-use";
        v.attachments.push_back({"i-1", "/dev/sdf", state, false});
        ec2.calls.clear();
        const auto begin = clock.elapsed();
        const auto removed = flow::detach_and_delete(ec2, clock, cancel, {}, "vol-1");
        ASSERT_TRUE(removed) << removed.error().message();
        EXPECT_TRUE(ec2.volumes.empty());
        EXPECT_LE(ec2.count("DetachVolume"), 2);
        EXPECT_GE(clock.elapsed() - begin, flow::Waits{}.volume_detached.timeout / 2);
    }
}

TEST_F(Resources, AMarkedVolumeStaysAttachedWhenThereIsNoTimeToDeleteIt) {
    struct Case {
        bool marked;
        core::Duration left;
        bool is_deleted;
    };
    for (const auto& c : {Case{true, flow::kDetachTime - std::chrono::seconds(1), false},
                          Case{true, flow::kDetachTime, true},
                          Case{false, flow::kDetachTime - std::chrono::seconds(1), true},
                          Case{false, core::Duration::zero(), false}}) {
        auto& v = volume("vol-1");
        v.state = "in-use";
        v.attachments = {{"i-1", "/dev/sdf", "attached", c.marked}};
        ec2.calls.clear();
        const flow::Until until(clock, core::Deadline(clock, c.left));
        const auto done = flow::detach_and_delete(ec2, clock, cancel, {}, "vol-1", until);
        EXPECT_EQ(done.has_value(), c.is_deleted);
        EXPECT_EQ(ec2.volumes.empty(), c.is_deleted);
        EXPECT_EQ(ec2.count("DetachVolume"), c.is_deleted ? 1 : 0);
        EXPECT_EQ(ec2.calls.empty(), c.left == core::Duration::zero());
        EXPECT_TRUE(done || done.error().is(core::Errc::timed_out));
    }
}

TEST_F(Resources, OnceThereIsNoAnswerTheRestIsOnlyNamed) {
    volume("vol-1");
    volume("vol-2");
    snapshot("snap-1");
    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    ec2.calls.clear();
    ec2.hook = [](const std::string& action, bool) -> core::Result<> {
        if (action != "DeleteVolume") return {};
        return core::fail(core::Errc::unavailable, "no answer");
    };
    const auto removed = flow::remove(ec2, clock, cancel, {}, *left);
    ASSERT_FALSE(removed);
    EXPECT_TRUE(removed.error().is(core::Errc::unavailable));
    for (const char* id : {"vol-1", "vol-2", "snap-1"}) {
        EXPECT_NE(removed.error().what.find(id), std::string::npos) << removed.error().what;
    }
    EXPECT_EQ(ec2.calls, (std::vector<std::string>{"DescribeVolumes", "DeleteVolume"}));
}

TEST_F(Resources, AVolumeThatIsBeingDeletedIsFine) {
    volume("vol-1").state = "deleting";
    EXPECT_TRUE(flow::detach_and_delete(ec2, clock, cancel, {}, "vol-1"));
    EXPECT_EQ(ec2.count("DeleteVolume"), 0);
}

TEST_F(Resources, AVolumeThatStaysBusyIsNamedAfterTheTimeOut) {
    auto& v = volume("vol-1");
    v.state = "in-use";
    v.attachments.push_back({"i-1", "/dev/sdf", "busy", false});
    ec2.hook = [](const std::string& action, bool) -> core::Result<> {
        if (action != "DetachVolume") return {};
        return core::fail(core::Errc::conflict, "IncorrectState", "", "IncorrectState");
    };
    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    const auto removed = flow::remove(ec2, clock, cancel, {}, *left);
    ASSERT_FALSE(removed);
    EXPECT_NE(removed.error().what.find("vol-1"), std::string::npos);
    EXPECT_NE(removed.error().what.find("busy"), std::string::npos) << removed.error().what;
    EXPECT_GE(clock.elapsed(), flow::Waits{}.volume_detached.timeout);
}

TEST_F(Resources, AnOutageOfEc2IsWaitedOut) {
    auto& v = volume("vol-1");
    v.state = "in-use";
    v.attachments.push_back({"i-1", "/dev/sdf", "attached", false});
    ec2.hook = [this](const std::string& action, bool before) -> core::Result<> {
        if (!before || action == "DeleteVolume" || clock.elapsed() > std::chrono::minutes(4)) {
            return {};
        }
        return core::fail(core::Errc::unavailable, "no answer");
    };
    const auto removed = flow::detach_and_delete(ec2, clock, cancel, {}, "vol-1");
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_TRUE(ec2.volumes.empty());
}

TEST_F(Resources, AnOutageThatOutlivesTheTimeOutIsNamed) {
    auto& v = volume("vol-1");
    v.state = "in-use";
    v.attachments.push_back({"i-1", "/dev/sdf", "attached", false});
    const auto left = flow::find_leftovers(ec2, "j");
    ASSERT_TRUE(left);
    ec2.hook = [](const std::string&, bool) -> core::Result<> {
        return core::fail(core::Errc::unavailable, "HTTP 503 for ever", "", "Unavailable");
    };
    const auto removed = flow::remove(ec2, clock, cancel, {}, *left);
    ASSERT_FALSE(removed);
    EXPECT_TRUE(removed.error().is(core::Errc::unavailable));
    EXPECT_NE(removed.error().what.find("503 for ever"), std::string::npos) << removed.error().what;
}

TEST_F(Resources, AJobIdIsNoPattern) {
    volume("vol-1").tags["amilift:job"] = "web-1";
    snapshot("snap-1").tags["amilift:job"] = "web-1";
    for (const char* pattern : {"*", "web-*", "web-?", "", "web 1", "web-\\1"}) {
        const auto left = flow::find_leftovers(ec2, pattern);
        ASSERT_FALSE(left) << pattern;
        EXPECT_TRUE(left.error().is(core::Errc::invalid_input));
        EXPECT_EQ(ec2.calls.size(), 0U);
    }
}

TEST_F(Resources, OnlyTheExactTagIsTheJobs) {
    const auto mine = volume("vol-1");
    auto other = mine;
    other.tags["amilift:job"] = "J";
    auto longer = mine;
    longer.tags["amilift:job"] = "j1";
    auto untagged = mine;
    untagged.tags.clear();
    std::vector<aws::Volume> volumes{other, mine, longer, untagged};
    flow::keep_job(volumes, "j");
    ASSERT_EQ(volumes.size(), 1U);
    EXPECT_EQ(volumes[0].tags.at("amilift:job"), "j");
}

TEST_F(Resources, ASearchThatPartlyFailsGivesTheRest) {
    volume("vol-1");
    snapshot("snap-1");
    ec2.hook = [](const std::string& action, bool) -> core::Result<> {
        if (action != "DescribeImages") return {};
        return core::fail(core::Errc::permission_denied, "UnauthorizedOperation");
    };
    const auto search = flow::look_for_leftovers(ec2, "j");
    EXPECT_FALSE(search.complete);
    EXPECT_EQ(search.found.volumes.size(), 1U);
    // One of them may be the result's.
    EXPECT_TRUE(search.found.snapshots.empty());
    EXPECT_FALSE(flow::find_leftovers(ec2, "j"));
}

}  // namespace
}  // namespace amilift::fakes
