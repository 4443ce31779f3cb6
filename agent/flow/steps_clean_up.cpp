// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "flow/resources.hpp"
#include "flow/step_parts.hpp"

// The states that remove what the job made.
namespace amilift::flow::steps {

using core::Errc;
using core::Result;

namespace {

/// Waits until EC2 knows an object that this job created: for a while after its creation it does
/// not, and what was not found would not be deleted either. False when it is still unknown after
/// that while (`visible`): then it is gone. `look` describes the object by its id.
template <class Look>
Result<bool> becomes_known(Run& run, const Until& until, const core::Deadline& visible, Look look) {
    auto& s = run.services;
    for (;;) {
        AMILIFT_CHECK(until.check());
        auto found = look();
        if (found && !found->empty()) return true;
        if (!found && !found.error().is(Errc::not_found)) {
            return std::unexpected(std::move(found).error());
        }
        if (visible.passed(s.clock)) return false;
        AMILIFT_CHECK(s.clock.sleep_for(s.waits.volume_available.max_interval, s.stop));
    }
}

/// Adds what the record knows and the search by tag did not find.
template <class Object, class Look>
Result<> add_known(Run& run, const Until& until, const core::Deadline& visible,
                   std::vector<Object>& objects, const std::string& id, Look look) {
    const auto has_id = [&id](const Object& object) { return object.id == id; };
    if (id.empty() || std::ranges::any_of(objects, has_id)) return {};
    AMILIFT_TRY(const bool known, becomes_known(run, until, visible, look));
    if (known) objects.emplace_back().id = id;
    return {};
}

/// One try. What could not be looked for or removed is all in the error, and keeps nothing else
/// from being removed, unless EC2 did not answer: that ends the try.
Result<> try_to_clean_up(Run& run, const Until& until, const core::Deadline& visible) {
    auto& s = run.services;
    const auto& record = run.record;
    auto [leftovers, all] = look_for_leftovers(s.ec2, record.job_id, until);
    const auto then = [&all](auto step) {
        if (all || !all.error().is(Errc::unavailable)) note(all, step());
    };
    // A volume of the same job on another helper is that helper's business.
    std::erase_if(leftovers.volumes, [&](const auto& v) {
        return !v.attachments.empty() && v.attachments.front().instance_id != record.instance_id;
    });
    for (const auto& id : record.volumes()) {
        then([&] {
            return add_known(run, until, visible, leftovers.volumes, id,
                             [&] { return s.ec2.describe_volumes({id}, {}); });
        });
    }
    // An AMI of a failed job is not left standing, whatever state EC2 gives it.
    then([&] {
        return add_known(run, until, visible, leftovers.broken_images, record.image,
                         [&] { return s.ec2.describe_images({record.image}, {}, {}); });
    });
    then([&] {
        return add_known(run, until, visible, leftovers.snapshots, record.snapshot,
                         [&] { return s.ec2.describe_snapshots({record.snapshot}, {}); });
    });
    then([&] { return remove(s.ec2, s.clock, s.stop, s.waits, leftovers, until); });
    return all;
}

/// Volumes outlive a helper that gives up: an outage is waited out, until the deadline and some
/// time more.
Result<> try_again_in_an_outage(Run& run, const std::function<Result<>(const Until&)>& attempt) {
    auto& s = run.services;
    const auto& policy = s.waits.clean_up;
    // Without a job, its clean-up is all that there is to be done.
    const Until until(s.clock, run.clean_up_end.value_or(core::Deadline(s.clock, policy.timeout)));
    auto interval = policy.first_interval;
    bool told = false;
    for (;;) {
        auto done = attempt(until);
        if (done || !done.error().is(Errc::unavailable) || until.left() <= interval) return done;
        if (!std::exchange(told, true)) {
            run.say(Update::Kind::warning,
                    fmt::format("cleaning up is tried again: {}", done.error().message()));
        }
        AMILIFT_CHECK(s.clock.sleep_for(interval, s.stop));
        interval = std::min(policy.max_interval, interval * 2);
    }
}

}  // namespace

/// They are detached: nothing else would delete them.
Result<> delete_volumes(Run& run) {
    auto& s = run.services;
    Leftovers leftovers;
    for (const auto& id : run.record.volumes()) leftovers.volumes.emplace_back().id = id;
    return try_again_in_an_outage(run, [&](const Until& until) {
        return remove(s.ec2, s.clock, s.stop, s.waits, leftovers, until);
    });
}

Result<> clean_up(Run& run) {
    const core::Deadline visible(run.services.clock, run.services.waits.create_visible);
    AMILIFT_CHECK(try_again_in_an_outage(
        run, [&](const Until& until) { return try_to_clean_up(run, until, visible); }));
    run.record.image.clear();
    run.record.snapshot.clear();
    return run.save();
}

}  // namespace amilift::flow::steps
