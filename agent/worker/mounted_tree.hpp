// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/loop_device.hpp"
#include "dev/mount.hpp"
#include "image/safe_root.hpp"

namespace amilift::worker {

/// Where a filesystem of the image lies on a disk, and in the image's tree.
struct VolumePlace {
    int partition = 0;  ///< from 1 on; 0: no partition table
    std::string mount_point = "/";
    std::uint64_t offset_bytes = 0;
    dev::FilesystemInfo filesystem{};
    std::uint64_t subvolume_id = 0;  ///< of btrfs; 0: the default one
    std::string subvolume{};         ///< its path from the top level
};

/// The image's filesystems of one disk, mounted into one tree: what image::SafeRoot then sees is
/// what the guest sees.
class MountedTree {
  public:
    /// Mounts `root` as "/". Errors: those of LoopDevice::attach() and Mount::mount().
    [[nodiscard]] static core::Result<MountedTree> mount(const dev::BlockDevice& disk,
                                                         const VolumePlace& root,
                                                         dev::Access access);
    /// Mounts all of `places`; the first is the root, and a mount point comes before those below.
    [[nodiscard]] static core::Result<MountedTree> mount(const dev::BlockDevice& disk,
                                                         const std::vector<VolumePlace>& places,
                                                         dev::Access access);
    /// Mounts another filesystem below. Errors: those of mount() and of Mount::mount_below().
    [[nodiscard]] core::Result<> add(const dev::BlockDevice& disk, const VolumePlace& place,
                                     dev::Access access);

    /// Must not be called after unmount().
    [[nodiscard]] const image::SafeRoot& root() const { return *root_; }
    /// The mounts, in the order of the places.
    [[nodiscard]] std::size_t size() const { return volumes_.size(); }
    [[nodiscard]] const dev::Mount& mount_at(std::size_t index) const {
        return *volumes_.at(index).mount;
    }
    /// The loop device of that filesystem; null for all but the first of several subvolumes: they
    /// share one.
    [[nodiscard]] const dev::LoopDevice* loop_at(std::size_t index) const {
        const auto& loop = volumes_.at(index).loop;
        return loop ? &*loop : nullptr;
    }

    /// Unmounts and detaches all of it, and says so when that fails.
    [[nodiscard]] core::Result<> unmount();

    MountedTree(MountedTree&&) noexcept = default;
    MountedTree& operator=(MountedTree&&) = delete;
    MountedTree(const MountedTree&) = delete;
    MountedTree& operator=(const MountedTree&) = delete;
    ~MountedTree();

  private:
    // Destroyed in reverse: a root's descriptor would keep the mount busy, the mount the loop.
    struct Volume {
        std::uint64_t offset_bytes = 0;
        std::string device;
        std::optional<dev::LoopDevice> loop;
        std::optional<dev::Mount> mount;
    };
    MountedTree() = default;
    std::vector<Volume> volumes_;
    std::optional<image::SafeRoot> root_;
};

}  // namespace amilift::worker
