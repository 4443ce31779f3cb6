// SPDX-License-Identifier: Apache-2.0
#include "flow/runner.hpp"

#include <fmt/format.h>

#include "aws/client.hpp"
#include "flow/steps.hpp"

namespace amilift::flow {
namespace {

using core::Errc;

/// How long a lost create call may take to show up in describe calls; what has killed the disk
/// worker gets as long to pass.
constexpr auto kPauseBeforeRepeat = std::chrono::seconds(10);

/// The state looks for what it made, and goes on from there: the answer to a create call was lost,
/// or the disk worker was killed.
bool is_worth_repeating(const core::Error& error) {
    return error.id == aws::kOutcomeUnknown || error.id == kWorkerKilled;
}

/// Notes the first failure; later ones (of the clean-up) are appended so that nothing is hidden.
void note_failure(Record& record, const core::Error& error) {
    record.outcome = Outcome::failed;
    if (record.error.empty()) {
        record.error = error.message();
        record.error_id = error.id.empty() ? std::string(core::to_string(error.code)) : error.id;
    } else {
        record.error += "; then " + error.message();
    }
}

/// Enters run.record.state: counted and durable before any work is done.
core::Result<> enter(Run& run) {
    auto& record = run.record;
    const std::string name(to_string(record.state));
    const int entries = ++record.entries[name];
    const bool ending = record.state == State::clean_up || record.state == State::finish;
    if (auto saved = run.save(); !saved) {
        // Cleaning up and ending the helper matter more than the record of them.
        if (!ending) return saved;
        run.say(Update::Kind::warning, saved.error().message());
    }
    run.say(Update::Kind::state_entered, name);
    if (entries > kMaxEntries && !ending) {
        return core::fail(Errc::internal,
                          fmt::format("state '{}' was entered {} times: the helper or the agent "
                                      "restarts in it again and again",
                                      name, entries),
                          "read the console output of the helper", "restart-loop");
    }
    return {};
}

Record fresh_record(const Services& services) {
    Record fresh;
    fresh.instance_id = services.helper.instance_id;
    fresh.job_id = services.helper.instance_id;
    fresh.started_at = core::format_utc(services.clock.wall());
    return fresh;
}

core::Result<Record> start_record(const Services& services) {
    AMILIFT_TRY(auto found, load_record(services.record_path));
    // A record of another instance came along in the helper's AMI: it is not ours.
    if (found && found->instance_id == services.helper.instance_id) {
        // The agent is started again although the job has ended: the helper died while it was being
        // ended, or it is kept and was rebooted, or was stopped and is started again. Its end is
        // done once more.
        if (found->state == State::ended) found->state = State::finish;
        return *std::move(found);
    }
    return fresh_record(services);
}

}  // namespace

core::Result<Record> run_job(Services& services) {
    const auto record = start_record(services);
    Run run{services, record ? *record : fresh_record(services), {}, {}, {}, {}};
    auto& state = run.record.state;
    if (!record) {
        // Where the job was is not known; what it made has its tag.
        note_failure(run.record, record.error());
        state = State::clean_up;
    }
    while (state != State::ended) {
        auto done = enter(run);
        // A restarted agent needs the job again before it can go on in a later state.
        if (done && state != State::fetch_job && !run.job) {
            auto fetched = fetch_job(run);
            // Without its job an agent can still clean up and end.
            if (!fetched && state != State::clean_up && state != State::finish) {
                done = std::unexpected(std::move(fetched).error());
            }
        }
        if (done) done = work(state, run);
        if (!done) {
            // Told to stop (the unit is stopped, the helper shuts down): the record stays in this
            // state, a later start goes on here. A passed deadline is a failure like any other.
            if (services.stop.requested()) return std::unexpected(std::move(done).error());
            // Entries are counted, so this ends.
            if (is_worth_repeating(done.error()) &&
                run.record.entries[std::string(to_string(state))] < kMaxEntries) {
                run.say(Update::Kind::warning, done.error().message());
                AMILIFT_CHECK(services.clock.sleep_for(kPauseBeforeRepeat, services.stop));
                continue;
            }
            if (state == State::delete_volumes || state == State::finish) {
                run.record.warning = done.error().message();
                run.say(Update::Kind::warning, run.record.warning);
            } else {
                note_failure(run.record, done.error());
            }
        }
        state = next_state(state, done ? Event::done : Event::failed);
        if (state == State::finish && run.record.outcome == Outcome::running) {
            run.record.outcome = Outcome::succeeded;
        }
    }
    if (auto saved = run.save(); !saved) {
        run.say(Update::Kind::warning, saved.error().message());
    }
    return std::move(run.record);
}

}  // namespace amilift::flow
