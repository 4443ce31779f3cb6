// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "aws/ec2.hpp"
#include "core/result.hpp"
#include "flow/services.hpp"

namespace amilift::flow {

/// The root of an AMI, attached to this instance for as long as it is inspected.
struct AttachedRoot {
    const aws::Image& image;
    std::string path;    ///< of the block device
    std::string volume;  ///< "vol-..."
    std::string device;  ///< the name asked of EC2
};

/// Makes a volume of the AMI's root snapshot, attaches it to this instance, calls `use`, and
/// removes the volume, whatever has happened: also when job_cancel is requested, though not when
/// `stop` is. A process that is killed leaves the volume with the tag amilift:job = `id`, deleted
/// with the instance once it is attached. Nothing is recorded: record_path of the services is not
/// used, neither are worker, control and fetch_job. Errors: those of `use`; refused (see
/// check_source()) for an AMI whose root no instance can have; those of the EC2 calls.
[[nodiscard]] core::Result<> with_attached_root(
    Services& services, const std::string& ami, const std::string& id,
    const std::function<core::Result<>(const AttachedRoot&)>& use);

}  // namespace amilift::flow
