// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/btrfs.hpp"
#include "dev/loop_device.hpp"
#include "dev/mount.hpp"
#include "dev/partition_table.hpp"
#include "dev/partitions.hpp"
#include "dev/used_extents.hpp"
#include "image/boot_disk.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"
#include "worker/conversion.hpp"
#include "worker/fstab_volumes.hpp"
#include "worker/mounted_tree.hpp"

namespace amilift::worker {

/// Whether a filesystem that was not unmounted may be made clean where it lies: never of what a
/// user has given.
enum class JournalReplay { never, allowed };

/// Where a conversion writes: to each filesystem of the source, what it adds to that of /boot; or
/// all of it to the root, which takes /boot in.
enum class RoomIn { each_filesystem, root };

/// The source: open, known to be a root disk that can be read as it is, mounted read-only. A block
/// device is claimed: nobody else can mount it or a partition of it.
class SourceImage {
  public:
    /// Errors: see convert(). `before_replay` is called before a journal is replayed, or e2fsck
    /// mends a filesystem that has none, which writes to the disk; its error is returned. May be
    /// empty. `observer` hears at once what e2fsck has mended, whatever comes of the rest. It and
    /// `commands` must outlive the call only.
    [[nodiscard]] static core::Result<SourceImage> open(
        const DiskRef& ref, core::CommandRunner& commands, ConversionObserver& observer,
        JournalReplay replay, std::function<core::Result<>()> before_replay = {});

    [[nodiscard]] const dev::BlockDevice& disk() const { return disk_; }
    /// Where programs of the helper find the disk: its path, or a read-only loop device over all of
    /// it where that leads nowhere. Up to unmount().
    [[nodiscard]] const std::string& path_for_programs() const {
        return whole_disk_ ? whole_disk_->path() : disk_.path();
    }
    [[nodiscard]] const dev::DiskContents& contents() const { return contents_; }
    /// The root filesystem.
    [[nodiscard]] const dev::FilesystemInfo& filesystem() const {
        return places_.front().filesystem;
    }
    /// What is mounted, the root first.
    [[nodiscard]] const std::vector<VolumePlace>& places() const { return places_; }
    /// Of a disk with a partition table, else empty.
    [[nodiscard]] const std::vector<dev::Partition>& partitions() const { return partitions_; }
    [[nodiscard]] const image::BootDisk& boot_disk() const { return boot_disk_; }
    /// What the disk and its partitions tell, refusals included.
    [[nodiscard]] const std::vector<image::Finding>& findings() const { return findings_; }
    /// What has been mended: told already.
    [[nodiscard]] const std::vector<image::Finding>& repairs() const { return repairs_; }
    /// Must not be called after unmount().
    [[nodiscard]] const image::SafeRoot& root() const { return tree_->root(); }
    /// Refusal "btrfs-other-subvolume" when a kernel with these rootflags= mounts another subvolume
    /// as its root than the one that is mounted here.
    [[nodiscard]] std::optional<image::Finding> other_root(std::string_view root_flags) const;
    /// What a copy must read: of the filesystem, or of the whole disk if it has partitions.
    [[nodiscard]] core::Result<dev::ExtentMap> used_extents() const;

    /// Errc::refused (id "filesystem-full") when the filesystem has no room for the few files that
    /// a conversion adds and replaces, and for `files` of `bytes` besides.
    [[nodiscard]] core::Result<> require_room(std::uint64_t bytes, std::uint64_t files,
                                              RoomIn where) const;

    /// Errc::refused when the root filesystem alone would not be the whole system: fstab mounts
    /// another filesystem of the disk than /boot and the EFI system partition (id
    /// "other-filesystem"), or the root has files in /boot below the mount of that (id
    /// "hidden-boot-files"). `fstab` is the text of /etc/fstab.
    [[nodiscard]] core::Result<> require_one_filesystem(std::string_view fstab) const;

    /// Nothing of the source is mounted while it is copied.
    [[nodiscard]] core::Result<> unmount();
    /// Lets somebody else claim the disk: who edits it where it lies.
    void release_claim() { claim_.reset(); }

  private:
    explicit SourceImage(dev::BlockDevice disk) : disk_(std::move(disk)) {}
    core::Result<> look_at_disk();
    core::Result<> give_path();
    core::Result<> look_at_filesystem(JournalReplay replay);
    core::Result<> mount_partitions(JournalReplay replay);
    core::Result<> look_below_boot(const image::SafeRoot& root);
    core::Result<> take_volumes(const std::vector<dev::Partition>& partitions,
                                const dev::Partition& root, VolumePlace root_place,
                                JournalReplay replay);
    core::Result<> mount_volumes(MountedTree& tree, const std::vector<FstabVolume>& volumes,
                                 JournalReplay replay);
    core::Result<std::optional<VolumePlace>> volume_place(const FstabVolume& volume,
                                                          JournalReplay replay);
    void require_writable(const VolumePlace& place);
    [[nodiscard]] image::BootVolume boot_volume_of(const dev::Partition& partition) const;
    void describe_boot_disk(const dev::BootCodeInfo& code);
    core::Result<> prepare(VolumePlace& place, JournalReplay replay);
    core::Result<> replay_journal(VolumePlace& place) const;
    core::Result<> check(VolumePlace& place, const std::string& name);
    [[nodiscard]] std::size_t boot_place() const;
    core::Result<dev::ExtentMap> used_of_disk() const;
    core::Result<dev::ExtentMap> used_of(const dev::Partition& partition) const;

    dev::BlockDevice disk_;
    core::Fd claim_;
    std::optional<dev::LoopDevice> whole_disk_;
    dev::DiskContents contents_;
    std::vector<dev::Partition> partitions_;
    std::vector<VolumePlace> places_;
    std::map<int, dev::BtrfsSubvolumes> subvolumes_;  ///< by partition
    image::BootDisk boot_disk_;
    std::vector<image::Finding> findings_;
    std::vector<image::Finding> repairs_;
    std::optional<MountedTree> tree_;
    std::function<core::Result<>()> before_replay_;
    core::CommandRunner* commands_ = nullptr;  ///< while it is opened
    ConversionObserver* observer_ = nullptr;   ///< while it is opened
    /// A file of the root filesystem that the mount of /boot hides; empty: there is none.
    std::string hidden_in_boot_;
};

}  // namespace amilift::worker
