// SPDX-License-Identifier: Apache-2.0
#include "flow/wait.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace amilift::flow {

core::Result<> wait_until(core::Clock& clock, const core::Cancel& cancel, const WaitPolicy& policy,
                          const std::string& what,
                          const std::function<core::Result<bool>(std::string&)>& look) {
    const core::Deadline deadline(clock, policy.timeout);
    auto interval = policy.first_interval;
    std::string seen;
    for (;;) {
        AMILIFT_CHECK(cancel.check());
        const auto there = look(seen);
        if (there && *there) return {};
        // An outage of the service says nothing about what is waited for.
        const bool no_answer = !there && there.error().is(core::Errc::unavailable);
        if (!there && !no_answer) return std::unexpected(there.error());
        if (deadline.passed(clock)) {
            const auto& last = no_answer ? there.error().what : seen;
            return core::fail(
                no_answer ? core::Errc::unavailable : core::Errc::timed_out,
                fmt::format(
                    "waited {} s for {}, last seen: {}",
                    std::chrono::duration_cast<std::chrono::seconds>(policy.timeout).count(), what,
                    last.empty() ? "nothing" : last),
                "look the resource up in the EC2 console; the job can be run again",
                no_answer ? there.error().id : std::string());
        }
        AMILIFT_CHECK(clock.sleep_for(std::min(interval, deadline.left(clock)), cancel));
        interval = std::min(policy.max_interval, interval + interval / 2);
    }
}

}  // namespace amilift::flow
