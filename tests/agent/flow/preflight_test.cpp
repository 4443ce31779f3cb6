// SPDX-License-Identifier: Apache-2.0
#include "flow/preflight.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace amilift::flow {
namespace {

aws::BlockDeviceMapping ebs(const std::string& name, const std::string& snapshot) {
    aws::BlockDeviceMapping m;
    m.device_name = name;
    m.snapshot_id = snapshot;
    m.volume_size_gib = 8;
    return m;
}

aws::Image pv_image() {
    aws::Image image;
    image.id = "ami-1";
    image.state = "available";
    image.architecture = "x86_64";
    image.virtualization_type = "paravirtual";
    image.root_device_type = "ebs";
    image.root_device_name = "/dev/sda1";
    image.usage_operation = "RunInstances";
    image.block_devices = {ebs("/dev/sda1", "snap-1")};
    return image;
}

job::ConversionOptions for_platform(job::Platform platform) {
    job::ConversionOptions options;
    options.platform = platform;
    return options;
}

TEST(Preflight, TakesAParavirtualEbsImage) {
    EXPECT_TRUE(check_source(pv_image(), {}));
    auto hvm = pv_image();
    hvm.virtualization_type = "hvm";
    EXPECT_TRUE(check_source(hvm, for_platform(job::Platform::nitro)));
    EXPECT_FALSE(check_source(hvm, for_platform(job::Platform::xen)));
}

TEST(Preflight, RefusalsNameTheImageAndHaveAnId) {
    struct Case {
        const char* id;
        void (*spoil)(aws::Image&);
    };
    const Case cases[] = {
        {"ami-not-available", [](aws::Image& i) { i.state = "pending"; }},
        {"instance-store", [](aws::Image& i) { i.root_device_type = "instance-store"; }},
        {"already-hvm", [](aws::Image& i) { i.virtualization_type = "hvm"; }},
        {"windows", [](aws::Image& i) { i.platform = "windows"; }},
        {"architecture", [](aws::Image& i) { i.architecture = "arm64"; }},
        {"product-codes", [](aws::Image& i) { i.product_codes = {"abc123"}; }},
        {"billing-codes", [](aws::Image& i) { i.usage_operation = "RunInstances:0010"; }},
        {"no-root-snapshot", [](aws::Image& i) { i.block_devices.clear(); }},
    };
    for (const auto& c : cases) {
        auto image = pv_image();
        c.spoil(image);
        const auto checked = check_source(image, {});
        ASSERT_FALSE(checked) << c.id;
        EXPECT_TRUE(checked.error().is(core::Errc::refused));
        EXPECT_EQ(checked.error().id, c.id);
        EXPECT_NE(checked.error().what.find("'ami-1'"), std::string::npos);
    }
}

TEST(Preflight, BillingCodesStayWithAVolumeOfTheSnapshotOnly) {
    job::ConversionOptions in_place;
    in_place.layout = job::Layout::in_place;
    auto image = pv_image();
    image.usage_operation = "RunInstances:0010";
    EXPECT_TRUE(check_source(image, in_place));
    const auto copied = check_source(image, {});
    ASSERT_FALSE(copied);
    EXPECT_NE(copied.error().hint.find("layout: in-place"), std::string::npos);
    // No running helper can attach such a volume.
    image.product_codes = {"abc123"};
    EXPECT_EQ(check_source(image, in_place).error().id, "product-codes");
}

TEST(Preflight, AnHvmSourceIsEditedWhereItLies) {
    auto image = pv_image();
    EXPECT_FALSE(converts_in_place(image, {}));
    job::ConversionOptions in_place;
    in_place.layout = job::Layout::in_place;
    EXPECT_TRUE(converts_in_place(image, in_place));

    image.virtualization_type = "hvm";
    auto nitro = for_platform(job::Platform::nitro);
    EXPECT_TRUE(converts_in_place(image, nitro));
    image.usage_operation = "RunInstances:0010";
    EXPECT_TRUE(check_source(image, nitro)) << "its volume keeps the billing codes";
    nitro.size_gib = 8;
    EXPECT_TRUE(check_source(image, nitro));
    nitro.size_gib = 7;
    EXPECT_EQ(check_source(image, nitro).error().id, "size-too-small");
    nitro.size_gib = 0;
    nitro.layout = job::Layout::gpt;
    EXPECT_EQ(check_source(image, nitro).error().id, "layout-of-partitions");
}

TEST(Preflight, TakesAnHvmImageForAParavirtualTarget) {
    auto image = pv_image();
    image.virtualization_type = "hvm";
    job::ConversionOptions options;
    options.virtualization = job::Virtualization::paravirtual;
    EXPECT_TRUE(check_source(image, options));
    image.platform = "windows";
    EXPECT_EQ(check_source(image, options).error().id, "windows");
}

TEST(Preflight, OnlyHvmNeedsMoreRoom) {
    job::ConversionOptions options;
    EXPECT_EQ(target_size_gib(options, 8), 9);
    options.virtualization = job::Virtualization::paravirtual;
    EXPECT_EQ(target_size_gib(options, 8), 8);
}

TEST(Preflight, FindsTheRootUnderItsOtherName) {
    auto image = pv_image();
    image.root_device_name = "/dev/sda";
    ASSERT_NE(root_mapping(image), nullptr);
    EXPECT_EQ(root_mapping(image)->snapshot_id, "snap-1");
}

TEST(Preflight, DeviceNamesClashByTheirLetters) {
    EXPECT_EQ(device_suffix("/dev/sdf"), "f");
    EXPECT_EQ(device_suffix("xvdf"), "f");
    EXPECT_EQ(device_suffix("/dev/xvdf1"), "f");
    EXPECT_EQ(device_suffix("/dev/xvdba"), "ba");
    EXPECT_EQ(device_suffix(""), "");
}

TEST(Preflight, KeepsDataVolumesAndRenamesWhatHvmForbids) {
    auto image = pv_image();
    image.block_devices.push_back(ebs("/dev/sdf1", "snap-2"));
    image.block_devices.push_back(ebs("/dev/sdf", "snap-3"));
    image.block_devices.push_back(ebs("/dev/sda2", "snap-4"));
    aws::BlockDeviceMapping ephemeral;
    ephemeral.device_name = "/dev/sdb";
    ephemeral.virtual_name = "ephemeral0";
    image.block_devices.push_back(ephemeral);
    job::Target target;
    const auto mapped = map_block_devices(image, target, "snap-new", 9);
    ASSERT_TRUE(mapped);
    std::map<std::string, std::string> names;
    for (const auto& m : mapped->mappings) {
        names[m.device_name] = m.snapshot_id.value_or(m.virtual_name.value_or(""));
    }
    EXPECT_EQ(names, (std::map<std::string, std::string>{{"/dev/xvda", "snap-new"},
                                                         {"/dev/sdf", "snap-3"},
                                                         {"/dev/sdb", "ephemeral0"},
                                                         {"/dev/sdc", "snap-2"},
                                                         {"/dev/sdd", "snap-4"}}));
    EXPECT_EQ(mapped->notes.size(), 2U);
    EXPECT_NE(mapped->notes[0].find("/dev/sdf1"), std::string::npos);
}

TEST(Preflight, NeverSendsEncryptionBesideASnapshot) {
    auto image = pv_image();
    auto data = ebs("/dev/sdf", "snap-2");
    data.encrypted = true;
    image.block_devices.push_back(data);
    const auto mapped = map_block_devices(image, {}, "snap-new", 9);
    ASSERT_TRUE(mapped);
    for (const auto& m : mapped->mappings) EXPECT_FALSE(m.encrypted.has_value());
}

TEST(Preflight, TakesFreeAttachNamesOnly) {
    aws::Instance helper;
    helper.id = "i-1";
    for (const auto* name : {"/dev/xvda", "/dev/sdf", "/dev/xvdh"}) {
        helper.block_devices.emplace_back().device_name = name;
    }
    const auto names = free_attach_names(helper, 2, {"/dev/sdg"});
    ASSERT_TRUE(names);
    EXPECT_EQ(*names, (std::vector<std::string>{"/dev/sdi", "/dev/sdj"}));
    for (char c = 'f'; c <= 'p'; ++c) {
        helper.block_devices.emplace_back().device_name = fmt::format("/dev/sd{}", c);
    }
    const auto none = free_attach_names(helper, 1, {});
    ASSERT_FALSE(none);
    EXPECT_TRUE(none.error().is(core::Errc::conflict));
}

}  // namespace
}  // namespace amilift::flow
