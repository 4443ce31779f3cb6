// SPDX-License-Identifier: Apache-2.0
#include "worker/mounted_tree.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace amilift::worker {
namespace {

using core::Result;

/// A second descriptor of the mounted root, as image::SafeRoot wants to own one.
Result<image::SafeRoot> open_root(const dev::Mount& mount) {
    core::Fd copy(::fcntl(mount.root().get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) {
        const int saved = errno;
        return core::fail_errno(
            saved, fmt::format("cannot duplicate the descriptor of '{}'", mount.directory()));
    }
    return image::SafeRoot(std::move(copy));
}

/// A mount is always of a loop device, of a disk that is all filesystem, too: ext4 deletes orphaned
/// inodes of a disk that it mounts read-only, unless the device itself takes no writes
/// (ext4_orphan_cleanup() in fs/ext4/orphan.c of the kernel).
Result<dev::LoopDevice> attach(const dev::BlockDevice& disk, const VolumePlace& place,
                               dev::Access access) {
    // A journal is replayed on a source that was opened for reading: that very disk, whatever its
    // name means by now.
    if (access == dev::Access::read_write && disk.access() == dev::Access::read_only) {
        return dev::LoopDevice::attach(disk.self_path(), place.offset_bytes,
                                       place.filesystem.size_bytes, access);
    }
    return dev::LoopDevice::attach(disk, place.offset_bytes, place.filesystem.size_bytes, access);
}

/// A loop device's name says nothing once it is gone.
core::Error with_place(core::Error error, const dev::BlockDevice& disk, const VolumePlace& place) {
    return std::move(error).with_context(
        place.partition == 0 ? disk.path()
                             : fmt::format("partition {} of {}", place.partition, disk.path()));
}

}  // namespace

Result<MountedTree> MountedTree::mount(const dev::BlockDevice& disk, const VolumePlace& root,
                                       dev::Access access) {
    MountedTree tree;
    auto& volume = tree.volumes_.emplace_back();
    AMILIFT_TRY(volume.loop, attach(disk, root, access));
    volume.device = volume.loop->path();
    volume.offset_bytes = root.offset_bytes;
    auto mounted =
        dev::Mount::mount(volume.device, root.filesystem.type, access, root.subvolume_id);
    if (!mounted) return std::unexpected(with_place(std::move(mounted).error(), disk, root));
    volume.mount = *std::move(mounted);
    AMILIFT_TRY(tree.root_, open_root(*volume.mount));
    return tree;
}

Result<MountedTree> MountedTree::mount(const dev::BlockDevice& disk,
                                       const std::vector<VolumePlace>& places, dev::Access access) {
    AMILIFT_TRY(auto tree, mount(disk, places.at(0), access));
    for (std::size_t i = 1; i < places.size(); ++i) {
        AMILIFT_CHECK(tree.add(disk, places[i], access));
    }
    return tree;
}

Result<> MountedTree::add(const dev::BlockDevice& disk, const VolumePlace& place,
                          dev::Access access) {
    Volume volume;
    volume.offset_bytes = place.offset_bytes;
    // Subvolumes are of one filesystem, which the kernel mounts from one device only.
    const auto same = std::ranges::find(volumes_, place.offset_bytes, &Volume::offset_bytes);
    if (same != volumes_.end()) {
        volume.device = same->device;
    } else {
        AMILIFT_TRY(volume.loop, attach(disk, place, access));
        volume.device = volume.loop->path();
    }
    auto mounted =
        dev::Mount::mount_below(*volumes_.front().mount, place.mount_point.substr(1), volume.device,
                                place.filesystem.type, access, place.subvolume_id);
    if (!mounted) return std::unexpected(with_place(std::move(mounted).error(), disk, place));
    volume.mount = *std::move(mounted);
    volumes_.push_back(std::move(volume));
    return {};
}

Result<> MountedTree::unmount() {
    root_.reset();
    while (!volumes_.empty()) {
        auto& volume = volumes_.back();
        if (volume.mount) AMILIFT_CHECK(volume.mount->unmount());
        volume.mount.reset();
        if (volume.loop) AMILIFT_CHECK(volume.loop->detach());
        volumes_.pop_back();
    }
    return {};
}

MountedTree::~MountedTree() {
    root_.reset();
    while (!volumes_.empty()) volumes_.pop_back();
}

}  // namespace amilift::worker
