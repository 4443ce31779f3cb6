// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/used_extents.hpp"

namespace amilift::dev {

/// Number of the subvolume that holds all others.
inline constexpr std::uint64_t kBtrfsTopLevel = 5;

/// Subvolumes that are looked at at most: containers and snapshots make many.
inline constexpr std::size_t kMaxBtrfsSubvolumes = 4096;

struct BtrfsSubvolume {
    std::uint64_t id = kBtrfsTopLevel;
    std::string path;  ///< from the top level: "@/.snapshots/1/snapshot"; empty: the top level
    bool is_read_only = false;
    friend bool operator==(const BtrfsSubvolume&, const BtrfsSubvolume&) = default;
};

/// What of a btrfs can be mounted as a tree of its own.
struct BtrfsSubvolumes {
    std::uint64_t default_id = kBtrfsTopLevel;  ///< what a mount without a choice shows
    std::vector<BtrfsSubvolume> all;            ///< the top level first, then by number

    [[nodiscard]] const BtrfsSubvolume* by_id(std::uint64_t id) const;
    /// `path` as fstab and the kernel's command line have it: "@", "/@", "/@/".
    [[nodiscard]] const BtrfsSubvolume* by_path(std::string_view path) const;
    /// What mount options choose (the last of subvol= and subvolid=, else the default); null if
    /// there is no such subvolume.
    [[nodiscard]] const BtrfsSubvolume* by_options(std::string_view options) const;
};

/// `top_level` is an open directory (not O_PATH) of a mount of the top level, `name` the device's,
/// for messages. Subvolumes that cannot be reached by a path of plain names, or are too many, are
/// left out. Needs CAP_SYS_ADMIN. Errors: those of search_btrfs_tree().
[[nodiscard]] core::Result<BtrfsSubvolumes> list_btrfs_subvolumes(const core::Fd& top_level,
                                                                  const std::string& name);

/// The root directory of one of them (O_RDONLY), reached from a mount of the top level without
/// following a link. Errors: not_found.
[[nodiscard]] core::Result<core::Fd> open_btrfs_subvolume(const core::Fd& top_level,
                                                          const BtrfsSubvolume& subvolume);

/// The byte ranges that the extent tree has in use, on the one device of the btrfs: see
/// map_used_extents(). Absent where the trees are not of the form that is known (striped or
/// mirrored chunks, an extent outside of all chunks).
[[nodiscard]] core::Result<std::optional<std::vector<Extent>>> map_btrfs_extents(
    const core::Fd& mounted, std::uint64_t size_bytes, const std::string& name);

/// Grows the btrfs to the whole of its device. `mounted` is an open directory of a writable mount.
[[nodiscard]] core::Result<> grow_btrfs(const core::Fd& mounted, const std::string& name);

}  // namespace amilift::dev
