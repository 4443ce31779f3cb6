// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "aws/ec2.hpp"
#include "aws/query_protocol.hpp"

// The parameters of every EC2 action that amilift calls, in the "ec2" wire protocol (API version
// 2016-11-15). Pure; the golden files of tests/data/aws hold what botocore makes of the same.
namespace amilift::aws::ec2 {

/// Adds paging: MaxResults (EC2 forbids it together with ids) and the token of the page.
void add_page(QueryForm& form, bool by_ids, const std::string& next_token);

[[nodiscard]] QueryForm describe_images(const std::vector<std::string>& ids,
                                        const std::vector<std::string>& owners,
                                        const Filters& filters);
[[nodiscard]] QueryForm describe_volumes(const std::vector<std::string>& ids,
                                         const Filters& filters);
/// Without ids only the caller's own snapshots are asked for: else EC2 lists every public one.
[[nodiscard]] QueryForm describe_snapshots(const std::vector<std::string>& ids,
                                           const Filters& filters);
[[nodiscard]] QueryForm describe_instances(const std::vector<std::string>& ids,
                                           const Filters& filters);
[[nodiscard]] QueryForm create_volume(const CreateVolumeRequest& r);
[[nodiscard]] QueryForm attach_volume(const std::string& volume_id, const std::string& instance_id,
                                      const std::string& device);
[[nodiscard]] QueryForm detach_volume(const std::string& volume_id, const std::string& instance_id,
                                      Detach how);
[[nodiscard]] QueryForm delete_volume(const std::string& volume_id);
[[nodiscard]] QueryForm delete_volume_on_termination(const std::string& instance_id,
                                                     const std::string& device);
[[nodiscard]] QueryForm create_snapshot(const CreateSnapshotRequest& r);
[[nodiscard]] QueryForm delete_snapshot(const std::string& snapshot_id);
[[nodiscard]] QueryForm register_image(const RegisterImageRequest& r);
[[nodiscard]] QueryForm deregister_image(const std::string& image_id);
[[nodiscard]] QueryForm create_tags(const std::vector<std::string>& resources, const Tags& tags);
[[nodiscard]] QueryForm terminate_instance(const std::string& instance_id);
[[nodiscard]] QueryForm stop_instance(const std::string& instance_id);

}  // namespace amilift::aws::ec2
