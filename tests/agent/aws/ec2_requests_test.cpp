// SPDX-License-Identifier: Apache-2.0
#include "aws/ec2_requests.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "tests/agent/aws/golden.hpp"

namespace amilift::aws {
namespace {

using tests::golden_json;

const std::string kAwkward = "a b+c&d=e/f?g:h%20~*'()\"<>é日本\t.";

QueryForm paged(QueryForm form, const std::string& next_token = {}) {
    ec2::add_page(form, false, next_token);
    return form;
}

RegisterImageRequest full_image() {
    RegisterImageRequest r;
    r.name = "web (2011) [hvm] ./-'@_";
    r.description = "HVM conversion of ami-1";
    r.architecture = "x86_64";
    r.root_device_name = "/dev/xvda";
    r.ena_support = true;
    r.boot_mode = "uefi";
    r.tpm_support = "v2.0";
    r.imds_support = "v2.0";
    r.sriov_net_support = "simple";
    r.tags = {{"Name", "web"}, {"amilift:job", "web-2011"}};
    BlockDeviceMapping root;
    root.device_name = "/dev/xvda";
    root.snapshot_id = "snap-1";
    root.volume_size_gib = 11;
    root.volume_type = "gp3";
    root.iops = 3000;
    root.throughput_mibps = 125;
    root.delete_on_termination = true;
    root.encrypted = true;  // decided by the snapshot: must not be sent
    BlockDeviceMapping ephemeral;
    ephemeral.device_name = "/dev/sdb";
    ephemeral.virtual_name = "ephemeral0";
    BlockDeviceMapping none;
    none.device_name = "/dev/sdc";
    none.no_device = true;
    BlockDeviceMapping blank;
    blank.device_name = "/dev/sdd";
    blank.volume_size_gib = 100;
    blank.delete_on_termination = false;
    blank.encrypted = true;
    r.block_devices = {root, ephemeral, none, blank};
    return r;
}

/// The same calls as REQUESTS in make_vectors.py.
std::map<std::string, QueryForm> our_requests() {
    CreateVolumeRequest minimal_volume;
    minimal_volume.availability_zone = "eu-west-1a";
    minimal_volume.size_gib = 11;
    CreateVolumeRequest full_volume = minimal_volume;
    full_volume.snapshot_id = "snap-0123456789abcdef0";
    full_volume.encrypted = true;
    full_volume.kms_key_id = "alias/amilift key";
    full_volume.client_token = "web-2011-target-1";
    full_volume.tags = {{"amilift:job", "web-2011"}, {"note", kAwkward}};
    RegisterImageRequest minimal_image;
    minimal_image.name = "web-hvm";
    minimal_image.architecture = "x86_64";
    minimal_image.root_device_name = "/dev/xvda";
    RegisterImageRequest paravirtual_image;
    paravirtual_image.name = "web-pv";
    paravirtual_image.architecture = "i386";
    paravirtual_image.virtualization_type = "paravirtual";
    paravirtual_image.root_device_name = "/dev/sda1";
    paravirtual_image.kernel_id = "aki-8f9dcae6";
    auto& root = paravirtual_image.block_devices.emplace_back();
    root.device_name = "/dev/sda1";
    root.snapshot_id = "snap-1";
    return {
        {"describe_images_by_id",
         ec2::describe_images({"ami-11111111", "ami-0123456789abcdef0"}, {}, {})},
        {"describe_images_by_owner_and_filter",
         paged(ec2::describe_images(
             {}, {"self", "123456789012"},
             {{"name", {"web-2011*", kAwkward}}, {"tag:amilift:job", {"web-2011"}}}))},
        {"describe_images_of_pv_grub",
         paged(ec2::describe_images({}, {"amazon"},
                                    {{"image-type", {"kernel"}}, {"name", {"pv-grub-hd0_*"}}}))},
        {"describe_volumes_by_filter_second_page",
         paged(ec2::describe_volumes({}, {{"tag:amilift:job", {"web-2011"}}}), "AAMA/+==")},
        {"describe_volumes_by_id", ec2::describe_volumes({"vol-1", "vol-2", "vol-3"}, {})},
        {"describe_snapshots_by_id", ec2::describe_snapshots({"snap-1"}, {})},
        {"describe_snapshots_by_filter",
         paged(ec2::describe_snapshots({}, {{"status", {"pending", "completed"}}}))},
        {"describe_instances_by_id", ec2::describe_instances({"i-0123456789abcdef0"}, {})},
        {"describe_instances_by_filter",
         paged(ec2::describe_instances({}, {{"instance-state-name", {"running"}}}))},
        {"create_volume_minimal", ec2::create_volume(minimal_volume)},
        {"create_volume_full", ec2::create_volume(full_volume)},
        {"attach_volume", ec2::attach_volume("vol-1", "i-1", "/dev/sdf")},
        {"detach_volume", ec2::detach_volume("vol-1", "i-1", Detach::orderly)},
        {"detach_volume_forced", ec2::detach_volume("vol-1", "i-1", Detach::forced)},
        {"delete_volume", ec2::delete_volume("vol-1")},
        {"delete_volume_on_termination", ec2::delete_volume_on_termination("i-1", "/dev/sdf")},
        {"create_snapshot_minimal",
         ec2::create_snapshot({.volume_id = "vol-1", .description = "", .tags = {}})},
        {"create_snapshot_full", ec2::create_snapshot({.volume_id = "vol-1",
                                                       .description = kAwkward,
                                                       .tags = {{"amilift:job", "web-2011"}}})},
        {"delete_snapshot", ec2::delete_snapshot("snap-1")},
        {"register_image_minimal", ec2::register_image(minimal_image)},
        {"register_image_full", ec2::register_image(full_image())},
        {"register_image_paravirtual", ec2::register_image(paravirtual_image)},
        {"deregister_image", ec2::deregister_image("ami-1")},
        {"create_tags",
         ec2::create_tags({"vol-1", "snap-1"},
                          {{"amilift:state", "copying"}, {"empty", ""}, {"note", kAwkward}})},
        {"terminate_instance", ec2::terminate_instance("i-1")},
        {"stop_instance", ec2::stop_instance("i-1")},
    };
}

std::map<std::string, std::string> as_map(const QueryForm& form) {
    std::map<std::string, std::string> result;
    for (const auto& [name, value] : form.parameters()) {
        EXPECT_TRUE(result.try_emplace(name, value).second) << "sent twice: " << name;
    }
    return result;
}

TEST(Ec2Requests, AreWhatBotocoreSends) {
    const auto golden = golden_json("requests.json");
    const auto ours = our_requests();
    for (const auto& [name, parameters] : golden.items()) {
        SCOPED_TRACE(name);
        const auto it = ours.find(name);
        ASSERT_NE(it, ours.end()) << "a golden request that no test builds";
        EXPECT_EQ(as_map(it->second), (parameters.get<std::map<std::string, std::string>>()));
    }
    EXPECT_EQ(ours.size(), golden.size()) << "a request without a golden one";
}

TEST(Ec2Requests, PagingIsNotAskedForByIds) {
    auto form = ec2::describe_volumes({"vol-1"}, {});
    ec2::add_page(form, true, "");
    EXPECT_EQ(as_map(form).count("MaxResults"), 0U);
}

}  // namespace
}  // namespace amilift::aws
