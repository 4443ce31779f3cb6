// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "aws/ec2.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "flow/services.hpp"

namespace amilift::flow {

/// Tags by which a job's resources are found again. Every resource carries kTagJob.
inline constexpr const char* kTagJob = "amilift:job";
inline constexpr const char* kTagRole = "amilift:role";  ///< source, target
inline constexpr const char* kTagManaged = "amilift:managed";
inline constexpr const char* kTagSourceAmi = "amilift:source-ami";
inline constexpr const char* kTagVersion = "amilift:version";

/// What a job has left in the account, found by tag.
struct Leftovers {
    std::vector<aws::Volume> volumes;       ///< all of them: a job's volumes never outlive it
    std::vector<aws::Image> broken_images;  ///< AMIs that are not available
    std::vector<aws::Snapshot> snapshots;   ///< those that no usable AMI is made of
    [[nodiscard]] bool empty() const {
        return volumes.empty() && broken_images.empty() && snapshots.empty();
    }
};

/// When no call is begun any more: a call may go on for two minutes after it. By default, never.
class Until {
  public:
    Until() = default;
    Until(const core::Clock& clock, const core::Deadline& end) : clock_(&clock), end_(end) {}
    /// Errc::timed_out once that time has come.
    [[nodiscard]] core::Result<> check() const;
    [[nodiscard]] core::Duration left() const;

  private:
    const core::Clock* clock_ = nullptr;
    std::optional<core::Deadline> end_;
};

/// What a look found, and whether it saw everything.
struct Search {
    Leftovers found;
    core::Result<> complete;  ///< all that failed; without the AMIs, snapshots are not in `found`
};

/// Looks only, and no further once EC2 did not answer. `job_id` is the value of the amilift:job
/// tag; one that no job can have is Errc::invalid_input, because EC2 takes * and ? in it for
/// wildcards.
[[nodiscard]] Search look_for_leftovers(aws::Ec2Api& ec2, const std::string& job_id,
                                        const Until& until = {});

/// The same, all or nothing.
[[nodiscard]] core::Result<Leftovers> find_leftovers(aws::Ec2Api& ec2, const std::string& job_id);

/// Drops what has not exactly this amilift:job tag: a filter of EC2 is a pattern.
template <class Object>
void keep_job(std::vector<Object>& objects, const std::string& job_id) {
    std::erase_if(objects, [&job_id](const Object& object) {
        const auto tag = object.tags.find(kTagJob);
        return tag == object.tags.end() || tag->second != job_id;
    });
}

/// Adds the failure of `next`, if it is one, to `all`. What is unavailable makes all of it so: it
/// is worth another try.
void note(core::Result<>& all, core::Result<> next);

/// One line per resource, for people: "volume vol-1 (8 GiB, in-use by i-2)".
[[nodiscard]] std::vector<std::string> describe(const Leftovers& leftovers);

/// Deregisters the broken images, detaches and deletes the volumes, deletes the snapshots. Goes on
/// after a failure, but not once EC2 did not answer or `until` has come; the error names everything
/// that is left, and is unavailable if EC2 did not answer.
[[nodiscard]] core::Result<> remove(aws::Ec2Api& ec2, core::Clock& clock,
                                    const core::Cancel& cancel, const Waits& waits,
                                    const Leftovers& leftovers, const Until& until = {});

/// Detaches the volume if it is attached, by force after half of the time, and waits until it is
/// available; deletes it. A volume that is gone already is fine. One that dies with its instance is
/// not detached when there is less time than kDetachTime to see it available: detached and not
/// deleted, it would outlive the instance. Errors: timed_out, as EC2's.
[[nodiscard]] core::Result<> detach_and_delete(aws::Ec2Api& ec2, core::Clock& clock,
                                               const core::Cancel& cancel, const Waits& waits,
                                               const std::string& volume_id,
                                               const Until& until = {});

/// What EC2 takes to detach and delete a volume, and some more.
inline constexpr core::Duration kDetachTime = std::chrono::seconds(60);

}  // namespace amilift::flow
