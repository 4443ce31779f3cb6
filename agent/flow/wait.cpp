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
        AMILIFT_TRY(const bool there, look(seen));
        if (there) return {};
        if (deadline.passed(clock)) {
            return core::fail(
                core::Errc::timed_out,
                fmt::format(
                    "waited {} s for {}, last seen: {}",
                    std::chrono::duration_cast<std::chrono::seconds>(policy.timeout).count(), what,
                    seen.empty() ? "nothing" : seen),
                "look the resource up in the EC2 console; the job can be run again");
        }
        AMILIFT_CHECK(clock.sleep_for(std::min(interval, deadline.left(clock)), cancel));
        interval = std::min(policy.max_interval, interval + interval / 2);
    }
}

}  // namespace amilift::flow
