// SPDX-License-Identifier: Apache-2.0
#include "worker/client.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include "worker/protocol.hpp"

namespace amilift::worker {
namespace {

using core::Errc;

class Notes final : public ConversionObserver {
  public:
    void on_stage(const std::string& stage) override { text += "stage " + stage + ";"; }
    void on_finding(const image::Finding& finding) override {
        text += "finding " + finding.id + ";";
    }
    void on_step(std::size_t index, std::size_t count, const std::string& step) override {
        text += "step " + std::to_string(index) + "/" + std::to_string(count) + " " + step + ";";
    }
    void on_progress(const dev::CopyProgress& p) override {
        text +=
            "progress " + std::to_string(p.done_bytes) + "/" + std::to_string(p.total_bytes) + ";";
    }
    std::string text;
};

/// The test's disk worker, next to this program.
std::string worker_program() {
    std::string path(4096, '\0');
    const auto n = ::readlink("/proc/self/exe", path.data(), path.size());
    path.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return path.substr(0, path.rfind('/')) + "/disk_worker_for_test";
}

class Client : public ::testing::Test {
  protected:
    core::Result<WorkerOutcome> run(const std::string& how,
                                    core::Duration silence = std::chrono::seconds(20)) {
        WorkerProgram program;
        program.argv = {worker_program(), how};
        program.silence = silence;
        program.grace = std::chrono::milliseconds(500);
        WorkerClient client(program);
        return client.convert({}, notes, cancel);
    }
    /// Every child has been reaped.
    void TearDown() override {
        EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
        EXPECT_EQ(errno, ECHILD);
    }
    Notes notes;
    core::Cancel cancel;
};

TEST_F(Client, RelaysWhatTheWorkerTells) {
    const auto outcome = run("relay");
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_EQ(outcome->proofs, std::vector<std::string>{"proof"});
    EXPECT_EQ(notes.text, "stage inspect;finding f;step 0/1 copy;progress 1/2;");
}

TEST_F(Client, WorkerGetsNothingOfTheEnvironment) {
    ASSERT_EQ(::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1), 0);
    const auto outcome = run("environment");
    ::unsetenv("AWS_SECRET_ACCESS_KEY");
    ASSERT_FALSE(outcome);
    ASSERT_EQ(outcome.error().id, "seen") << outcome.error().message();
    EXPECT_EQ(outcome.error().what, "PATH=/usr/sbin:/usr/bin:/sbin:/bin;LC_ALL=C.UTF-8;");
}

/// Of descriptors that this process was started with nobody knows that they are open.
TEST_F(Client, WorkerGetsNoDescriptorThatIsNotForIt) {
    std::vector<int> opened;
    for (int i = 0; i < 24; ++i) opened.push_back(::open("/dev/null", O_RDONLY));
    ASSERT_GE(opened.back(), kWorkerDisk + 10);
    const auto outcome = run("descriptors");
    for (const int fd : opened) ::close(fd);
    ASSERT_FALSE(outcome);
    ASSERT_EQ(outcome.error().id, "seen") << outcome.error().message();
    EXPECT_EQ(outcome.error().what, "0;1;2;3;");
}

TEST_F(Client, DeathIsExplainedWithWhatTheWorkerSaid) {
    const auto outcome = run("exit");
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::io_error));
    EXPECT_EQ(outcome.error().what,
              "the disk worker ended with exit code 7 before it had finished; it said: first "
              "line\nthe disk is on fire");
}

TEST_F(Client, SignalIsNamed) {
    const auto outcome = run("abort");
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().id, kWorkerKilled);
    EXPECT_NE(outcome.error().what.find("was ended by signal 6 (Aborted)"), std::string::npos)
        << outcome.error().what;
}

TEST_F(Client, BrokenOffMessageIsADeath) {
    const auto outcome = run("half");
    ASSERT_FALSE(outcome);
    EXPECT_NE(outcome.error().what.find("exit code 0 before it had finished"), std::string::npos)
        << outcome.error().what;
}

TEST_F(Client, GarbageEndsTheConversionAtOnce) {
    for (const char* how : {"garbage", "wrong-json"}) {
        const auto outcome = run(how);
        ASSERT_FALSE(outcome) << how;
        EXPECT_TRUE(outcome.error().is(Errc::corrupt)) << outcome.error().message();
    }
}

TEST_F(Client, SilentWorkerIsKilled) {
    const auto outcome = run("silent", std::chrono::milliseconds(300));
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::timed_out)) << outcome.error().message();
}

TEST_F(Client, WorkerWhoseCommandRunsIsNotSilent) {
    const auto outcome = run("command", std::chrono::milliseconds(500));
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_EQ(outcome->proofs, std::vector<std::string>{"ran"});
    EXPECT_EQ(notes.text, "") << "a sign of life tells the observer nothing";
}

TEST_F(Client, CommandThatOutlivesItsTimeoutIsSilent) {
    const auto begun = std::chrono::steady_clock::now();
    const auto outcome = run("stuck-command", std::chrono::milliseconds(500));
    const auto took = std::chrono::steady_clock::now() - begun;
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::timed_out)) << outcome.error().message();
    EXPECT_GT(took, std::chrono::milliseconds(700)) << "it was heard up to its time-out";
}

TEST_F(Client, CancelEndsEvenAWorkerThatDoesNotListen) {
    for (const char* how : {"silent", "deaf"}) {
        core::Cancel stop;
        std::jthread later([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
            stop.request("deadline");
        });
        WorkerProgram program;
        program.argv = {worker_program(), how};
        program.grace = std::chrono::milliseconds(500);
        const auto outcome = WorkerClient(program).convert({}, notes, stop);
        ASSERT_FALSE(outcome) << how;
        EXPECT_TRUE(outcome.error().is(Errc::cancelled)) << outcome.error().message();
    }
}

TEST_F(Client, CancelledBeforehandStartsNothing) {
    cancel.request("no");
    const auto outcome = run("relay");
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::cancelled));
    EXPECT_EQ(notes.text, "");
}

TEST_F(Client, MissingProgramIsNamed) {
    WorkerProgram program;
    program.argv = {"/nonexistent/amilift", "disk-worker"};
    const auto outcome = WorkerClient(program).convert({}, notes, cancel);
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::not_installed));
    EXPECT_NE(outcome.error().what.find("/nonexistent/amilift"), std::string::npos);
}

}  // namespace
}  // namespace amilift::worker
