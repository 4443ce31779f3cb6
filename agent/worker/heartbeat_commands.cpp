// SPDX-License-Identifier: Apache-2.0
#include "worker/heartbeat_commands.hpp"

#include <system_error>
#include <thread>

namespace amilift::worker {

core::Result<core::CommandOutput> HeartbeatCommands::run(const core::Command& command) {
    core::Cancel ended;
    std::thread heart;
    try {
        heart = std::thread([this, &ended, timeout = command.timeout] {
            const core::SystemClock clock;
            const core::Deadline deadline(clock, timeout);
            // A command that outlives its time-out is stuck in the kernel.
            while (ended.sleep_for(every_) && deadline.left(clock) > core::Duration::zero())
                beat_();
        });
    } catch (const std::system_error& error) {
        return core::fail_errno(error.code().value(), "cannot start a thread beside a command",
                                "raise the limit of processes, then retry");
    }
    auto output = inner_.run(command);
    ended.request("the command has ended");
    heart.join();
    return output;
}

}  // namespace amilift::worker
