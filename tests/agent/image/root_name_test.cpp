// SPDX-License-Identifier: Apache-2.0
#include "image/root_name.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::image {
namespace {

using testing::ElementsAre;

BootVolume root_volume() {
    BootVolume volume{.partition = 1, .mount_point = "/", .uuid = "0b9f21a2-6D30", .label = "/"};
    volume.partition_uuid = "a1b2c3d4-01";
    return volume;
}

TEST(RootName, ReadsLabelsAndUuidsAsAnInitramfsDoes) {
    const auto volume = root_volume();
    for (const std::string_view right :
         {"LABEL=/", "LABEL=\"/\"", "LABEL=\\x2f", "/dev/disk/by-label/\\x2f", "UUID=0B9F21A2-6d30",
          "UUID='0b9f21a2-6D30'", "/dev/disk/by-uuid/0b9f21a2-6d30", "PARTUUID=A1B2C3D4-01",
          "/dev/disk/by-partuuid/a1b2c3d4-01"}) {
        EXPECT_EQ(names_volume(right, volume), true) << right;
    }
    for (const std::string_view wrong : {"LABEL=gone", "LABEL=", "LABEL=\\x2fa", "UUID=0b9f21a2",
                                         "UUID=", "PARTUUID=a1b2c3d4-02"}) {
        EXPECT_EQ(names_volume(wrong, volume), false) << wrong;
    }
    for (const std::string_view other :
         {"/dev/sda1", "PARTLABEL=root", "PARTUUID=a1b2c3d4-02/PARTNROFF=-1", "zfs:tank", ""}) {
        EXPECT_EQ(names_volume(other, volume), std::nullopt) << other;
    }
}

TEST(RootName, KnowsThatABareFilesystemIsNoPartition) {
    auto volume = root_volume();
    volume.partition = 0;
    volume.partition_uuid = "";
    for (const std::string_view wrong :
         {"PARTUUID=a1b2c3d4-01", "PARTUUID=", "PARTLABEL=root", "PARTUUID=a1/PARTNROFF=1"}) {
        EXPECT_EQ(names_volume(wrong, volume), false) << wrong;
    }
}

TEST(RootName, OfAFilesystemWithoutNamesIsNever) {
    BootVolume volume;
    for (const std::string_view wrong : {"LABEL=/", "LABEL=", "UUID=", "UUID=1-2"}) {
        EXPECT_EQ(names_volume(wrong, volume), false) << wrong;
    }
    EXPECT_EQ(stable_root_name("1-2", "/"), "UUID=1-2");
    EXPECT_EQ(stable_root_name("", "/"), "LABEL=/");
    EXPECT_EQ(stable_root_name("", "a b"), "");
}

TEST(RootName, IsReplacedWhereItIsLostAndTheKernelIsInTheImage) {
    ImageFacts facts;
    facts.disk.volumes = {root_volume(),
                          {.partition = 2, .mount_point = {}, .uuid = "22", .label = "other"}};
    for (const char* root : {"LABEL=gone", "LABEL=/", "LABEL=other", "UUID=9", "LABEL=gone",
                             "LABEL=no-kernel", "/dev/sda1"}) {
        BootEntry entry;
        entry.arguments = std::string("ro root=") + root;
        facts.boot_entries.push_back(entry);
        facts.kernel_of_entry.emplace_back(0);
    }
    facts.kernel_of_entry.at(5).reset();
    EXPECT_THAT(lost_root_names(facts), ElementsAre("LABEL=gone", "UUID=9"));
}

}  // namespace
}  // namespace amilift::image
