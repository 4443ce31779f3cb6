// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "aws/client.hpp"
#include "aws/ec2.hpp"

namespace amilift::aws {

/// EC2 itself. `client` must outlive it. Thread-safe.
class Ec2Client final : public Ec2Api {
  public:
    explicit Ec2Client(Client& client) : client_(client) {}

    [[nodiscard]] core::Result<std::vector<Image>> describe_images(
        const std::vector<std::string>& ids, const std::vector<std::string>& owners,
        const Filters& filters) override;
    [[nodiscard]] core::Result<std::vector<Volume>> describe_volumes(
        const std::vector<std::string>& ids, const Filters& filters) override;
    [[nodiscard]] core::Result<std::vector<Snapshot>> describe_snapshots(
        const std::vector<std::string>& ids, const Filters& filters) override;
    [[nodiscard]] core::Result<std::vector<Instance>> describe_instances(
        const std::vector<std::string>& ids, const Filters& filters) override;
    [[nodiscard]] core::Result<Volume> create_volume(const CreateVolumeRequest& r) override;
    [[nodiscard]] core::Result<> attach_volume(const std::string& volume_id,
                                               const std::string& instance_id,
                                               const std::string& device) override;
    [[nodiscard]] core::Result<> detach_volume(const std::string& volume_id,
                                               const std::string& instance_id, Detach how) override;
    [[nodiscard]] core::Result<> delete_volume(const std::string& volume_id) override;
    [[nodiscard]] core::Result<> delete_volume_on_termination(const std::string& instance_id,
                                                              const std::string& device) override;
    [[nodiscard]] core::Result<Snapshot> create_snapshot(const CreateSnapshotRequest& r) override;
    [[nodiscard]] core::Result<> delete_snapshot(const std::string& snapshot_id) override;
    [[nodiscard]] core::Result<std::string> register_image(const RegisterImageRequest& r) override;
    [[nodiscard]] core::Result<> deregister_image(const std::string& image_id) override;
    [[nodiscard]] core::Result<> create_tags(const std::vector<std::string>& resources,
                                             const Tags& tags) override;
    [[nodiscard]] core::Result<> terminate_instance(const std::string& instance_id) override;
    [[nodiscard]] core::Result<> stop_instance(const std::string& instance_id) override;

  private:
    Client& client_;
};

}  // namespace amilift::aws
