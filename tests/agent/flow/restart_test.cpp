// SPDX-License-Identifier: Apache-2.0
// The end of a job and of its helper, and agents that are started again.
#include <fmt/format.h>

#include <fstream>

#include "flow/runner.hpp"
#include "flow_fixture.hpp"

namespace amilift::fakes {
namespace {

using core::Errc;
using flow::Outcome;
using flow::State;

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

TEST_F(FlowTest, CleansUpAndEndsWithoutARecord) {
    worker.during = [this] { std::filesystem::remove_all(directory_); };
    worker.outcome = core::fail(Errc::refused, "kernel is Xen only", "", "xen-only-kernel");
    const auto record = run();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->outcome, Outcome::failed);
    EXPECT_EQ(ec2.volumes.size(), 0U);
    EXPECT_EQ(control.powered_off, 1);
}

}  // namespace
}  // namespace amilift::fakes
