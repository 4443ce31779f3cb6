// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/filesystem.hpp"
#include "dev/partition_table.hpp"

namespace amilift::dev {

/// What a partition holds, from its own first bytes; what the table calls it counts for nothing.
enum class PartitionContent {
    empty,              ///< zeros only, as far as was looked
    unknown,            ///< a BIOS boot partition, too: its content has no form of its own
    filesystem,         ///< ext2, ext3, ext4, XFS or btrfs
    broken_filesystem,  ///< a superblock of one of them that contradicts itself
    fat,
    btrfs_member,  ///< of a btrfs on several devices
    swap,
    lvm,
    luks,
    raid  ///< member of a Linux software RAID
};
[[nodiscard]] std::string_view to_string(PartitionContent content) noexcept;

/// One partition of a disk; numbers are those of the kernel: logical ones count from 5.
struct Partition {
    int number = 0;
    std::uint64_t offset_bytes = 0;
    std::uint64_t size_bytes = 0;
    std::string type;     ///< "83" (DOS, hexadecimal) or a GUID in lower case
    std::string uuid;     ///< PARTUUID: "a1b2c3d4-01" or a GUID in lower case
    bool active = false;  ///< DOS status 80, or the GPT attribute "legacy BIOS bootable"
    PartitionContent content = PartitionContent::unknown;
    std::string content_uuid{};   ///< as blkid(8) prints it: of filesystem, FAT and swap
    FilesystemInfo filesystem{};  ///< of content `filesystem`
    std::string problem{};        ///< of content `broken_filesystem`
};

inline constexpr std::string_view kGptEfiSystem = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// Is it an EFI system partition, by its type in a GPT or an MBR?
[[nodiscard]] bool is_efi_system(const Partition& partition);

/// All partitions of a disk with layout mbr or gpt, in order of their place. Logical partitions
/// are followed at most 64 links far; of a GPT whose first copy is damaged the one at the end of
/// the disk is read. Errors: corrupt (no readable table, partitions that overlap or reach behind
/// the end of the disk), refused (id "sector-size": a GPT for sectors of 4096 bytes).
/// Source: block/partitions/{msdos,efi}.c of the kernel; UEFI specification 2.10, 5.3.
[[nodiscard]] core::Result<std::vector<Partition>> read_partitions(const BlockDevice& disk,
                                                                   DiskLayout layout);

/// What the BIOS would start.
enum class BootCodeKind { none, unknown, grub2, grub_legacy, extlinux };
struct BootCodeInfo {
    BootCodeKind kind = BootCodeKind::none;
    std::string evidence;  ///< what was seen where
};

/// Follows the boot sectors as a BIOS does: sector 0, the first sector of the active partition
/// where sector 0 leaves the choice to it, and the first sector of what GRUB loads next.
[[nodiscard]] core::Result<BootCodeInfo> read_boot_code(const BlockDevice& disk,
                                                        const std::vector<Partition>& partitions);

}  // namespace amilift::dev
