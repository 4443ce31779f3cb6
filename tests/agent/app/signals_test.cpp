// SPDX-License-Identifier: Apache-2.0
#include "app/signals.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "app/with_signals.hpp"

namespace amilift::app {
namespace {

/// Runs in the child of a death test: sends itself the signals, and ends with 0 after the last.
[[noreturn]] void send_and_wait(int first, int second) {
    std::promise<int> heard;
    auto number = heard.get_future();
    const auto watcher =
        SignalWatcher::start([&heard](int signal) { heard.set_value(signal); }).value();
    ::kill(::getpid(), first);
    if (number.get() != first) ::_exit(3);
    if (second == 0) ::_exit(0);
    ::kill(::getpid(), second);
    ::pause();
    ::_exit(4);
}

TEST(SignalWatcherDeathTest, TellsTheFirstSignalAndGoesOn) {
    EXPECT_EXIT(send_and_wait(SIGINT, 0), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(send_and_wait(SIGTERM, 0), testing::ExitedWithCode(0), "");
}

TEST(SignalWatcherDeathTest, EndsAtOnceAtTheNextInterrupt) {
    EXPECT_EXIT(send_and_wait(SIGINT, SIGINT), testing::KilledBySignal(SIGINT), "");
    EXPECT_EXIT(send_and_wait(SIGTERM, SIGINT), testing::KilledBySignal(SIGINT), "");
}

[[noreturn]] void cancel_by_signal() {
    const auto code = with_signals(false, [](const core::Cancel& cancel) {
        ::kill(::getpid(), SIGINT);
        const auto woken = cancel.sleep_for(std::chrono::hours(1));
        return woken ? ExitCode::internal : exit_code_of(woken.error().code);
    });
    ::_exit(static_cast<int>(code));
}

TEST(SignalWatcherDeathTest, TurnsASignalIntoACancel) {
    EXPECT_EXIT(cancel_by_signal(), testing::ExitedWithCode(static_cast<int>(ExitCode::conflict)),
                "");
}

}  // namespace
}  // namespace amilift::app
