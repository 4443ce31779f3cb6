// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/os_facts.hpp"

namespace amilift::image {

/// The name that a kernel gives to a disk or to one of its partitions.
struct DeviceName {
    std::string disk;   ///< "/dev/xvda", "/dev/nvme0n1"
    int partition = 0;  ///< 0: the whole disk
};

/// "/dev/sda2", "/dev/nvme0n1p2", "/dev/xvde": absent for links and for everything else.
[[nodiscard]] std::optional<DeviceName> parse_device_name(std::string_view spec);

/// The reverse: "/dev/nvme0n1", 2 -> "/dev/nvme0n1p2".
[[nodiscard]] std::string partition_device(std::string_view disk, int partition);

/// A partition of the image's disk, and what fstab can know about it.
struct NamedPartition {
    int number = 0;
    std::string uuid;      ///< of its content
    std::string label;     ///< of its filesystem
    std::string partuuid;  ///< in lower case
    std::string type;      ///< "ext4", "swap"; empty: not known
};

/// The number of the partition that fstab means by `spec`: LABEL=, UUID=, PARTUUID=, a link of
/// /dev/disk/by-*, or the name of a partition of a disk that is called one of `disks`.
[[nodiscard]] std::optional<int> find_partition(std::span<const NamedPartition> partitions,
                                                std::span<const std::string> disks,
                                                std::string_view spec);

struct RootDiskClues {
    std::string_view fstab;          ///< text of /etc/fstab
    std::string_view root_argument;  ///< root= of the entry that boots by default; may be empty
    int root = 0;                    ///< number of the partition that is "/"; 0: not known
    /// The kernel calls the disk /dev/sda of EC2 /dev/xvde: Linux 2.6.32 of RHEL 6 and its kin.
    bool shifts_names = false;
};

[[nodiscard]] bool shifts_disk_names(const OsFacts& os);

/// What the image's own configuration calls the disk that it lies on: {"/dev/xvda"}. That is what
/// "/" and /boot of fstab and root= say. When they name no device, or root= alone names a first
/// disk that fstab does not use, the usual name of a first disk that fstab uses counts, if it is
/// the only one and no other entry speaks against it: a line that would mount a partition twice,
/// one that is not there, or one of another type is a data volume's.
/// Empty: no name is known.
[[nodiscard]] std::vector<std::string> root_disk_names(std::span<const NamedPartition> partitions,
                                                       const RootDiskClues& clues);

}  // namespace amilift::image
