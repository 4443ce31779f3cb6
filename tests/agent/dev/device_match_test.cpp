// SPDX-License-Identifier: Apache-2.0
#include "dev/device_match.hpp"

#include <gtest/gtest.h>

#include "dev/block_device.hpp"

namespace amilift::dev {
namespace {

constexpr const char* kVolume = "vol-0123456789abcdef0";
constexpr const char* kSerial = "vol0123456789abcdef0";

DeviceFacts nvme(const std::string& name, const std::string& serial) {
    return {.sysname = name,
            .node = "/dev/" + name,
            .devtype = "disk",
            .serial = serial,
            .initialized = true,
            .size_sectors = 2048};
}

DeviceFacts xen(const std::string& name) {
    return nvme(name, "");
}

TEST(XenName, TranslatesWhatEc2Accepts) {
    EXPECT_EQ(xen_name("/dev/sdf"), "xvdf");
    EXPECT_EQ(xen_name("/dev/xvdf"), "xvdf");
    EXPECT_EQ(xen_name("xvdba"), "xvdba");
    EXPECT_EQ(xen_name("/dev/sda1"), "xvda1");
    EXPECT_EQ(xen_name("sdf15"), "xvdf15");
}

TEST(XenName, KnowsNoOtherNames) {
    for (const char* name : {"", "/dev/", "/dev/sd", "/dev/nvme1n1", "/dev/hda", "/dev/sdF",
                             "/dev/sdf/../x", "/dev/sdfgh", "/dev/sdf123", "/dev/sdf1a", "sd1"}) {
        EXPECT_EQ(xen_name(name), std::nullopt) << name;
    }
}

TEST(DeviceOfVolume, NvmeIsKnownBySerial) {
    EXPECT_TRUE(is_device_of_volume(nvme("nvme1n1", kSerial), kVolume, "/dev/sdf"));
    EXPECT_FALSE(is_device_of_volume(nvme("nvme1n1", "vol0123456789abcdef1"), kVolume, "/dev/sdf"));
    EXPECT_FALSE(is_device_of_volume(nvme("nvme1n1", ""), kVolume, "/dev/sdf"));
    EXPECT_FALSE(is_device_of_volume(nvme("nvme1n1", ""), "", "/dev/sdf"));
}

TEST(DeviceOfVolume, PartitionsNeverMatch) {
    auto partition = nvme("nvme1n1p1", kSerial);
    partition.devtype = "partition";
    EXPECT_FALSE(is_device_of_volume(partition, kVolume, "/dev/sdf"));
    auto part = xen("xvdf1");
    part.devtype = "partition";
    EXPECT_FALSE(is_device_of_volume(part, kVolume, "/dev/sdf1"));
}

TEST(DeviceOfVolume, XenIsKnownByRequestedName) {
    EXPECT_TRUE(is_device_of_volume(xen("xvdf"), kVolume, "/dev/sdf"));
    EXPECT_TRUE(is_device_of_volume(xen("xvdf"), kVolume, "/dev/xvdf"));
    EXPECT_FALSE(is_device_of_volume(xen("xvdg"), kVolume, "/dev/sdf"));
    // A PV root attached as /dev/sda1 is a whole disk of that name.
    EXPECT_TRUE(is_device_of_volume(xen("xvda1"), kVolume, "/dev/sda1"));
    EXPECT_FALSE(is_device_of_volume(xen("xvdf"), kVolume, ""));
    // The letters that Enterprise Linux 6 would use are not guessed.
    EXPECT_FALSE(is_device_of_volume(xen("xvdj"), kVolume, "/dev/sdf"));
}

TEST(DeviceOfVolume, NvmeIsNeverKnownByName) {
    EXPECT_FALSE(is_device_of_volume(nvme("nvme1n1", "vol0f"), kVolume, "/dev/nvme1n1"));
}

TEST(DeviceUsable, NeedsUdevANodeAndASize) {
    EXPECT_TRUE(is_usable(nvme("nvme1n1", kSerial)));
    auto early = nvme("nvme1n1", kSerial);
    early.initialized = false;
    EXPECT_FALSE(is_usable(early));
    auto empty = nvme("nvme1n1", kSerial);
    empty.size_sectors = 0;
    EXPECT_FALSE(is_usable(empty));
    auto hidden = nvme("nvme1c1n1", kSerial);
    hidden.node.clear();
    EXPECT_FALSE(is_usable(hidden));
}

TEST(SerialIsVolume, IgnoresTheDash) {
    EXPECT_TRUE(serial_is_volume(kSerial, kVolume));
    EXPECT_TRUE(serial_is_volume(kVolume, kVolume));
    EXPECT_FALSE(serial_is_volume("", kVolume));
    EXPECT_FALSE(serial_is_volume("", ""));
    EXPECT_FALSE(serial_is_volume("vol0123", kVolume));
}

}  // namespace
}  // namespace amilift::dev
