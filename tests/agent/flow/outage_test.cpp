// SPDX-License-Identifier: Apache-2.0
// What a job does when EC2 does not answer, is slow, or lets go of nothing.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;
using flow::Outcome;

/// Every call fails from the first of one action on, for a while.
class FlowInAnOutage : public FlowTest {
  protected:
    void fail_from(const std::string& first, core::Duration length) {
        ec2.hook = [this, first, length](const std::string& action, bool before) -> core::Result<> {
            if (!before) return {};
            if (!end_ && action == first) end_ = clock.elapsed() + length;
            if (!end_ || clock.elapsed() >= *end_) return {};
            // The retry layer below has waited that long before it gives up.
            clock.advance(std::chrono::seconds(120));
            return core::fail(Errc::unavailable, action + " gave HTTP 503", "", "Unavailable");
        };
    }
    std::optional<core::Duration> end_;
};

TEST_F(FlowInAnOutage, AJobSurvivesItWhileItWaitsForItsSnapshot) {
    ec2.slowness = 3;
    fail_from("DescribeSnapshots", std::chrono::minutes(25));
    ec2.hook = [this, outage = ec2.hook](const std::string& action, bool before) -> core::Result<> {
        if (ec2.snapshots.empty()) return {};
        return outage(action, before);
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_GE(clock.elapsed(), std::chrono::minutes(25));
    EXPECT_EQ(ec2.volumes.size(), 0U);
}

TEST_F(FlowInAnOutage, CleaningUpIsTriedUntilItIsOver) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    worker.during = [this] { fail_from("DescribeVolumes", std::chrono::minutes(30)); };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(record->error_id, "xen-only-kernel");
    EXPECT_EQ(record->error.find("503"), std::string::npos) << record->error;
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(control.powered_off, 1);
    EXPECT_EQ(observer.warnings.size(), 1U) << "one line, not one for each try";
}

TEST_F(FlowInAnOutage, CleaningUpEndsBeforeTheHelperIsPoweredOff) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    worker.during = [this] { fail_from("DescribeVolumes", std::chrono::hours(24)); };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("503"), std::string::npos) << record->error;
    EXPECT_EQ(control.powered_off, 1);
    EXPECT_GT(clock.elapsed(), job.deadline);
    EXPECT_LT(clock.elapsed(), job.deadline + flow::kDeadlineGrace);
}

TEST_F(FlowInAnOutage, ALateCleanUpEndsInTimeAndDetachesNothingThatItCannotDelete) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    int jobs = 0;
    int kept = 0;
    for (const char* first :
         {"DescribeVolumes", "DescribeImages", "DescribeSnapshots", "DetachVolume"}) {
        for (int begin = -4; begin <= 2; ++begin) {
            for (int half_minutes = 1; half_minutes <= 26; ++half_minutes) {
                SCOPED_TRACE(testing::Message() << first << ", " << half_minutes
                                                << " half minutes from D + " << begin << " min");
                job.id = fmt::format("late-{}", ++jobs);
                const auto deadline = clock.elapsed() + job.deadline;
                worker.during = [&] {
                    clock.advance(deadline + std::chrono::minutes(begin) - clock.elapsed());
                    end_.reset();
                    fail_from(first, std::chrono::seconds(30) * half_minutes);
                };
                const auto record = run();
                ec2.hook = nullptr;
                ASSERT_TRUE(record);
                EXPECT_EQ(record->outcome, Outcome::failed);
                EXPECT_LT(clock.elapsed(), deadline + flow::kDeadlineGrace);
                for (const auto& [id, v] : ec2.volumes) {
                    ASSERT_EQ(v.attachments.size(), 1U) << id << " outlives the helper";
                    EXPECT_EQ(v.attachments.front().state, "attached");
                    EXPECT_TRUE(v.attachments.front().delete_on_termination);
                    ++kept;
                }
                ec2.volumes.clear();
                std::filesystem::remove(record_path());
            }
        }
    }
    EXPECT_GT(kept, 0);
}

TEST_F(FlowInAnOutage, SlowCallsDoNotKeepTheCleanUpFromEndingInTime) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    worker.during = [this] {
        clock.advance(job.deadline - std::chrono::minutes(1) - clock.elapsed());
        ec2.hook = [this](const std::string&, bool before) -> core::Result<> {
            if (before) clock.advance(std::chrono::seconds(119));
            return {};
        };
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_LT(clock.elapsed(), job.deadline + flow::kDeadlineGrace);
    EXPECT_EQ(control.powered_off, 1);
    for (const auto& [id, v] : ec2.volumes) {
        EXPECT_EQ(v.attachments.size(), 1U) << id << " outlives the helper";
    }
}

TEST_F(FlowInAnOutage, VolumesOfASuccessAreDeletedWhenItIsOver) {
    fail_from("DeleteVolume", std::chrono::minutes(30));
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(record->warning, "");
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(observer.warnings.size(), 1U) << "one line, not one for each try";
}

TEST_F(FlowInAnOutage, ASuccessNamesAllVolumesThatAreLeftInTime) {
    fail_from("DeleteVolume", std::chrono::hours(24));
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_LT(clock.elapsed(), job.deadline + flow::kDeadlineGrace);
    ASSERT_EQ(ec2.volumes.size(), 2U);
    for (const auto& [id, v] : ec2.volumes) {
        EXPECT_NE(record->warning.find(id), std::string::npos) << record->warning;
    }
}

TEST_F(FlowTest, DeletesTheSecondVolumeOfASuccessWhenTheFirstStays) {
    int refused = 0;
    ec2.hook = [&](const std::string& action, bool before) -> core::Result<> {
        if (!before || action != "DeleteVolume" || refused++ > 0) return {};
        return core::fail(Errc::permission_denied, "UnauthorizedOperation", "",
                          "UnauthorizedOperation");
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    ASSERT_EQ(ec2.volumes.size(), 1U);
    EXPECT_NE(record->warning.find(ec2.volumes.begin()->first), std::string::npos)
        << record->warning;
    EXPECT_EQ(ec2.images.count(record->image), 1U);
}

TEST_F(FlowTest, RemovesTheRestWhenOneCallOfTheCleanUpFails) {
    for (const char* refused : {"DescribeImages", "DescribeSnapshots", "DeregisterImage"}) {
        SCOPED_TRACE(refused);
        std::filesystem::remove(record_path());
        job.id = std::string("without-") + refused;
        job.target.name = job.id;
        bool registered = false;
        ec2.hook = [&, refused](const std::string& action, bool before) -> core::Result<> {
            if (action == "RegisterImage" && !before) {
                registered = true;
                for (auto& [id, image] : ec2.images) {
                    if (image.state == "pending") image.state = "failed";
                }
            }
            // The first look is the wait for the AMI: it must see that it failed.
            const bool waits = ec2.calls.size() > 1 && *(ec2.calls.end() - 2) == "RegisterImage";
            if (!registered || waits || action != refused || !before) return {};
            return core::fail(Errc::permission_denied, "UnauthorizedOperation: " + action, "",
                              "UnauthorizedOperation");
        };
        const auto record = run();
        ec2.hook = nullptr;
        ASSERT_TRUE(record);
        EXPECT_EQ(record->outcome, Outcome::failed);
        EXPECT_NE(record->error.find(refused), std::string::npos) << record->error;
        EXPECT_EQ(ec2.volumes.size(), 0U);
    }
}

TEST_F(FlowTest, ASnapshotMayTakeAsLongAsTheJob) {
    job.deadline = std::chrono::hours(8);
    ec2.hook = [this](const std::string& action, bool) -> core::Result<> {
        ec2.slowness = action.find("Snapshot") == std::string::npos ? 1 : 1000;
        return {};
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_GT(clock.elapsed(), std::chrono::hours(4));
}

TEST_F(FlowTest, ASnapshotMayNotOutliveTheJob) {
    job.deadline = std::chrono::minutes(20);
    worker.during = [this] { clock.advance(std::chrono::minutes(5)); };
    ec2.hook = [this](const std::string& action, bool) -> core::Result<> {
        ec2.slowness = action.find("Snapshot") == std::string::npos ? 1 : 1000;
        if (clock.elapsed() >= job.deadline) job_cancel.request("the job's deadline has passed");
        return {};
    };
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("deadline"), std::string::npos) << record->error;
    EXPECT_LT(clock.elapsed(), std::chrono::minutes(21));
    EXPECT_EQ(ec2.snapshots.size(), 0U);
}

TEST_F(FlowTest, ASnapshotIsWaitedForWhateverTheWallClockIsSetTo) {
    ec2.slowness = 20;
    for (const auto step : {std::chrono::hours(-30), std::chrono::hours(30)}) {
        std::filesystem::remove(record_path());
        job.id = fmt::format("by-{}-h", step.count() + 30);
        job.target.name = job.id;
        worker.during = [&] { clock.step_wall(step); };
        const auto record = run();
        ASSERT_TRUE(record);
        EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    }
}

/// A clean-up's end counts from the deadline that was armed.
TEST_F(FlowInAnOutage, ACleanUpEndsInTimeWhateverTheWallClockIsSetTo) {
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    worker.during = [this] {
        clock.step_wall(std::chrono::hours(-30));
        clock.advance(job.deadline - std::chrono::minutes(1) - clock.elapsed());
        fail_from("DescribeVolumes", std::chrono::hours(24));
    };
    ASSERT_TRUE(run());
    EXPECT_LT(clock.elapsed(), job.deadline + flow::kDeadlineGrace);
}

TEST_F(FlowTest, AVolumeDiesWithTheHelperBeforeItIsAttached) {
    ec2.slowness = 3;
    ASSERT_TRUE(run());
    EXPECT_EQ(ec2.marked_while, (std::vector<std::string>{"attaching", "attaching"}));
}

TEST_F(FlowTest, AVolumeDiesWithTheHelperAsSoonAsEc2TakesIt) {
    ec2.marks_attached_only = true;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::succeeded) << record->error;
    EXPECT_EQ(ec2.delete_on_termination, (std::set<std::string>{"/dev/sdf", "/dev/sdg"}));
}

TEST_F(FlowTest, VolumesThatAreStuckAreMarkedAndThenDetachedByForce) {
    ec2.stuck = true;
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_NE(record->error.find("is 'attaching'"), std::string::npos) << record->error;
    EXPECT_EQ(ec2.delete_on_termination.size(), 2U);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_LT(clock.elapsed(), std::chrono::minutes(9));
}

}  // namespace
}  // namespace amilift::fakes
