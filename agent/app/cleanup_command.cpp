// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/account.hpp"
#include "app/commands.hpp"
#include "app/output.hpp"
#include "app/with_signals.hpp"
#include "flow/resources.hpp"

namespace amilift::app {
namespace {

core::Result<> clean_up(const CleanupOptions& options, core::Clock& clock,
                        const core::Cancel& cancel) {
    Account account(clock, cancel, {options.region, options.endpoint, ""});
    AMILIFT_CHECK(account.open());
    AMILIFT_TRY(const auto leftovers, flow::find_leftovers(account.ec2(), options.job_id));
    const auto lines = flow::describe(leftovers);
    if (!options.dry_run) {
        AMILIFT_CHECK(flow::remove(account.ec2(), clock, cancel, {}, leftovers));
    }
    if (options.json) {
        print_json({{"version", 1},
                    {"ok", true},
                    {"job", options.job_id},
                    {"removed", !options.dry_run},
                    {"resources", lines}});
        return {};
    }
    if (lines.empty()) fmt::print("nothing is left of job '{}'\n", printable(options.job_id));
    for (const auto& line : lines) {
        fmt::print("{} {}\n", options.dry_run ? "would remove" : "removed", printable(line));
    }
    return {};
}

}  // namespace

ExitCode run_cleanup(const CleanupOptions& options) {
    return with_signals(options.json, [&](const core::Cancel& cancel) {
        core::SystemClock clock;
        const auto done = clean_up(options, clock, cancel);
        return done ? ExitCode::ok : tell_error(done.error(), options.json);
    });
}

}  // namespace amilift::app
