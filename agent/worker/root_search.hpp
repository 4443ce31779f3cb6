// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "dev/btrfs.hpp"
#include "dev/partitions.hpp"
#include "image/safe_root.hpp"
#include "worker/mounted_tree.hpp"

namespace amilift::worker {

/// Has the mounted filesystem what a system starts from?
[[nodiscard]] core::Result<bool> looks_like_root(const image::SafeRoot& root);

/// Text of /etc/fstab. Empty when there is none that can be read: the facts say why.
[[nodiscard]] core::Result<std::string> fstab_of(const image::SafeRoot& root);

/// The subvolumes of the btrfs at `place`, which is mounted for that.
[[nodiscard]] core::Result<dev::BtrfsSubvolumes> subvolumes_at(const dev::BlockDevice& disk,
                                                               const VolumePlace& place);

/// The subvolumes that may be the system's root, the likeliest alone where one stands out: the
/// default subvolume, the top level, the one that its own fstab names as "/", the only one that is
/// no read-only snapshot. Several: nothing tells which. None: there is no system on it.
[[nodiscard]] core::Result<std::vector<dev::BtrfsSubvolume>> find_root_subvolumes(
    const dev::BlockDevice& disk, const VolumePlace& place, const dev::BtrfsSubvolumes& subvolumes);

/// `place` with that subvolume of it.
[[nodiscard]] VolumePlace with_subvolume(VolumePlace place, const dev::BtrfsSubvolume& subvolume);

/// Where the filesystem of a partition lies, to be mounted there.
[[nodiscard]] VolumePlace place_of(const dev::Partition& partition, std::string mount_point);

/// The refusal of a btrfs, called `name`, in which nothing tells which of `roots` is the one that
/// boots.
[[nodiscard]] std::unexpected<core::Error> several_roots(
    const std::string& name, const std::vector<dev::BtrfsSubvolume>& roots);

/// Makes the filesystem of a partition one that can be read, by its journal.
using MakeWhole = std::function<core::Result<>(const dev::Partition& partition)>;

struct FoundRoot {
    const dev::Partition* partition = nullptr;  ///< of those that were given
    VolumePlace place;                          ///< mounted as "/"
    /// By partition: of each btrfs that was looked at.
    std::map<int, dev::BtrfsSubvolumes> subvolumes{};
};

/// The partition that holds the system; of several, the one whose fstab says that it lies where it
/// lies. `make_whole` is called for what cannot be read as it is, or has no system on it, while its
/// journal holds more; empty: never. Errors: refused ("no-root-partition", "several-roots",
/// "luks-root" and its like); why a filesystem cannot be read, if there is no other.
[[nodiscard]] core::Result<FoundRoot> find_root(const dev::BlockDevice& disk,
                                                const std::vector<dev::Partition>& partitions,
                                                const MakeWhole& make_whole);

}  // namespace amilift::worker
