// SPDX-License-Identifier: Apache-2.0
#include "app/signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>

namespace amilift::app {

namespace {

/// From here on this thread takes SIGINT, whose default action ends the whole process. The thread
/// must live on for that.
void end_at_next_interrupt() {
    sigset_t set{};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    // Fails for wrong arguments only.
    (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

core::Result<SignalWatcher> SignalWatcher::start(std::function<void(int)> on_signal) {
    if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        const int saved = errno;
        return core::fail_errno(saved, "cannot ignore SIGPIPE");
    }
    sigset_t set{};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (const int rc = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); rc != 0) {
        return core::fail_errno(rc, "cannot block SIGTERM and SIGINT");
    }
    core::Fd signals(::signalfd(-1, &set, SFD_CLOEXEC));
    SignalWatcher watcher;
    watcher.wake_ = core::Fd(::eventfd(0, EFD_CLOEXEC));
    if (!signals || !watcher.wake_) {
        const int saved = errno;
        return core::fail_errno(saved, "cannot listen to signals");
    }
    watcher.thread_ = std::thread([signals = std::move(signals), wake = watcher.wake_.get(),
                                   on_signal = std::move(on_signal)] {
        std::array<pollfd, 2> polled{pollfd{signals.get(), POLLIN, 0}, pollfd{wake, POLLIN, 0}};
        for (;;) {
            if (::poll(polled.data(), polled.size(), -1) < 0) {
                if (errno == EINTR) continue;
                return;
            }
            if (polled[1].revents != 0) return;
            if (polled[0].revents == 0) continue;
            signalfd_siginfo info{};
            if (::read(signals.get(), &info, sizeof info) == sizeof info) {
                on_signal(static_cast<int>(info.ssi_signo));
                end_at_next_interrupt();
                polled[0].fd = -1;  // poll() passes it over
            }
        }
    });
    return watcher;
}

SignalWatcher::~SignalWatcher() {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    // An eventfd write of 1 cannot fail here; a lost wake-up would only leave the thread for exit.
    if (::write(wake_.get(), &one, sizeof one) == sizeof one) {
        thread_.join();
    } else {
        thread_.detach();
    }
}

}  // namespace amilift::app
