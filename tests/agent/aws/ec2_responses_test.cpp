// SPDX-License-Identifier: Apache-2.0
#include "aws/ec2_responses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "tests/agent/aws/golden.hpp"

namespace amilift::aws {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using tests::golden_json;
using tests::golden_text;

template <class T>
ordered_json json_of(const std::optional<T>& value) {
    return value ? ordered_json(*value) : ordered_json();
}

ordered_json json_of(const Tags& tags) {
    auto result = ordered_json::object();
    for (const auto& [key, value] : tags) result[key] = value;
    return result;
}

ordered_json json_of(const std::vector<BlockDeviceMapping>& mappings) {
    auto result = ordered_json::array();
    for (const auto& m : mappings) {
        result.push_back({{"device_name", m.device_name},
                          {"virtual_name", json_of(m.virtual_name)},
                          {"no_device", m.no_device},
                          {"snapshot_id", json_of(m.snapshot_id)},
                          {"volume_size_gib", json_of(m.volume_size_gib)},
                          {"volume_type", json_of(m.volume_type)},
                          {"iops", json_of(m.iops)},
                          {"throughput_mibps", json_of(m.throughput_mibps)},
                          {"delete_on_termination", json_of(m.delete_on_termination)},
                          {"encrypted", json_of(m.encrypted)}});
    }
    return result;
}

ordered_json json_of(const Image& i) {
    return {{"id", i.id},
            {"name", i.name},
            {"description", i.description},
            {"state", i.state},
            {"architecture", i.architecture},
            {"virtualization_type", i.virtualization_type},
            {"root_device_type", i.root_device_type},
            {"root_device_name", i.root_device_name},
            {"kernel_id", i.kernel_id},
            {"ramdisk_id", i.ramdisk_id},
            {"owner_id", i.owner_id},
            {"platform", i.platform},
            {"platform_details", i.platform_details},
            {"usage_operation", i.usage_operation},
            {"boot_mode", i.boot_mode},
            {"tpm_support", i.tpm_support},
            {"imds_support", i.imds_support},
            {"sriov_net_support", i.sriov_net_support},
            {"state_reason", i.state_reason},
            {"ena_support", i.ena_support},
            {"product_codes", i.product_codes},
            {"block_devices", json_of(i.block_devices)},
            {"tags", json_of(i.tags)}};
}

ordered_json json_of(const Volume& v) {
    auto attachments = ordered_json::array();
    for (const auto& a : v.attachments) {
        attachments.push_back({{"instance_id", a.instance_id},
                               {"device", a.device},
                               {"state", a.state},
                               {"delete_on_termination", a.delete_on_termination}});
    }
    return {{"id", v.id},
            {"state", v.state},
            {"snapshot_id", v.snapshot_id},
            {"availability_zone", v.availability_zone},
            {"size_gib", v.size_gib},
            {"attachments", attachments},
            {"tags", json_of(v.tags)}};
}

ordered_json json_of(const Snapshot& s) {
    return {{"id", s.id},
            {"state", s.state},
            {"state_message", s.state_message},
            {"progress", s.progress},
            {"volume_id", s.volume_id},
            {"description", s.description},
            {"size_gib", s.size_gib},
            {"encrypted", s.encrypted},
            {"tags", json_of(s.tags)}};
}

ordered_json json_of(const Instance& i) {
    return {{"id", i.id},
            {"state", i.state},
            {"availability_zone", i.availability_zone},
            {"instance_type", i.instance_type},
            {"block_devices", json_of(i.block_devices)},
            {"tags", json_of(i.tags)}};
}

/// What we read from a reply, in the form of responses.json.
template <class T>
core::Result<ordered_json> read_page(core::Result<ec2::Page<T>> page) {
    if (!page) return std::unexpected(page.error());
    auto value = ordered_json::array();
    for (const auto& item : page->items) value.push_back(json_of(item));
    return ordered_json{{"value", value}, {"next_token", page->next_token}};
}

template <class T>
core::Result<ordered_json> read_one(const core::Result<T>& item) {
    if (!item) return std::unexpected(item.error());
    if constexpr (std::is_same_v<T, std::string>) {
        return ordered_json{{"value", *item}, {"next_token", ""}};
    } else {
        return ordered_json{{"value", json_of(*item)}, {"next_token", ""}};
    }
}

core::Result<ordered_json> read_reply(const std::string& operation, const std::string& xml) {
    if (operation == "DescribeImages") return read_page(ec2::parse_images(xml));
    if (operation == "DescribeVolumes") return read_page(ec2::parse_volumes(xml));
    if (operation == "DescribeSnapshots") return read_page(ec2::parse_snapshots(xml));
    if (operation == "DescribeInstances") return read_page(ec2::parse_instances(xml));
    if (operation == "CreateVolume") return read_one(ec2::parse_created_volume(xml));
    if (operation == "CreateSnapshot") return read_one(ec2::parse_created_snapshot(xml));
    if (operation == "RegisterImage") return read_one(ec2::parse_registered_image(xml));
    return core::fail(core::Errc::internal, "no parser for " + operation);
}

std::string operation_of(const std::string& file) {
    return file.substr(0, file.find('-'));
}

/// All reply files: name -> text.
std::map<std::string, std::string> replies() {
    std::map<std::string, std::string> result;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(tests::kGoldenDirectory) + "responses")) {
        const auto name = entry.path().filename().string();
        result[name] = golden_text("responses/" + name);
    }
    return result;
}

TEST(Ec2Responses, AreReadAsBotocoreReadsThem) {
    const auto golden = golden_json("responses.json");
    const auto files = replies();
    ASSERT_GE(files.size(), 18U);
    for (const auto& [name, xml] : files) {
        SCOPED_TRACE(name);
        ASSERT_TRUE(golden.contains(name)) << "run tests/agent/aws/make_vectors.py";
        const auto ours = read_reply(operation_of(name), xml);
        ASSERT_TRUE(ours) << ours.error().message();
        EXPECT_EQ(ours->dump(1), golden.at(name).dump(1));
    }
    EXPECT_EQ(files.size(), golden.size()) << "a golden value without its reply";
}

TEST(Ec2Responses, TruncationIsNeverTakenForAReply) {
    for (const auto& [name, xml] : replies()) {
        // Only the last newline may be lost.
        const auto step = std::max<std::size_t>(1, xml.size() / 997);
        for (std::size_t size = 0; size + 2 < xml.size(); size += step) {
            const auto ours = read_reply(operation_of(name), xml.substr(0, size));
            ASSERT_FALSE(ours) << name << " cut after " << size << " bytes";
            EXPECT_EQ(ours.error().code, core::Errc::corrupt);
        }
    }
}

TEST(Ec2Responses, DamageNeverCrashes) {
    std::mt19937 random(20261121);  // the same damage in every run
    for (const auto& [name, xml] : replies()) {
        for (int round = 0; round < 300; ++round) {
            auto damaged = xml;
            for (int i = 0; i < 4; ++i) {
                damaged[random() % damaged.size()] = static_cast<char>(random() % 256);
            }
            const auto ours = read_reply(operation_of(name), damaged);
            if (!ours) {
                EXPECT_EQ(ours.error().code, core::Errc::corrupt);
            }
        }
    }
}

TEST(Ec2Responses, ReplyOfAnotherActionIsRefused) {
    const auto volumes = golden_text("responses/DescribeVolumes-attached.xml");
    const auto images = ec2::parse_images(volumes);
    ASSERT_FALSE(images);
    EXPECT_THAT(images.error().what, HasSubstr("'DescribeVolumesResponse', expected "
                                               "'DescribeImagesResponse'"));
}

TEST(Ec2Responses, MissingIdAndBadNumbersAreNamed) {
    const auto without_id = ec2::parse_volumes(
        "<DescribeVolumesResponse><volumeSet><item><size>1</size></item></volumeSet>"
        "</DescribeVolumesResponse>");
    ASSERT_FALSE(without_id);
    EXPECT_EQ(without_id.error().what,
              "reply 'DescribeVolumes': field 'volumeId' of 'item' is 'nothing', expected a value");
    const auto bad_size = ec2::parse_created_volume(
        "<CreateVolumeResponse><volumeId>vol-1</volumeId><size>8 GiB</size>"
        "</CreateVolumeResponse>");
    ASSERT_FALSE(bad_size);
    EXPECT_THAT(bad_size.error().what, HasSubstr("'size' of 'CreateVolumeResponse' is '8 GiB'"));
}

TEST(Ec2Responses, AcknowledgementMustSayYes) {
    EXPECT_TRUE(ec2::parse_acknowledgement(
        "<DeleteVolumeResponse><return>true</return></DeleteVolumeResponse>", "DeleteVolume"));
    EXPECT_TRUE(
        ec2::parse_acknowledgement("<AttachVolumeResponse><status>attaching</status>"
                                   "</AttachVolumeResponse>",
                                   "AttachVolume"));
    const auto no = ec2::parse_acknowledgement(
        "<DeleteVolumeResponse><return>false</return></DeleteVolumeResponse>", "DeleteVolume");
    ASSERT_FALSE(no);
    EXPECT_EQ(no.error().code, core::Errc::unavailable);
    EXPECT_FALSE(ec2::parse_acknowledgement("<html/>", "DeleteVolume"));
    EXPECT_FALSE(ec2::parse_acknowledgement("", "DeleteVolume"));
}

}  // namespace
}  // namespace amilift::aws
