// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/ec2.hpp"
#include "core/result.hpp"
#include "job/job.hpp"

namespace amilift::flow {

/// Says no to a source AMI that cannot be converted, before anything is created. Each refusal has
/// an id: "ami-not-available", "instance-store", "already-hvm" (unless
/// the job makes the image ready for Nitro, or paravirtual), "windows", "architecture",
/// "product-codes", "billing-codes", "no-root-snapshot"; of an HVM source that stays HVM
/// "layout-of-partitions" and "size-too-small".
///
/// Billing codes go from a snapshot to the volumes and snapshots that are made from it, and from
/// there to the AMI (RegisterImage): they stay with a conversion in place and are lost by a copy to
/// a blank volume. A volume with a Marketplace product code can be attached to a stopped instance
/// only (AttachVolume), so no helper can convert it.
[[nodiscard]] core::Result<> check_source(const aws::Image& source,
                                          const job::ConversionOptions& options);

/// Whether the one volume of the job is made from the source's snapshot and edited where it lies,
/// instead of being copied to a second one: an HVM source, whose disk has what it boots by already,
/// and every source with layout in_place.
[[nodiscard]] bool converts_in_place(const aws::Image& source,
                                     const job::ConversionOptions& options);

/// Whether instances of the AMI cost more than plain Linux: RHEL, SUSE and the like.
[[nodiscard]] bool has_billing_codes(const aws::Image& image);

/// The mapping of the root device; check_source() has seen that it is there.
[[nodiscard]] const aws::BlockDeviceMapping* root_mapping(const aws::Image& source);

/// Size of a blank target volume in GiB: what the job says, else the source volume's and for HVM
/// one more, because a filesystem that fills its volume needs room for partition table and boot
/// loader beside it, and EBS sizes are whole GiB.
[[nodiscard]] std::int64_t target_size_gib(const job::ConversionOptions& options,
                                           std::int64_t source_gib);

struct MappedDevices {
    std::vector<aws::BlockDeviceMapping> mappings;
    std::vector<std::string> notes;  ///< one line per device that got another name
};

/// The new AMI's block device mapping: the new root, and every data volume of the source. Names
/// that HVM does not allow are changed (a digit at the end, a clash with the root) and noted; they
/// are changed for a paravirtual AMI too, which takes either form.
/// Source: EC2 User Guide, "Device names for volumes on Amazon EC2 instances".
[[nodiscard]] core::Result<MappedDevices> map_block_devices(const aws::Image& source,
                                                            const job::Target& target,
                                                            const std::string& root_snapshot,
                                                            std::int64_t root_size_gib);

/// Two device names ("/dev/sdf" to "/dev/sdp") that no mapping of the helper uses.
/// Errc::conflict when fewer than `count` are left.
[[nodiscard]] core::Result<std::vector<std::string>> free_attach_names(
    const aws::Instance& helper, std::size_t count, const std::vector<std::string>& taken);

/// "/dev/sdf", "sdf", "xvdf" and "/dev/xvdf1" are all "f": what decides whether two names clash.
[[nodiscard]] std::string device_suffix(std::string_view name);

}  // namespace amilift::flow
