// SPDX-License-Identifier: Apache-2.0
#include "flow/steps.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "flow/aki.hpp"
#include "flow/preflight.hpp"
#include "flow/resources.hpp"
#include "flow/step_parts.hpp"

namespace amilift::flow {

using core::Errc;
using core::fail;
using core::Result;

Result<> Run::save() {
    if (!is_recorded) return {};
    return save_record(services.record_path, record);
}

void Run::say(Update::Kind kind, std::string text, std::optional<double> fraction) const {
    services.observer.on_update(record, Update{kind, std::move(text), fraction});
}

Result<> work(State state, Run& run) {
    switch (state) {
        case State::fetch_job:
            return steps::fetch_job(run);
        case State::preflight:
            return steps::preflight(run);
        case State::create_volumes:
            return steps::create_volumes(run);
        case State::attach_volumes:
            return steps::attach_volumes(run);
        case State::convert:
            return steps::convert(run);
        case State::detach_volumes:
            return steps::detach_volumes(run);
        case State::snapshot:
            return steps::snapshot(run);
        case State::register_image:
            return steps::register_image(run);
        case State::delete_volumes:
            return steps::delete_volumes(run);
        case State::clean_up:
            return steps::clean_up(run);
        case State::finish:
            return steps::finish(run);
        case State::ended:
            return {};
    }
    return fail(Errc::internal, "a job reached a state that has no work");
}

Result<> fetch_job(Run& run) {
    return steps::fetch_job(run);
}

namespace steps {

aws::Tags provenance(const Run& run) {
    return {{kTagJob, run.record.job_id},
            {kTagManaged, "true"},
            {kTagSourceAmi, run.job->source.ami},
            {kTagVersion, run.services.version}};
}

Result<aws::Tags> image_tags(const Run& run, const aws::Image& source,
                             const job::TemplateValues& values) {
    // EC2 User Guide, "Tag restrictions"; tags that AWS sets itself do not count.
    constexpr std::size_t kMostTags = 50;
    const auto& target = run.job->target;
    aws::Tags tags;
    if (target.copy_source_tags) {
        for (const auto& [key, value] : source.tags) {
            if (!key.starts_with("aws:") && !key.starts_with("amilift:")) tags[key] = value;
        }
    }
    for (const auto& [key, value] : target.tags) {
        AMILIFT_TRY(tags[key], job::expand_text(value, values, "target.tags." + key));
    }
    for (const auto& [key, value] : provenance(run)) tags.try_emplace(key, value);
    if (tags.size() > kMostTags) {
        return fail(Errc::refused,
                    fmt::format("the new AMI would have {} tags: those of '{}', of the job and of "
                                "amilift; EC2 takes {}",
                                tags.size(), source.id, kMostTags),
                    "set target.copy_source_tags: false, or take tags out of the job",
                    "too-many-tags");
    }
    return tags;
}

Result<const aws::Image*> source_image(Run& run) {
    if (!run.source) {
        const auto& id = run.job->source.ami;
        auto images = run.services.ec2.describe_images({id}, {}, {});
        if (!images) return std::unexpected(std::move(images).error());
        if (images->empty()) {
            return fail(Errc::not_found,
                        fmt::format("AMI '{}' does not exist in region '{}', or is not shared with "
                                    "this account",
                                    id, run.services.helper.region),
                        "check the id and the region of the helper", "InvalidAMIID.NotFound");
        }
        run.source = std::move(images->front());
    }
    return &*run.source;
}

Result<job::TemplateValues> template_values(Run& run) {
    AMILIFT_TRY(const auto* source, source_image(run));
    AMILIFT_TRY(const auto started, core::parse_utc(run.record.started_at));
    return job::TemplateValues{source->name, source->id, run.record.job_id, started};
}

namespace {

/// The name under which the AMI is registered; taken names are resolved by the job's policy.
Result<std::string> choose_name(Run& run) {
    AMILIFT_TRY(const auto values, template_values(run));
    constexpr unsigned kMaxCopies = 50;
    std::string first;
    for (unsigned copy = 1; copy <= kMaxCopies; ++copy) {
        AMILIFT_TRY(auto fitted, job::fit_image_name(run.job->target.name, values, copy));
        if (copy == 1) {
            first = fitted.name;
            if (!fitted.note.empty()) run.say(Update::Kind::warning, fitted.note);
        }
        const aws::Filters by_name{{"name", std::vector<std::string>{fitted.name}}};
        AMILIFT_TRY(const auto taken, run.services.ec2.describe_images({}, {"self"}, by_name));
        if (taken.empty()) return std::move(fitted.name);
        if (run.job->target.on_name_collision == job::NameCollision::fail) {
            return fail(
                Errc::already_exists,
                fmt::format("an AMI named '{}' exists already: {}", fitted.name, taken.front().id),
                "choose another target.name, or set on_name_collision: suffix",
                "InvalidAMIName.Duplicate");
        }
    }
    return fail(
        Errc::already_exists,
        fmt::format("'{}' and its numbered variants up to {} are all taken", first, kMaxCopies),
        "choose another target.name", "InvalidAMIName.Duplicate");
}

/// What is left of the job's deadline, never negative. It counts from the job's first start, not
/// from the last restart of the agent.
std::chrono::seconds deadline_left(const Run& run) {
    auto left = run.job->deadline;
    const auto started = core::parse_utc(run.record.started_at);
    if (!started) return left;
    const auto gone =
        std::chrono::duration_cast<std::chrono::seconds>(run.services.clock.wall() - *started);
    if (gone > std::chrono::seconds::zero()) left -= std::min(gone, left);
    return left;
}

}  // namespace

Result<> fetch_job(Run& run) {
    AMILIFT_TRY(auto job, run.services.fetch_job());
    // What was made has the old id for a tag, though the helper may have got other user-data since.
    const bool has_begun = run.record.entries.contains(std::string(to_string(State::preflight)));
    if (!job.id.empty() && !has_begun) run.record.job_id = job.id;
    run.job = std::move(job);
    const auto left = deadline_left(run);
    run.clean_up_end.emplace(run.services.clock, left + run.services.waits.clean_up.timeout);
    AMILIFT_CHECK(run.services.control.arm_deadline(left));
    return run.save();
}

Result<> preflight(Run& run) {
    AMILIFT_TRY(const auto* source, source_image(run));
    const bool paravirtual = run.job->conversion.virtualization == job::Virtualization::paravirtual;
    AMILIFT_CHECK(check_source(*source, run.job->conversion));
    if (source->boot_mode == "uefi" && !paravirtual) {
        run.say(
            Update::Kind::warning,
            fmt::format("AMI '{}' has the boot mode uefi, which the new AMI keeps: EC2 starts it "
                        "by UEFI only",
                        source->id));
    }
    if (paravirtual) {
        AMILIFT_TRY(auto aki, choose_aki(run.services.ec2, run.job->target.aki,
                                         source->architecture, run.services.helper.region));
        run.say(Update::Kind::message,
                fmt::format("the new AMI starts by {} '{}'", aki.id, aki.name));
        run.record.kernel_id = std::move(aki.id);
    }
    // Names and mappings are worked out now, so that a wrong one costs no volume and no copy.
    AMILIFT_TRY(const auto mapped,
                map_block_devices(*source, run.job->target, "snap-00000000000000000", 1));
    for (const auto& note : mapped.notes) run.say(Update::Kind::warning, note);
    AMILIFT_TRY(const auto values, template_values(run));
    AMILIFT_CHECK(job::expand_text(run.job->target.description, values, "target.description"));
    AMILIFT_CHECK(image_tags(run, *source, values));
    AMILIFT_TRY(run.record.image_name, choose_name(run));
    run.say(Update::Kind::message,
            fmt::format("source {} '{}' ({}, {}), new AMI will be '{}'", source->id, source->name,
                        source->architecture, source->virtualization_type, run.record.image_name));
    return run.save();
}

}  // namespace steps
}  // namespace amilift::flow
