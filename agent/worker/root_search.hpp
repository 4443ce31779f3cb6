// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.hpp"
#include "dev/btrfs.hpp"
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

}  // namespace amilift::worker
