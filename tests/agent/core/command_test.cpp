// SPDX-License-Identifier: Apache-2.0
#include "core/command.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/fd.hpp"
#include "core/spawn.hpp"

namespace amilift::core {
namespace {

Command shell(const std::string& script) {
    return {{"sh", "-c", script}};
}

TEST(Command, GivesBothStreamsAndTheExitCode) {
    ProcessRunner runner;
    const auto done = runner.run(shell("echo out; echo err >&2; exit 3"));
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(done->out, "out\n");
    EXPECT_EQ(done->err, "err\n");
    EXPECT_EQ(done->exit_code, 3);
}

TEST(Command, FeedsMoreInputThanAPipeHolds) {
    ProcessRunner runner;
    Command command{{"wc", "-c"}};
    command.input = std::string(1 << 20, 'x');
    const auto done = runner.run_ok(command);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(std::atoi(done->out.c_str()), 1 << 20);
}

TEST(Command, AProgramThatReadsNoInputDoesNotBlock) {
    std::signal(SIGPIPE, SIG_IGN);
    ProcessRunner runner;
    Command command{{"true"}};
    command.input = std::string(1 << 20, 'x');
    EXPECT_TRUE(runner.run_ok(command));
}

TEST(Command, AMissingProgramIsItsOwnKindOfError) {
    ProcessRunner runner;
    const auto done = runner.run({{"amilift-no-such-program"}});
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().is(Errc::not_installed));
    EXPECT_NE(done.error().what.find("amilift-no-such-program"), std::string::npos);
}

TEST(Command, AFailureCarriesWhatTheProgramSaid) {
    ProcessRunner runner;
    const auto done = runner.run_ok(shell("echo no such device >&2; exit 1"));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().what.find("no such device"), std::string::npos);
}

TEST(Command, ATimeOutKillsTheWholeGroup) {
    ProcessRunner runner;
    auto command = shell("sleep 600 & echo $!; wait");
    command.timeout = std::chrono::milliseconds(300);
    const auto start = std::chrono::steady_clock::now();
    const auto done = runner.run(command);
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().is(Errc::timed_out));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(Command, AChildThatClosedItsOutputIsWaitedForNoLonger) {
    ProcessRunner runner;
    auto command = shell("exec >&- 2>&-; sleep 600");
    command.timeout = std::chrono::milliseconds(300);
    const auto done = runner.run(command);
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().is(Errc::timed_out)) << done.error().message();
}

TEST(Command, ACancelKillsItWhetherItsOutputIsOpenOrNot) {
    ProcessRunner runner;
    for (const char* script : {"sleep 600 & wait", "exec >&- 2>&-; sleep 600"}) {
        Cancel cancel;
        auto command = shell(script);
        command.cancel = &cancel;
        std::thread stopper([&cancel] {
            std::this_thread::sleep_for(std::chrono::milliseconds(300));
            cancel.request("stopped by signal 2");
        });
        const auto start = std::chrono::steady_clock::now();
        const auto done = runner.run(command);
        stopper.join();
        ASSERT_FALSE(done);
        EXPECT_TRUE(done.error().is(Errc::cancelled)) << done.error().message();
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
    }
}

TEST(Command, ACancelThatIsNotRequestedLetsItEnd) {
    ProcessRunner runner;
    const Cancel cancel;
    auto command = shell("sleep 0.3; echo out");
    command.cancel = &cancel;
    const auto done = runner.run_ok(command);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(done->out, "out\n");
}

TEST(Command, EndlessOutputIsCutOff) {
    ProcessRunner runner;
    Command command{{"yes"}};
    command.output_limit = 100000;
    const auto done = runner.run(command);
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().is(Errc::corrupt));
}

TEST(Command, TheChildSeesAFixedLocaleAndNoSecrets) {
    ::setenv("AWS_SECRET_ACCESS_KEY", "hidden", 1);
    ProcessRunner runner;
    const auto done = runner.run_ok({{"env"}});
    ::unsetenv("AWS_SECRET_ACCESS_KEY");
    ASSERT_TRUE(done);
    EXPECT_NE(done->out.find("LC_ALL=C.UTF-8"), std::string::npos);
    EXPECT_EQ(done->out.find("hidden"), std::string::npos);
}

TEST(Command, TheChildInheritsNoDescriptor) {
    ProcessRunner runner;
    const auto done = runner.run_ok(shell("ls /proc/self/fd | wc -l"));
    ASSERT_TRUE(done);
    // stdin, stdout, stderr, and the directory that ls reads.
    EXPECT_EQ(std::atoi(done->out.c_str()), 4);
}

TEST(Command, AnEndBySignalIsAnError) {
    ProcessRunner runner;
    const auto done = runner.run(shell("kill -SEGV $$"));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().what.find("signal 11"), std::string::npos) << done.error().what;
}

TEST(Pipe, WhatIsWrittenIsRead) {
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe) << pipe.error().message();
    ASSERT_TRUE(write_all(pipe->write, "through", "pipe"));
    pipe->write.reset();
    EXPECT_EQ(read_all(pipe->read, 100, "pipe").value(), "through");
    // A program that is started must not inherit it.
    EXPECT_EQ(::fcntl(pipe->read.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

}  // namespace
}  // namespace amilift::core
