// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace amilift::image {

/// A subvolume of btrfs that is part of the image's tree.
struct BootSubvolume {
    std::string path;  ///< from the top level of the filesystem: "@/var"; empty: the top level
    std::string mount_point;
};

/// A filesystem of the disk, as a boot loader and fstab name it and as it lies in the image's tree.
struct BootVolume {
    int partition = 0;        ///< from 1 on; 0: the whole disk is the filesystem
    std::string mount_point;  ///< "/" or "/boot"; empty: it is no part of the tree
    std::string uuid;
    std::string label;
    std::vector<BootSubvolume> subvolumes{};  ///< of btrfs only, one for each mount point
    std::string default_subvolume{};          ///< path of what is mounted without a choice
    std::string partition_uuid{};             ///< PARTUUID; empty without a partition table
    /// The module with which GRUB 2 reads the filesystem: "ext2", which is for ext3 and ext4 too.
    /// Empty: not known.
    std::string grub_module{};
};

/// Where the names of a btrfs begin for a boot loader: GRUB 2 sees all subvolumes below the top
/// level, as directories. SUSE's begins at the default subvolume when its configuration says
/// btrfs_relative_path=y. Sources: GRUB 2.06, grub-core/fs/btrfs.c; SUSE's patch to it.
enum class SubvolumeView { top_level, default_subvolume };

/// What names a partition on every instance type.
struct PartitionName {
    int partition = 0;
    std::string spec;  ///< "UUID=..."
};

/// What the BIOS would start, told from the boot sectors.
enum class BootCode {
    none,     ///< no boot sector has code
    unknown,  ///< code that is none of the others
    grub2,
    grub_legacy,
    extlinux
};
[[nodiscard]] std::string_view to_string(BootCode code) noexcept;

/// The disk on which the image's filesystems lie. As it stands here by default: a filesystem
/// without a partition table, which a PV-GRUB kernel boots.
struct BootDisk {
    bool is_gpt = false;
    std::vector<BootVolume> volumes{{.partition = 0, .mount_point = "/", .uuid = {}, .label = {}}};
    std::vector<PartitionName> names{};  ///< swap and FAT included
    /// What the image calls this disk: {"/dev/xvda"}; see root_disk_names().
    std::vector<std::string> device_names{};
    BootCode code = BootCode::none;
    std::string evidence;               ///< "sector 0 and the core image at sector 1"
    bool has_system_partition = false;  ///< an EFI system partition

    [[nodiscard]] bool is_partitioned() const {
        return volumes.size() != 1 || volumes.front().partition != 0;
    }
    /// The volume in which the file at `tree_path` ("/boot/grub/grub.cfg") lies.
    [[nodiscard]] const BootVolume* holder_of(std::string_view tree_path) const;
    [[nodiscard]] const BootVolume* partition(int number) const;
};

/// Where in the image's tree the file is that a loader calls `path` on that volume: "/vmlinuz" on
/// the volume of /boot is "/boot/vmlinuz", "/@/boot/vmlinuz" on a btrfs whose subvolume "@" is the
/// root is it too. Absent if the volume, or that part of it, is no part of the tree.
[[nodiscard]] std::optional<std::string> tree_path(const BootVolume& volume, std::string_view path,
                                                   SubvolumeView view = SubvolumeView::top_level);

/// The reverse: "/boot/vmlinuz" is "/vmlinuz" on the volume of /boot.
[[nodiscard]] std::string path_on_volume(const BootVolume& volume, std::string_view tree_path,
                                         SubvolumeView view = SubvolumeView::top_level);

/// How GRUB 2 names the volume: "hd0,msdos1", "hd0,gpt2", "hd0".
[[nodiscard]] std::string grub2_device(const BootDisk& disk, const BootVolume& volume);

/// The volume that GRUB 2 means by "hd0,msdos1", "(hd0,gpt2)", "hd0,1", "hd0"; null if the disk has
/// no such filesystem. The image's disk is hd0: it is the one that the BIOS starts.
[[nodiscard]] const BootVolume* find_grub2_device(const BootDisk& disk, std::string_view device);

/// The same for GRUB 0.97, which counts partitions from 0: "(hd0,0)". On a disk without a partition
/// table, (hd0) and (hd0,0) are both the filesystem.
[[nodiscard]] const BootVolume* find_grub_legacy_device(const BootDisk& disk,
                                                        std::string_view device);

}  // namespace amilift::image
