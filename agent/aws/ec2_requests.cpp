// SPDX-License-Identifier: Apache-2.0
#include "aws/ec2_requests.hpp"

#include <fmt/format.h>

namespace amilift::aws::ec2 {
namespace {

constexpr std::int64_t kPageSize = 500;  // within the limits of all describe calls (5 to 1000)

QueryForm action(const char* name) {
    return {name, "2016-11-15"};
}

void add_filters(QueryForm& form, const Filters& filters) {
    std::size_t i = 0;
    for (const auto& [name, values] : filters) {
        const auto prefix = fmt::format("Filter.{}", ++i);
        form.add(prefix + ".Name", name);
        form.add_list(prefix + ".Value", values);
    }
}

void add_tags(QueryForm& form, const std::string& prefix, const Tags& tags) {
    std::size_t i = 0;
    for (const auto& [key, value] : tags) {
        ++i;
        form.add(fmt::format("{}.{}.Key", prefix, i), key);
        form.add(fmt::format("{}.{}.Value", prefix, i), value);
    }
}

/// Tags given at creation: there is no moment at which the resource exists without them.
void add_tag_specification(QueryForm& form, const char* resource_type, const Tags& tags) {
    if (tags.empty()) return;
    form.add("TagSpecification.1.ResourceType", std::string(resource_type));
    add_tags(form, "TagSpecification.1.Tag", tags);
}

void add_text(QueryForm& form, const char* name, const std::string& value) {
    if (!value.empty()) form.add(name, value);
}

void add_mapping(QueryForm& form, const std::string& prefix, const BlockDeviceMapping& mapping) {
    form.add(prefix + ".DeviceName", mapping.device_name);
    if (mapping.virtual_name) form.add(prefix + ".VirtualName", *mapping.virtual_name);
    if (mapping.no_device) {
        form.add(prefix + ".NoDevice", std::string());
        return;
    }
    const auto ebs = prefix + ".Ebs.";
    if (mapping.snapshot_id) form.add(ebs + "SnapshotId", *mapping.snapshot_id);
    if (mapping.volume_size_gib) form.add(ebs + "VolumeSize", *mapping.volume_size_gib);
    if (mapping.volume_type) form.add(ebs + "VolumeType", *mapping.volume_type);
    if (mapping.iops) form.add(ebs + "Iops", *mapping.iops);
    if (mapping.throughput_mibps) form.add(ebs + "Throughput", *mapping.throughput_mibps);
    if (mapping.delete_on_termination) {
        form.add_flag(ebs + "DeleteOnTermination", *mapping.delete_on_termination);
    }
    // EC2 refuses Encrypted beside SnapshotId: the snapshot decides.
    if (mapping.encrypted && !mapping.snapshot_id)
        form.add_flag(ebs + "Encrypted", *mapping.encrypted);
}

}  // namespace

void add_page(QueryForm& form, bool by_ids, const std::string& next_token) {
    if (!by_ids) form.add("MaxResults", kPageSize);
    if (!next_token.empty()) form.add("NextToken", next_token);
}

QueryForm describe_images(const std::vector<std::string>& ids,
                          const std::vector<std::string>& owners, const Filters& filters) {
    auto form = action("DescribeImages");
    form.add_list("ImageId", ids);
    form.add_list("Owner", owners);
    add_filters(form, filters);
    // Old AMIs are what this is for, and those that others share are deprecated after two years.
    form.add_flag("IncludeDeprecated", true);
    return form;
}

QueryForm describe_volumes(const std::vector<std::string>& ids, const Filters& filters) {
    auto form = action("DescribeVolumes");
    form.add_list("VolumeId", ids);
    add_filters(form, filters);
    return form;
}

QueryForm describe_snapshots(const std::vector<std::string>& ids, const Filters& filters) {
    auto form = action("DescribeSnapshots");
    form.add_list("SnapshotId", ids);
    if (ids.empty()) form.add_list("Owner", {"self"});
    add_filters(form, filters);
    return form;
}

QueryForm describe_instances(const std::vector<std::string>& ids, const Filters& filters) {
    auto form = action("DescribeInstances");
    form.add_list("InstanceId", ids);
    add_filters(form, filters);
    return form;
}

QueryForm create_volume(const CreateVolumeRequest& r) {
    auto form = action("CreateVolume");
    form.add("AvailabilityZone", r.availability_zone);
    if (r.snapshot_id) form.add("SnapshotId", *r.snapshot_id);
    if (r.size_gib) form.add("Size", *r.size_gib);
    add_text(form, "VolumeType", r.volume_type);
    if (r.encrypted) form.add_flag("Encrypted", *r.encrypted);
    if (r.kms_key_id) form.add("KmsKeyId", *r.kms_key_id);
    add_text(form, "ClientToken", r.client_token);
    add_tag_specification(form, "volume", r.tags);
    return form;
}

QueryForm attach_volume(const std::string& volume_id, const std::string& instance_id,
                        const std::string& device) {
    auto form = action("AttachVolume");
    form.add("VolumeId", volume_id);
    form.add("InstanceId", instance_id);
    form.add("Device", device);
    return form;
}

QueryForm detach_volume(const std::string& volume_id, const std::string& instance_id, Detach how) {
    auto form = action("DetachVolume");
    form.add("VolumeId", volume_id);
    form.add("InstanceId", instance_id);
    if (how == Detach::forced) form.add_flag("Force", true);
    return form;
}

QueryForm delete_volume(const std::string& volume_id) {
    auto form = action("DeleteVolume");
    form.add("VolumeId", volume_id);
    return form;
}

QueryForm delete_volume_on_termination(const std::string& instance_id, const std::string& device) {
    auto form = action("ModifyInstanceAttribute");
    form.add("InstanceId", instance_id);
    form.add("BlockDeviceMapping.1.DeviceName", device);
    form.add_flag("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true);
    return form;
}

QueryForm create_snapshot(const CreateSnapshotRequest& r) {
    auto form = action("CreateSnapshot");
    form.add("VolumeId", r.volume_id);
    add_text(form, "Description", r.description);
    add_tag_specification(form, "snapshot", r.tags);
    return form;
}

QueryForm delete_snapshot(const std::string& snapshot_id) {
    auto form = action("DeleteSnapshot");
    form.add("SnapshotId", snapshot_id);
    return form;
}

QueryForm register_image(const RegisterImageRequest& r) {
    auto form = action("RegisterImage");
    form.add("Name", r.name);
    add_text(form, "Description", r.description);
    // Both have defaults (i386, paravirtual) that are never what is wanted here.
    form.add("Architecture", r.architecture);
    form.add("VirtualizationType", r.virtualization_type);
    form.add("RootDeviceName", r.root_device_name);
    if (r.kernel_id) form.add("KernelId", *r.kernel_id);
    if (r.ena_support) form.add_flag("EnaSupport", *r.ena_support);
    if (r.boot_mode) form.add("BootMode", *r.boot_mode);
    add_text(form, "TpmSupport", r.tpm_support);
    add_text(form, "ImdsSupport", r.imds_support);
    add_text(form, "SriovNetSupport", r.sriov_net_support);
    for (std::size_t i = 0; i < r.block_devices.size(); ++i) {
        add_mapping(form, fmt::format("BlockDeviceMapping.{}", i + 1), r.block_devices[i]);
    }
    add_tag_specification(form, "image", r.tags);
    return form;
}

QueryForm deregister_image(const std::string& image_id) {
    auto form = action("DeregisterImage");
    form.add("ImageId", image_id);
    return form;
}

QueryForm create_tags(const std::vector<std::string>& resources, const Tags& tags) {
    auto form = action("CreateTags");
    form.add_list("ResourceId", resources);
    add_tags(form, "Tag", tags);
    return form;
}

QueryForm terminate_instance(const std::string& instance_id) {
    auto form = action("TerminateInstances");
    form.add_list("InstanceId", {instance_id});
    return form;
}

QueryForm stop_instance(const std::string& instance_id) {
    auto form = action("StopInstances");
    form.add_list("InstanceId", {instance_id});
    return form;
}

}  // namespace amilift::aws::ec2
