// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "aws/ec2.hpp"

namespace amilift::fakes {

/// Thrown by the fake to stand for the agent's death at an API call.
struct Crash {};

/// EC2 in memory, with what the flow depends on: transitional states (a describe call moves an
/// object on), NotFound for a while after a create, client tokens, name collisions, snapshots in
/// use. Unlike the API it keeps no clock.
class FakeEc2 final : public aws::Ec2Api {
  public:
    std::map<std::string, aws::Image> images;
    std::map<std::string, aws::Volume> volumes;
    std::map<std::string, aws::Snapshot> snapshots;
    std::map<std::string, aws::Instance> instances;
    std::vector<std::string> calls;  ///< "CreateVolume", ... in order
    std::vector<aws::RegisterImageRequest> registered;
    std::map<std::string, aws::Tags> instance_tags;
    std::set<std::string> delete_on_termination;              ///< device names
    std::vector<std::string> marked_while;                    ///< states of those attachments
    std::map<std::string, aws::CreateVolumeRequest> created;  ///< volume id -> request
    /// Called before an action takes effect, and after: may throw Crash or give an error.
    std::function<core::Result<>(const std::string& action, bool before)> hook;
    /// How many describe calls an object stays in its transitional state.
    int slowness = 1;
    /// Attachments stay in `attaching` and, unless forced, in `busy`.
    bool stuck = false;
    /// EC2 knows a device only once it is attached.
    bool marks_attached_only = false;
    /// How many describe calls a new object is unknown for.
    int invisible = 0;

    core::Result<std::vector<aws::Image>> describe_images(const std::vector<std::string>& ids,
                                                          const std::vector<std::string>& owners,
                                                          const aws::Filters& filters) override;
    core::Result<std::vector<aws::Volume>> describe_volumes(const std::vector<std::string>& ids,
                                                            const aws::Filters& filters) override;
    core::Result<std::vector<aws::Snapshot>> describe_snapshots(
        const std::vector<std::string>& ids, const aws::Filters& filters) override;
    core::Result<std::vector<aws::Instance>> describe_instances(
        const std::vector<std::string>& ids, const aws::Filters& filters) override;
    core::Result<aws::Volume> create_volume(const aws::CreateVolumeRequest& r) override;
    core::Result<> attach_volume(const std::string& volume_id, const std::string& instance_id,
                                 const std::string& device) override;
    core::Result<> detach_volume(const std::string& volume_id, const std::string& instance_id,
                                 aws::Detach how) override;
    core::Result<> delete_volume(const std::string& volume_id) override;
    core::Result<> delete_volume_on_termination(const std::string& instance_id,
                                                const std::string& device) override;
    core::Result<aws::Snapshot> create_snapshot(const aws::CreateSnapshotRequest& r) override;
    core::Result<> delete_snapshot(const std::string& snapshot_id) override;
    core::Result<std::string> register_image(const aws::RegisterImageRequest& r) override;
    core::Result<> deregister_image(const std::string& image_id) override;
    core::Result<> create_tags(const std::vector<std::string>& resources,
                               const aws::Tags& tags) override;
    core::Result<> terminate_instance(const std::string& instance_id) override;
    core::Result<> stop_instance(const std::string& instance_id) override;

    [[nodiscard]] int count(const std::string& action) const;
    /// An account without anything in it.
    void reset();

  private:
    core::Result<> enter(const std::string& action);
    core::Result<> leave(const std::string& action);
    std::string new_id(const std::string& prefix);
    bool still_invisible(const std::string& id);
    /// True once the object has been looked at `slowness` times.
    bool settled(const std::string& id);

    int next_id_ = 1;
    std::map<std::string, int> looks_;
    std::map<std::string, int> hidden_;
    std::map<std::string, std::string> tokens_;
};

}  // namespace amilift::fakes
