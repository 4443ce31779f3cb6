// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace amilift::aws {

using Tags = std::map<std::string, std::string>;

/// One entry of an AMI's block device mapping (EC2 BlockDeviceMapping + EbsBlockDevice).
struct BlockDeviceMapping {
    std::string device_name;                  ///< "/dev/sda1"
    std::optional<std::string> virtual_name;  ///< "ephemeral0"
    bool no_device = false;                   ///< suppresses a mapping
    std::optional<std::string> snapshot_id;   ///< absent: an empty volume, or not an EBS mapping
    std::optional<std::int64_t> volume_size_gib;
    std::optional<std::string> volume_type;
    std::optional<std::int64_t> iops;
    std::optional<std::int64_t> throughput_mibps;
    std::optional<bool> delete_on_termination;
    std::optional<bool> encrypted;
    [[nodiscard]] bool is_ebs() const {
        return snapshot_id.has_value() || volume_size_gib.has_value();
    }
};

struct Image {
    std::string id;
    std::string name;
    std::string description;
    std::string state;                ///< pending, available, failed, ...
    std::string architecture;         ///< i386, x86_64, arm64
    std::string virtualization_type;  ///< paravirtual, hvm
    std::string root_device_type;     ///< ebs, instance-store
    std::string root_device_name;
    std::string kernel_id;   ///< aki-..., empty for hvm
    std::string ramdisk_id;  ///< ari-..., usually empty
    std::string owner_id;
    std::string platform;           ///< "windows" or empty
    std::string platform_details;   ///< "Linux/UNIX", "Red Hat Enterprise Linux", ...
    std::string usage_operation;    ///< "RunInstances", "RunInstances:0010", ...
    std::string boot_mode;          ///< legacy-bios, uefi, uefi-preferred; empty: EC2's default
    std::string tpm_support;        ///< "v2.0" or empty
    std::string imds_support;       ///< "v2.0" or empty
    std::string sriov_net_support;  ///< "simple" or empty
    std::string state_reason;
    bool ena_support = false;
    std::vector<std::string> product_codes;
    std::vector<BlockDeviceMapping> block_devices;
    Tags tags;
};

struct Attachment {
    std::string instance_id;
    std::string device;  ///< the name that was asked for, "/dev/sdf"
    std::string state;   ///< attaching, attached, detaching, detached, busy
    bool delete_on_termination = false;
};

struct Volume {
    std::string id;
    std::string state;  ///< creating, available, in-use, deleting, deleted, error
    std::string snapshot_id;
    std::string availability_zone;
    std::int64_t size_gib = 0;
    std::vector<Attachment> attachments;
    Tags tags;
};

struct Snapshot {
    std::string id;
    std::string state;  ///< pending, completed, error, recoverable, recovering
    std::string state_message;
    std::string progress;  ///< "42%"
    std::string volume_id;
    std::string description;
    std::int64_t size_gib = 0;
    bool encrypted = false;
    Tags tags;
};

struct Instance {
    std::string id;
    std::string state;
    std::string availability_zone;
    std::string instance_type;
    /// Device names in use, root included.
    std::vector<BlockDeviceMapping> block_devices;
    Tags tags;
};

/// How an instance lets go of a volume.
enum class Detach {
    orderly,
    forced  ///< whatever the guest does, and though it may be stuck in `attaching` or `busy`
};

/// Describe filter: name -> values (any of them), "tag:amilift:job" -> {"web-2011"}.
using Filters = std::map<std::string, std::vector<std::string>>;

struct CreateVolumeRequest {
    std::string availability_zone;
    std::optional<std::string> snapshot_id;
    std::optional<std::int64_t> size_gib;  ///< at least one of snapshot_id, size_gib
    std::string volume_type = "gp3";
    std::optional<bool> encrypted;
    std::optional<std::string> kms_key_id;
    std::string client_token;  ///< at most 64 characters; makes the call idempotent
    Tags tags;
};

struct CreateSnapshotRequest {
    std::string volume_id;
    std::string description;
    Tags tags;
};

struct RegisterImageRequest {
    std::string name;
    std::string description;
    std::string architecture;
    std::string virtualization_type = "hvm";
    std::string root_device_name;
    std::optional<std::string> kernel_id;  ///< "aki-..."; of paravirtual images only
    std::optional<bool> ena_support;
    std::optional<std::string> boot_mode;
    // Empty: not asked for. Neither can be taken from an AMI again.
    std::string tpm_support;
    std::string imds_support;
    std::string sriov_net_support;
    std::vector<BlockDeviceMapping> block_devices;
    Tags tags;
};

/// The EC2 calls that amilift makes; a seam. Each method is one API action (describe calls follow
/// NextToken). Retries of transport failures, throttling and clock skew happen below this
/// interface; what comes out is final. Error::id holds the AWS error code
/// ("InvalidVolume.NotFound", "VolumeInUse"); Error::code is
/// - not_found for Invalid*.NotFound and InvalidAMIID.Unavailable (a deregistered AMI),
/// - permission_denied for UnauthorizedOperation, AuthFailure and refused keys,
/// - conflict for IncorrectState, *.Incorrect*State, VolumeInUse, InvalidSnapshot.InUse,
///   OperationNotPermitted and IdempotentParameterMismatch,
/// - already_exists for InvalidAMIName.Duplicate,
/// - unavailable when EC2 did not answer until the call's deadline, for exceeded quotas
///   (*LimitExceeded) and for missing capacity (Insufficient*Capacity),
/// - invalid_input else.
/// create_snapshot, register_image and a create_volume without client_token are not sent again
/// when the reply to the first was lost: Error::id is then "OutcomeUnknown" (kOutcomeUnknown,
/// aws/client.hpp), and the caller looks for the result before asking again. All other calls may
/// be sent twice, so that after a lost reply the answer may be that of the second: VolumeInUse
/// from attach_volume, NotFound or IncorrectState from those that remove something.
/// Source: EC2 API reference, version 2016-11-15.
class Ec2Api {
  public:
    Ec2Api() = default;
    Ec2Api(const Ec2Api&) = delete;
    Ec2Api& operator=(const Ec2Api&) = delete;
    virtual ~Ec2Api() = default;

    /// Deprecated AMIs are included. At least one of the arguments must say something.
    [[nodiscard]] virtual core::Result<std::vector<Image>> describe_images(
        const std::vector<std::string>& ids, const std::vector<std::string>& owners,
        const Filters& filters) = 0;
    [[nodiscard]] virtual core::Result<std::vector<Volume>> describe_volumes(
        const std::vector<std::string>& ids, const Filters& filters) = 0;
    /// Without ids, only snapshots that the caller's account owns.
    [[nodiscard]] virtual core::Result<std::vector<Snapshot>> describe_snapshots(
        const std::vector<std::string>& ids, const Filters& filters) = 0;
    [[nodiscard]] virtual core::Result<std::vector<Instance>> describe_instances(
        const std::vector<std::string>& ids, const Filters& filters) = 0;

    [[nodiscard]] virtual core::Result<Volume> create_volume(const CreateVolumeRequest& r) = 0;
    [[nodiscard]] virtual core::Result<> attach_volume(const std::string& volume_id,
                                                       const std::string& instance_id,
                                                       const std::string& device) = 0;
    [[nodiscard]] virtual core::Result<> detach_volume(const std::string& volume_id,
                                                       const std::string& instance_id,
                                                       Detach how) = 0;
    [[nodiscard]] virtual core::Result<> delete_volume(const std::string& volume_id) = 0;
    /// ModifyInstanceAttribute: the volume at `device` dies with the instance.
    [[nodiscard]] virtual core::Result<> delete_volume_on_termination(
        const std::string& instance_id, const std::string& device) = 0;
    [[nodiscard]] virtual core::Result<Snapshot> create_snapshot(
        const CreateSnapshotRequest& r) = 0;
    [[nodiscard]] virtual core::Result<> delete_snapshot(const std::string& snapshot_id) = 0;
    /// The new AMI's id.
    [[nodiscard]] virtual core::Result<std::string> register_image(
        const RegisterImageRequest& r) = 0;
    [[nodiscard]] virtual core::Result<> deregister_image(const std::string& image_id) = 0;
    [[nodiscard]] virtual core::Result<> create_tags(const std::vector<std::string>& resources,
                                                     const Tags& tags) = 0;
    [[nodiscard]] virtual core::Result<> terminate_instance(const std::string& instance_id) = 0;
    [[nodiscard]] virtual core::Result<> stop_instance(const std::string& instance_id) = 0;
};

}  // namespace amilift::aws
