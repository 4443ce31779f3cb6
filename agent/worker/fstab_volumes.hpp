// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dev/partitions.hpp"
#include "image/facts.hpp"
#include "image/root_disk.hpp"

namespace amilift::worker {

/// What fstab can know about each of them.
[[nodiscard]] std::vector<image::NamedPartition> named_partitions(
    const std::vector<dev::Partition>& partitions);

/// The partition of this disk that fstab means by `spec` when the image calls the disk one of
/// `disk_names`, see image::find_partition(). Null if there is none.
[[nodiscard]] const dev::Partition* find_partition(const std::vector<dev::Partition>& partitions,
                                                   const std::vector<std::string>& disk_names,
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
                                              const dev::Partition& root,
                                              const std::vector<std::string>& disk_names,
                                              std::string_view fstab);

}  // namespace amilift::worker
