// SPDX-License-Identifier: Apache-2.0
#include "aws/ec2_responses.hpp"

#include <fmt/format.h>

#include <utility>

#include "aws/query_protocol.hpp"

namespace amilift::aws::ec2 {
namespace {

Tags tags_of(const FieldReader& read, pugi::xml_node parent) {
    Tags tags;
    for (const auto item : parent.child("tagSet").children("item")) {
        tags[read.text(item, "key")] = read.text(item, "value");
    }
    return tags;
}

std::vector<BlockDeviceMapping> mappings_of(FieldReader& read, pugi::xml_node parent) {
    std::vector<BlockDeviceMapping> mappings;
    for (const auto item : parent.child("blockDeviceMapping").children("item")) {
        BlockDeviceMapping mapping;
        mapping.device_name = read.text(item, "deviceName");
        mapping.virtual_name = read.optional_text(item, "virtualName");
        // The element has no content: that it is there is what it says.
        mapping.no_device = static_cast<bool>(item.child("noDevice"));
        const auto ebs = item.child("ebs");
        mapping.snapshot_id = read.optional_text(ebs, "snapshotId");
        mapping.volume_size_gib = read.number(ebs, "volumeSize");
        mapping.volume_type = read.optional_text(ebs, "volumeType");
        mapping.iops = read.number(ebs, "iops");
        mapping.throughput_mibps = read.number(ebs, "throughput");
        mapping.delete_on_termination = read.flag(ebs, "deleteOnTermination");
        mapping.encrypted = read.flag(ebs, "encrypted");
        mappings.push_back(std::move(mapping));
    }
    return mappings;
}

Image image_of(FieldReader& read, pugi::xml_node item) {
    Image image;
    image.id = read.required(item, "imageId");
    image.name = read.text(item, "name");
    image.description = read.text(item, "description");
    image.state = read.text(item, "imageState");
    image.architecture = read.text(item, "architecture");
    image.virtualization_type = read.text(item, "virtualizationType");
    image.root_device_type = read.text(item, "rootDeviceType");
    image.root_device_name = read.text(item, "rootDeviceName");
    image.kernel_id = read.text(item, "kernelId");
    image.ramdisk_id = read.text(item, "ramdiskId");
    image.owner_id = read.text(item, "imageOwnerId");
    image.platform = read.text(item, "platform");
    image.platform_details = read.text(item, "platformDetails");
    image.usage_operation = read.text(item, "usageOperation");
    image.boot_mode = read.text(item, "bootMode");
    image.tpm_support = read.text(item, "tpmSupport");
    image.imds_support = read.text(item, "imdsSupport");
    image.sriov_net_support = read.text(item, "sriovNetSupport");
    image.state_reason = read.text(item.child("stateReason"), "message");
    image.ena_support = read.flag(item, "enaSupport").value_or(false);
    for (const auto code : item.child("productCodes").children("item")) {
        image.product_codes.push_back(read.text(code, "productCode"));
    }
    image.block_devices = mappings_of(read, item);
    image.tags = tags_of(read, item);
    return image;
}

Volume volume_of(FieldReader& read, pugi::xml_node item) {
    Volume volume;
    volume.id = read.required(item, "volumeId");
    volume.state = read.text(item, "status");
    volume.snapshot_id = read.text(item, "snapshotId");
    volume.availability_zone = read.text(item, "availabilityZone");
    volume.size_gib = read.number(item, "size").value_or(0);
    for (const auto entry : item.child("attachmentSet").children("item")) {
        volume.attachments.push_back(
            {.instance_id = read.text(entry, "instanceId"),
             .device = read.text(entry, "device"),
             .state = read.text(entry, "status"),
             .delete_on_termination = read.flag(entry, "deleteOnTermination").value_or(false)});
    }
    volume.tags = tags_of(read, item);
    return volume;
}

Snapshot snapshot_of(FieldReader& read, pugi::xml_node item) {
    Snapshot snapshot;
    snapshot.id = read.required(item, "snapshotId");
    snapshot.state = read.text(item, "status");
    snapshot.state_message = read.text(item, "statusMessage");
    snapshot.progress = read.text(item, "progress");
    snapshot.volume_id = read.text(item, "volumeId");
    snapshot.description = read.text(item, "description");
    snapshot.size_gib = read.number(item, "volumeSize").value_or(0);
    snapshot.encrypted = read.flag(item, "encrypted").value_or(false);
    snapshot.tags = tags_of(read, item);
    return snapshot;
}

Instance instance_of(FieldReader& read, pugi::xml_node item) {
    Instance instance;
    instance.id = read.required(item, "instanceId");
    instance.state = read.text(item.child("instanceState"), "name");
    instance.availability_zone = read.text(item.child("placement"), "availabilityZone");
    instance.instance_type = read.text(item, "instanceType");
    instance.block_devices = mappings_of(read, item);
    instance.tags = tags_of(read, item);
    return instance;
}

template <class T, class ReadItem>
core::Result<Page<T>> parse_page(std::string_view xml, const std::string& action, const char* set,
                                 ReadItem read_item) {
    pugi::xml_document document;
    AMILIFT_TRY(const auto root, parse_reply(xml, action + "Response", document));
    FieldReader read;
    Page<T> page;
    for (const auto item : root.child(set).children("item")) {
        page.items.push_back(read_item(read, item));
    }
    page.next_token = read.text(root, "nextToken");
    AMILIFT_CHECK(read.check(action));
    return page;
}

template <class T, class ReadItem>
core::Result<T> parse_one(std::string_view xml, const std::string& action, ReadItem read_item) {
    pugi::xml_document document;
    AMILIFT_TRY(const auto root, parse_reply(xml, action + "Response", document));
    FieldReader read;
    auto item = read_item(read, root);
    AMILIFT_CHECK(read.check(action));
    return item;
}

}  // namespace

core::Result<Page<Image>> parse_images(std::string_view xml) {
    return parse_page<Image>(xml, "DescribeImages", "imagesSet", image_of);
}

core::Result<Page<Volume>> parse_volumes(std::string_view xml) {
    return parse_page<Volume>(xml, "DescribeVolumes", "volumeSet", volume_of);
}

core::Result<Page<Snapshot>> parse_snapshots(std::string_view xml) {
    return parse_page<Snapshot>(xml, "DescribeSnapshots", "snapshotSet", snapshot_of);
}

core::Result<Page<Instance>> parse_instances(std::string_view xml) {
    pugi::xml_document document;
    AMILIFT_TRY(const auto root, parse_reply(xml, "DescribeInstancesResponse", document));
    FieldReader read;
    Page<Instance> page;
    for (const auto reservation : root.child("reservationSet").children("item")) {
        for (const auto item : reservation.child("instancesSet").children("item")) {
            page.items.push_back(instance_of(read, item));
        }
    }
    page.next_token = read.text(root, "nextToken");
    AMILIFT_CHECK(read.check("DescribeInstances"));
    return page;
}

core::Result<Volume> parse_created_volume(std::string_view xml) {
    return parse_one<Volume>(xml, "CreateVolume", volume_of);
}

core::Result<Snapshot> parse_created_snapshot(std::string_view xml) {
    return parse_one<Snapshot>(xml, "CreateSnapshot", snapshot_of);
}

core::Result<std::string> parse_registered_image(std::string_view xml) {
    return parse_one<std::string>(xml, "RegisterImage", [](FieldReader& read, pugi::xml_node root) {
        return read.required(root, "imageId");
    });
}

core::Result<> parse_acknowledgement(std::string_view xml, const std::string& action) {
    pugi::xml_document document;
    AMILIFT_TRY(const auto root, parse_reply(xml, action + "Response", document));
    FieldReader read;
    const auto answer = read.flag(root, "return");
    AMILIFT_CHECK(read.check(action));
    if (answer.has_value() && !*answer) {
        return core::fail(core::Errc::unavailable,
                          fmt::format("'{}' was answered with false, expected true", action),
                          "look at the resource's state, then try again");
    }
    return {};
}

}  // namespace amilift::aws::ec2
