// SPDX-License-Identifier: Apache-2.0
#include "image/root_disk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class RootDisk : public testing::Test {
  protected:
    /// /boot, /, swap, and one more filesystem.
    std::vector<NamedPartition> partitions_{
        {.number = 1, .uuid = "11", .label = "boot", .partuuid = "aa-01", .type = "ext4"},
        {.number = 2, .uuid = "22", .label = "root", .partuuid = "aa-02", .type = "ext4"},
        {.number = 3, .uuid = "33", .label = "", .partuuid = "aa-03", .type = "swap"},
        {.number = 5, .uuid = "55", .label = "a/b", .partuuid = "aa-05", .type = "xfs"}};

    [[nodiscard]] std::vector<std::string> names(std::string_view fstab,
                                                 std::string_view root_argument = "",
                                                 bool shifts = false) const {
        return root_disk_names(
            partitions_,
            {.fstab = fstab, .root_argument = root_argument, .root = 2, .shifts_names = shifts});
    }
};

TEST_F(RootDisk, IsCalledWhatTheRootIsCalled) {
    EXPECT_THAT(names("/dev/xvda2 / ext4\n/dev/sda3 none swap\n"), ElementsAre("/dev/xvda"));
    EXPECT_THAT(names("/dev/sdb2 / ext4\n"), ElementsAre("/dev/sdb"));
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/sda1 /boot ext4\n/dev/xvdb1 /d ext4\n"),
                ElementsAre("/dev/sda"));
    EXPECT_THAT(names("/dev/sda2 / ext4\n", "/dev/xvda2"),
                UnorderedElementsAre("/dev/sda", "/dev/xvda"));
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/xvde5 /var xfs\n", "/dev/xvda2"),
                ElementsAre("/dev/xvda"));
    EXPECT_THAT(names("", "/dev/nvme0n1p2"), ElementsAre("/dev/nvme0n1"));
}

TEST_F(RootDisk, IsNotWhereABootOfAnotherDiskIs) {
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/sdf1 /boot ext4\n"), IsEmpty());
}

/// Both were the root disk, and partition 1, which is /boot, was mounted at /data too.
TEST_F(RootDisk, IsNotADiskWhosePartitionIsMountedElsewhere) {
    constexpr std::string_view kLabels = "LABEL=root / ext4\nLABEL=boot /boot ext4\n";
    for (const char* spec : {"/dev/xvde1", "/dev/hda1", "/dev/sda1", "/dev/sda2"}) {
        EXPECT_THAT(names(std::string(kLabels) + spec + " /data ext4\n"), IsEmpty()) << spec;
        EXPECT_THAT(names(std::string(kLabels) + spec + " /data ext4\n", "LABEL=root", true),
                    IsEmpty())
            << spec;
    }
}

TEST_F(RootDisk, IsGuessedFromTheOnlyNameThatFits) {
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/sda3 none swap\n/dev/sdf1 /data ext4\n"),
                ElementsAre("/dev/sda"));
    EXPECT_THAT(names("UUID=22 / ext4\n/dev/xvda5 /srv auto\n/dev/hda1 none swap\n"),
                ElementsAre("/dev/xvda"))
        << "partition 1 is no swap";
    EXPECT_THAT(names("UUID=22 / ext4\n/dev/sda3 none swap\n/dev/xvda5 /srv xfs\n"), IsEmpty())
        << "two that fit";
    EXPECT_THAT(names("UUID=22 / ext4\n/dev/sda3 none swap\n/dev/sda4 /srv xfs\n"), IsEmpty())
        << "there is no partition 4";
    EXPECT_THAT(names("UUID=22 / ext4\n/dev/sda5 /srv ext3\n"), IsEmpty()) << "it is XFS";
    EXPECT_THAT(names("UUID=22 / ext4\n/dev/sda1 /srv ext3\n"), ElementsAre("/dev/sda"));
    EXPECT_THAT(names("UUID=22 / ext4\nUUID=33 none swap\n"), IsEmpty()) << "there is no name";
}

/// An older kernel's name of the same disk stays in fstab.
TEST_F(RootDisk, HasAnotherNameInFstabThanInTheMenu) {
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/xvda3 none swap\n", "/dev/sda2"),
                UnorderedElementsAre("/dev/sda", "/dev/xvda"));
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/xvda1 none swap\n", "/dev/sda2"),
                ElementsAre("/dev/sda"))
        << "partition 1 is no swap";
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/xvda3 none swap\n/dev/hda5 /srv xfs\n", "/dev/sda2"),
                ElementsAre("/dev/sda"))
        << "two that fit";
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/sda3 none swap\n/dev/xvda5 /srv xfs\n", "/dev/sda2"),
                ElementsAre("/dev/sda"))
        << "fstab calls the root disk as the menu does";
    EXPECT_THAT(names("LABEL=root / ext4\n/dev/xvda3 none swap\n", "/dev/sdb2"),
                ElementsAre("/dev/sdb"))
        << "it is no first disk";
}

TEST_F(RootDisk, HasTheShiftedNameOnRhel6Only) {
    constexpr std::string_view kFstab = "UUID=22 / ext4\n/dev/xvde3 none swap\n";
    EXPECT_THAT(names(kFstab), IsEmpty());
    EXPECT_THAT(names(kFstab, "", true), ElementsAre("/dev/xvde"));
    EXPECT_TRUE(shifts_disk_names({.id = "centos", .version = "6.10", .pretty_name = {}}));
    EXPECT_TRUE(shifts_disk_names({.id = "ol", .version = "6", .pretty_name = {}}));
    EXPECT_FALSE(shifts_disk_names({.id = "centos", .version = "7.9", .pretty_name = {}}));
    EXPECT_FALSE(shifts_disk_names({.id = "debian", .version = "6.0.10", .pretty_name = {}}));
}

TEST_F(RootDisk, MayHoldABtrfsThatIsMountedAtSeveralPlaces) {
    partitions_[1].type = "btrfs";
    EXPECT_THAT(names("LABEL=root / btrfs subvol=@\n/dev/sda2 /home btrfs subvol=@home\n"),
                ElementsAre("/dev/sda"));
}

TEST(DeviceName, IsADiskAndAPartition) {
    const auto parts = [](std::string_view spec) {
        const auto found = parse_device_name(spec);
        return found ? found->disk + " " + std::to_string(found->partition) : std::string();
    };
    EXPECT_EQ(parts("/dev/sda2"), "/dev/sda 2");
    EXPECT_EQ(parts("/dev/xvdaa"), "/dev/xvdaa 0");
    EXPECT_EQ(parts("/dev/nvme0n1p15"), "/dev/nvme0n1 15");
    EXPECT_EQ(parts("/dev/nvme0n1"), "/dev/nvme0n1 0");
    for (const char* spec :
         {"/dev/sda0", "/dev/sda1x", "/dev/sd", "/dev/nvme0n1p", "/dev/nvme0", "/dev/nvme0n",
          "/dev/nvme0n12x", "/dev/md0", "LABEL=x", "/dev/xvda1p1", "/dev/sda99999999999"}) {
        EXPECT_EQ(parts(spec), "") << spec;
    }
    EXPECT_EQ(partition_device("/dev/nvme0n1", 2), "/dev/nvme0n1p2");
    EXPECT_EQ(partition_device("/dev/xvda", 2), "/dev/xvda2");
}

TEST_F(RootDisk, HasPartitionsThatFstabNamesInManyWays) {
    const std::vector<std::string> disks{"/dev/sda"};
    const auto number = [&](std::string_view spec) {
        return find_partition(partitions_, disks, spec).value_or(0);
    };
    for (const char* spec :
         {"/dev/sda5", "LABEL=a/b", "label=\"a\\057b\"", "/dev/disk/by-label/a\\x2fb", "UUID=55",
          "PARTUUID=AA-05", "/dev/disk/by-uuid/55", "/dev/disk/by-partuuid/aa-05"}) {
        EXPECT_EQ(number(spec), 5) << spec;
    }
    for (const char* spec : {"/dev/xvda5", "/dev/sda4", "/dev/sda", "LABEL=a\\x2fb",
                             "LABEL=", "UUID=", "tmpfs", "/dev/mapper/x-y"}) {
        EXPECT_EQ(number(spec), 0) << spec;
    }
}

}  // namespace
}  // namespace amilift::image
