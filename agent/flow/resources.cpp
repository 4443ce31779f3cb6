// SPDX-License-Identifier: Apache-2.0
#include "flow/resources.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "flow/wait.hpp"
#include "job/job_yaml_values.hpp"

namespace amilift::flow {
namespace {

using core::Errc;

aws::Filters by_job(const std::string& job_id) {
    return {{fmt::format("tag:{}", kTagJob), {job_id}}};
}

}  // namespace

void note(core::Result<>& all, core::Result<> next) {
    if (next) return;
    if (all) {
        all = std::move(next);
        return;
    }
    const bool worth_repeating =
        all.error().is(Errc::unavailable) || next.error().is(Errc::unavailable);
    all = std::unexpected(std::move(all).error().followed_by(next.error()));
    if (worth_repeating) all.error().code = Errc::unavailable;
}

core::Result<> Until::check() const {
    if (!clock_ || !end_->passed(*clock_)) return {};
    return core::fail(Errc::timed_out, "the time for cleaning up is over");
}

core::Duration Until::left() const {
    return clock_ ? end_->left(*clock_) : core::Duration::max();
}

Search look_for_leftovers(aws::Ec2Api& ec2, const std::string& job_id, const Until& until) {
    Search search;
    auto& out = search.found;
    if (!job::kJobIdRule.accepts(job_id)) {
        search.complete = core::fail(
            Errc::invalid_input,
            fmt::format("'{}' is no job id, expected {}", job_id, job::kJobIdRule.expected),
            "give the value of the tag amilift:job");
        return search;
    }
    const auto look = [&](auto describe) -> decltype(describe()) {
        // In an outage each call takes minutes to fail.
        if (!search.complete && (search.complete.error().is(Errc::unavailable) || !until.check())) {
            return std::unexpected(search.complete.error());
        }
        const auto in_time = until.check();
        auto found = in_time ? describe() : std::unexpected(in_time.error());
        if (!found) note(search.complete, std::unexpected(found.error()));
        return found;
    };
    auto volumes = look([&] { return ec2.describe_volumes({}, by_job(job_id)); });
    if (volumes) {
        out.volumes = std::move(*volumes);
        keep_job(out.volumes, job_id);
        std::erase_if(out.volumes,
                      [](const auto& v) { return v.state == "deleting" || v.state == "deleted"; });
    }
    auto images = look([&] { return ec2.describe_images({}, {"self"}, by_job(job_id)); });
    auto snapshots = look([&] { return ec2.describe_snapshots({}, by_job(job_id)); });
    // Without the AMIs it is not known which snapshots are in use.
    if (!images) return search;
    keep_job(*images, job_id);
    std::set<std::string> in_use;
    for (auto& image : *images) {
        if (image.state == "deregistered") continue;
        if (image.state == "available") {
            for (const auto& m : image.block_devices) {
                if (m.snapshot_id) in_use.insert(*m.snapshot_id);
            }
        } else {
            out.broken_images.push_back(std::move(image));
        }
    }
    if (!snapshots) return search;
    keep_job(*snapshots, job_id);
    for (auto& snapshot : *snapshots) {
        if (!in_use.contains(snapshot.id)) out.snapshots.push_back(std::move(snapshot));
    }
    return search;
}

core::Result<Leftovers> find_leftovers(aws::Ec2Api& ec2, const std::string& job_id) {
    auto search = look_for_leftovers(ec2, job_id);
    AMILIFT_CHECK(std::move(search.complete));
    return std::move(search.found);
}

std::vector<std::string> describe(const Leftovers& leftovers) {
    std::vector<std::string> lines;
    for (const auto& v : leftovers.volumes) {
        lines.push_back(fmt::format(
            "volume {} ({} GiB, {}{})", v.id, v.size_gib, v.state,
            v.attachments.empty() ? std::string() : " by " + v.attachments.front().instance_id));
    }
    for (const auto& i : leftovers.broken_images) {
        lines.push_back(fmt::format("image {} ('{}', {})", i.id, i.name, i.state));
    }
    for (const auto& s : leftovers.snapshots) {
        lines.push_back(fmt::format("snapshot {} ({} GiB, {})", s.id, s.size_gib, s.state));
    }
    return lines;
}

core::Result<> detach_and_delete(aws::Ec2Api& ec2, core::Clock& clock, const core::Cancel& cancel,
                                 const Waits& waits, const std::string& volume_id,
                                 const Until& until) {
    auto policy = waits.volume_detached;
    policy.timeout = std::min(policy.timeout, until.left());
    const core::Deadline end(clock, policy.timeout);
    const core::Deadline patience(clock, policy.timeout / 2);
    std::string asked;  // the instance that was asked to let go, so that it is asked once
    bool forced = false;
    bool gone = false;
    auto available = wait_until(
        clock, cancel, policy, fmt::format("volume '{}' to be detached", volume_id),
        [&](std::string& seen) -> core::Result<bool> {
            AMILIFT_CHECK(until.check());
            auto volumes = ec2.describe_volumes({volume_id}, {});
            if (!volumes) {
                gone = volumes.error().is(Errc::not_found);
                if (gone) return true;
                return std::unexpected(std::move(volumes).error());
            }
            gone = volumes->empty() || volumes->front().state == "deleting" ||
                   volumes->front().state == "deleted";
            if (gone) return true;
            const auto& v = volumes->front();
            seen = fmt::format("state '{}'", v.state);
            if (v.state == "available" || v.state == "error") return true;
            if (!v.attachments.empty()) {
                const auto& a = v.attachments.front();
                seen += fmt::format(", attachment to '{}' is '{}'", a.instance_id, a.state);
                // Nothing on the volume is worth a clean unmount any more.
                const bool force = patience.passed(clock);
                const bool ask =
                    force ? !forced
                          : asked != a.instance_id && a.state != "detaching" && a.state != "busy";
                if (ask) {
                    AMILIFT_CHECK(until.check());
                    if (a.delete_on_termination && end.left(clock) < kDetachTime) {
                        return core::fail(
                            Errc::timed_out,
                            fmt::format("too little time is left to detach volume '{}': it stays "
                                        "with instance '{}' and is deleted when that terminates",
                                        volume_id, a.instance_id));
                    }
                    auto detached =
                        ec2.detach_volume(volume_id, a.instance_id,
                                          force ? aws::Detach::forced : aws::Detach::orderly);
                    // IncorrectState: it is going away already, or not attached yet; look again.
                    if (!detached && !detached.error().is(Errc::conflict) &&
                        !detached.error().is(Errc::not_found)) {
                        return std::unexpected(std::move(detached).error());
                    }
                    if (detached) {
                        asked = a.instance_id;
                        forced = force;
                    }
                }
            }
            return false;
        });
    if (!available || gone) return available;
    AMILIFT_CHECK(until.check());
    auto deleted = ec2.delete_volume(volume_id);
    if (!deleted && deleted.error().is(Errc::not_found)) return {};
    return deleted;
}

core::Result<> remove(aws::Ec2Api& ec2, core::Clock& clock, const core::Cancel& cancel,
                      const Waits& waits, const Leftovers& leftovers, const Until& until) {
    std::vector<std::string> left;
    auto code = Errc::conflict;
    const auto attempt = [&](const std::string& what, auto removal) {
        // In an outage each call takes minutes to fail.
        if (code == Errc::unavailable) {
            left.push_back(what);
            return;
        }
        const auto in_time = until.check();
        const auto done = in_time ? removal() : in_time;
        if (done || done.error().is(Errc::not_found)) return;
        left.push_back(fmt::format("{} ({})", what, done.error().what));
        if (done.error().is(Errc::unavailable)) code = Errc::unavailable;
    };
    for (const auto& image : leftovers.broken_images) {
        attempt("image " + image.id, [&] { return ec2.deregister_image(image.id); });
    }
    auto volumes_left = std::ssize(leftovers.volumes);
    for (const auto& volume : leftovers.volumes) {
        // Time for all of them, one after the other.
        auto shared = waits;
        shared.volume_detached.timeout =
            std::min(waits.volume_detached.timeout, until.left() / volumes_left--);
        attempt("volume " + volume.id,
                [&] { return detach_and_delete(ec2, clock, cancel, shared, volume.id, until); });
    }
    for (const auto& snapshot : leftovers.snapshots) {
        attempt("snapshot " + snapshot.id, [&] { return ec2.delete_snapshot(snapshot.id); });
    }
    if (left.empty()) return {};
    return core::fail(code, fmt::format("could not remove: {}", fmt::join(left, "; ")),
                      "run 'amilift cleanup --job ID' later");
}

}  // namespace amilift::flow
