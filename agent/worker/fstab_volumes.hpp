// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dev/partitions.hpp"
#include "image/facts.hpp"

namespace amilift::worker {

/// The partition of this disk that fstab means by `spec`: LABEL=, UUID=, PARTUUID=, a link of
/// /dev/disk/by-*, or the name of a partition of the first disk (/dev/sda2, xvda2, hda2, vda2,
/// nvme0n1p2, and xvde2, as Linux 2.6.32 of RHEL 6 calls xvda2). Null if it is none of them.
[[nodiscard]] const dev::Partition* find_partition(const std::vector<dev::Partition>& partitions,
                                                   std::string_view spec);

/// A filesystem that the image has mounted when it looks for what a conversion edits.
struct FstabVolume {
    const dev::Partition* partition = nullptr;
    std::string mount_point;
    std::string options;  ///< of fstab: they choose the subvolume of a btrfs
    int line = 0;
};

struct FstabVolumes {
    std::vector<FstabVolume> volumes;  ///< a mount point comes before those below it
    std::vector<image::Finding> findings;
};

/// What of /etc/fstab lies on this disk and holds what a conversion reads or edits: /boot, /usr,
/// /var, /etc and what is below them; mount points that no link in a path can move. Of a btrfs that
/// is the root, its other subvolumes too. Findings:
/// "boot-partition-missing" and "boot-filesystem" (refusals), "volume-not-on-disk".
[[nodiscard]] FstabVolumes read_fstab_volumes(const std::vector<dev::Partition>& partitions,
                                              const dev::Partition& root, std::string_view fstab);

}  // namespace amilift::worker
