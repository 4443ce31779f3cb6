// SPDX-License-Identifier: Apache-2.0
#include "report/reporters.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/fd.hpp"
#include "fakes/fake_ec2.hpp"
#include "fakes/manual_clock.hpp"
#include "report/message_ids.hpp"

namespace amilift::report {
namespace {

using flow::Outcome;
using flow::Record;
using flow::State;
using flow::Update;
using Kind = flow::Update::Kind;

Record record_in(State state) {
    Record r;
    r.instance_id = "i-1";
    r.job_id = "web";
    r.state = state;
    return r;
}

class ReportFiles : public ::testing::Test {
  protected:
    void SetUp() override {
        auto name = (std::filesystem::temp_directory_path() / "amilift-report-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string path(const char* name) const { return (directory_ / name).string(); }
    std::filesystem::path directory_;
};

TEST(TagValue, FitsEc2AndNeverCutsACharacter) {
    EXPECT_EQ(tag_value("short"), "short");
    EXPECT_EQ(tag_value("two\nlines\x1b[31m"), "two lines [31m");
    std::string umlauts;
    for (int i = 0; i < 200; ++i) umlauts += "\xc3\xa4";
    const auto value = tag_value(umlauts);
    EXPECT_LE(value.size(), 256U);
    EXPECT_TRUE(value.ends_with("..."));
    EXPECT_EQ((value.size() - 3) % 2, 0U);
}

TEST(TagReporter, TellsStateProgressAndResult) {
    fakes::FakeEc2 ec2;
    fakes::ManualClock clock;
    TagReporter reporter(ec2, clock, "i-1");
    auto record = record_in(State::convert);
    reporter.on_update(record, {Kind::state_entered, "convert", {}});
    EXPECT_EQ(ec2.instance_tags["i-1"],
              (aws::Tags{{"amilift:job", "web"}, {"amilift:state", "convert"}}));
    reporter.on_update(record, {Kind::progress, "copied 10%", 0.1});
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:progress"], "convert: copied 10%");
    record.state = State::finish;
    record.outcome = Outcome::succeeded;
    record.image = "ami-1";
    reporter.on_update(record, {Kind::finished, "done", {}});
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:state"], "succeeded");
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:result"], "ami-1");
    EXPECT_FALSE(ec2.instance_tags["i-1"].contains("amilift:error"));
}

TEST(TagReporter, ProgressIsToldAtMostEveryFiveSeconds) {
    fakes::FakeEc2 ec2;
    fakes::ManualClock clock;
    TagReporter reporter(ec2, clock, "i-1");
    const auto record = record_in(State::convert);
    for (int i = 0; i < 100; ++i) {
        reporter.on_update(record, {Kind::progress, "copied " + std::to_string(i), 0.01 * i});
        clock.advance(std::chrono::milliseconds(100));
    }
    EXPECT_EQ(ec2.count("CreateTags"), 2);
}

TEST(TagReporter, AFailureHasItsReason) {
    fakes::FakeEc2 ec2;
    fakes::ManualClock clock;
    TagReporter reporter(ec2, clock, "i-1");
    auto record = record_in(State::finish);
    record.outcome = Outcome::failed;
    record.error = "AMI 'ami-1' does not exist";
    reporter.on_update(record, {Kind::finished, record.error, {}});
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:state"], "failed");
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:error"], "AMI 'ami-1' does not exist");
}

TEST(TagReporter, ATagThatCannotBeWrittenIsTriedAgainWithTheNext) {
    fakes::FakeEc2 ec2;
    fakes::ManualClock clock;
    TagReporter reporter(ec2, clock, "i-1");
    ec2.hook = [](const std::string&, bool) -> core::Result<> {
        return core::fail(core::Errc::conflict, "ConcurrentTagAccess");
    };
    reporter.on_update(record_in(State::preflight), {Kind::state_entered, "", {}});
    ec2.hook = nullptr;
    reporter.on_update(record_in(State::convert), {Kind::state_entered, "", {}});
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:job"], "web");
}

TEST(TagReporter, AnEc2ThatDoesNotAnswerIsAskedAgainInTheNextState) {
    fakes::FakeEc2 ec2;
    fakes::ManualClock clock;
    TagReporter reporter(ec2, clock, "i-1");
    ec2.hook = [](const std::string&, bool) -> core::Result<> {
        return core::fail(core::Errc::unavailable, "no answer");
    };
    const auto convert = record_in(State::convert);
    reporter.on_update(convert, {Kind::state_entered, "", {}});
    reporter.on_update(convert, {Kind::progress, "copied 10%", 0.1});
    clock.advance(std::chrono::minutes(1));
    reporter.on_update(convert, {Kind::progress, "copied 20%", 0.2});
    EXPECT_EQ(ec2.count("CreateTags"), 1) << "the copy must not wait for its progress to be told";
    ec2.hook = nullptr;
    reporter.on_update(record_in(State::snapshot), {Kind::state_entered, "", {}});
    EXPECT_EQ(ec2.instance_tags["i-1"],
              (aws::Tags{{"amilift:job", "web"}, {"amilift:state", "snapshot"}}));
    reporter.on_update(record_in(State::snapshot), {Kind::progress, "snapshot 5%", 0.05});
    EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:progress"], "snapshot: snapshot 5%");
}

TEST(TagReporter, TheOutcomeIsToldAgainWhileEc2DoesNotAnswer) {
    for (const auto outage : {std::chrono::minutes(1), std::chrono::minutes(60)}) {
        fakes::FakeEc2 ec2;
        fakes::ManualClock clock;
        TagReporter reporter(ec2, clock, "i-1");
        ec2.hook = [&](const std::string&, bool) -> core::Result<> {
            if (clock.elapsed() >= outage) return {};
            return core::fail(core::Errc::unavailable, "no answer");
        };
        auto record = record_in(State::finish);
        record.outcome = Outcome::failed;
        record.error = "kernel is Xen only";
        reporter.on_update(record, {Kind::finished, "", {}});
        EXPECT_EQ(ec2.instance_tags["i-1"]["amilift:state"],
                  outage == std::chrono::minutes(1) ? "failed" : "");
        EXPECT_LE(clock.elapsed(), std::chrono::minutes(3)) << "the helper must end";
    }
}

TEST(JournalReporter, AFailureHasAllThatTheCatalogNames) {
    auto record = record_in(State::clean_up);
    record.outcome = Outcome::failed;
    record.error_id = "xen-only-kernel";
    record.source_volume = "vol-1";
    record.target_volume = "vol-2";
    EXPECT_EQ(
        journal_fields(record, {Kind::finished, "kernel is Xen only", {}}),
        (std::vector<std::string>{
            "MESSAGE=kernel is Xen only", "PRIORITY=3", "AMILIFT_JOB=web", "AMILIFT_STATE=clean-up",
            std::string("MESSAGE_ID=") + kMessageFailed, "AMILIFT_SOURCE_VOLUME=vol-1",
            "AMILIFT_TARGET_VOLUME=vol-2", "AMILIFT_ERROR_ID=xen-only-kernel"}));
}

TEST(JournalReporter, ASuccessHasItsImage) {
    auto record = record_in(State::finish);
    record.outcome = Outcome::succeeded;
    record.snapshot = "snap-1";
    record.image = "ami-1";
    record.error_id = "left-over";
    EXPECT_EQ(journal_fields(record, {Kind::finished, "done", {}}),
              (std::vector<std::string>{"MESSAGE=done", "PRIORITY=5", "AMILIFT_JOB=web",
                                        "AMILIFT_STATE=finish",
                                        std::string("MESSAGE_ID=") + kMessageSucceeded,
                                        "AMILIFT_SNAPSHOT=snap-1", "AMILIFT_IMAGE=ami-1"}));
}

TEST(JournalReporter, OnlyWhatAnOperatorActsOnHasAMessageId) {
    const auto record = record_in(State::convert);
    EXPECT_EQ(journal_fields(record, {Kind::state_entered, "convert", {}}).back(),
              std::string("MESSAGE_ID=") + kMessageStateEntered);
    EXPECT_EQ(journal_fields(record, {Kind::warning, "no ENA driver", {}}),
              (std::vector<std::string>{"MESSAGE=no ENA driver", "PRIORITY=4", "AMILIFT_JOB=web",
                                        "AMILIFT_STATE=convert"}));
    EXPECT_EQ(journal_fields(record, {Kind::message, "a step", {}}).at(1), "PRIORITY=6");
    EXPECT_TRUE(journal_fields(record, {Kind::progress, "copied 10%", 0.1}).empty());
}

TEST_F(ReportFiles, SystemdGetsTheStatusAndASignOfLife) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto socket_path = path("notify");
    ASSERT_LT(socket_path.size(), sizeof address.sun_path);
    socket_path.copy(address.sun_path, socket_path.size());
    const core::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(socket);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): what bind(2) takes
    const auto* any = reinterpret_cast<const sockaddr*>(&address);
    ASSERT_EQ(::bind(socket.get(), any, sizeof address), 0);
    ASSERT_EQ(::setenv("NOTIFY_SOCKET", socket_path.c_str(), 1), 0);
    NotifyReporter().on_update(record_in(State::convert), {Kind::progress, "copied\n42%", 0.42});
    ::unsetenv("NOTIFY_SOCKET");
    std::array<char, 512> buffer{};
    const auto got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    ASSERT_GT(got, 0);
    EXPECT_EQ(std::string_view(buffer.data(), static_cast<std::size_t>(got)),
              "STATUS=convert: copied 42%\nWATCHDOG=1");
}

TEST_F(ReportFiles, StatusFileHoldsTheNewestState) {
    StatusFileReporter reporter(path("status.json"));
    auto record = record_in(State::convert);
    reporter.on_update(record, {Kind::state_entered, "convert", {}});
    reporter.on_update(record, {Kind::warning, "entry 2 names a missing file", {}});
    reporter.on_update(record, {Kind::progress, "copied 42%", 0.42});
    const auto json = nlohmann::json::parse(core::read_file(path("status.json"), 100000).value());
    EXPECT_EQ(json["version"], 1);
    EXPECT_EQ(json["state"], "convert");
    EXPECT_EQ(json["outcome"], "running");
    EXPECT_EQ(json["progress"], "copied 42%");
    EXPECT_TRUE(json["copy"].is_null());
    EXPECT_EQ(json["warnings"][0], "entry 2 names a missing file");
}

TEST_F(ReportFiles, StatusFileHasTheFiguresOfACopy) {
    StatusFileReporter reporter(path("status.json"));
    const auto record = record_in(State::convert);
    const auto copy_in_file = [this] {
        return nlohmann::json::parse(core::read_file(path("status.json"), 100000).value())["copy"];
    };
    dev::CopyStatus status{
        {.done_bytes = 30, .total_bytes = 100, .resumed_bytes = 10, .pass = dev::CopyPass::verify},
        5,
        std::chrono::seconds(14)};
    reporter.on_update(record, {Kind::progress, "verified 30%", 0.3, status});
    const nlohmann::json expected{{"pass", "verify"},      {"done_bytes", 30},
                                  {"total_bytes", 100},    {"resumed_bytes", 10},
                                  {"bytes_per_second", 5}, {"seconds_left", 14}};
    EXPECT_EQ(copy_in_file(), expected);
    status.left.reset();
    reporter.on_update(record, {Kind::progress, "verified 30%", 0.3, status});
    EXPECT_TRUE(copy_in_file()["seconds_left"].is_null());
    reporter.on_update(record, {Kind::state_entered, "detach-volumes", {}});
    EXPECT_TRUE(copy_in_file().is_null());
}

TEST_F(ReportFiles, ConsoleLinesArePlainAndProgressIsSparse) {
    const auto file = path("console");
    {
        ASSERT_TRUE(core::open_file(file, O_CREAT | O_WRONLY));
    }
    ConsoleReporter reporter(file);
    auto record = record_in(State::convert);
    reporter.on_update(record, {Kind::state_entered, "convert", {}});
    std::string before = core::read_file(file, 100000).value();
    EXPECT_EQ(before, "amilift web: convert\n");
    // Each line is written to a console that was opened anew: in a file they overwrite each other.
    reporter.on_update(record, {Kind::message, "bad\x1b[2J\nbytes", {}});
    EXPECT_EQ(core::read_file(file, 100000).value().substr(0, 37),
              "amilift web: convert: bad [2J bytes\n");
}

TEST(Catalog, ExplainsEveryMessageThatIsSent) {
    const auto catalog = core::read_file("units/amilift.catalog", 100000);
    ASSERT_TRUE(catalog) << catalog.error().message();
    for (const auto* id : {kMessageStateEntered, kMessageSucceeded, kMessageFailed}) {
        EXPECT_NE(catalog->find(std::string("-- ") + id + "\nSubject: "), std::string::npos) << id;
    }
}

}  // namespace
}  // namespace amilift::report
