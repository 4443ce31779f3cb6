// SPDX-License-Identifier: Apache-2.0
#include "dev/filesystem.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "dev/byte_order.hpp"
#include "dev/xfs_log.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kExtSuperAt = 1024;
constexpr std::size_t kExtSuperBytes = 1024;
constexpr std::uint16_t kExtMagic = 0xef53;
constexpr std::uint16_t kExtStateValid = 0x1;
constexpr std::uint16_t kExtStateError = 0x2;
constexpr std::uint32_t kCompatHasJournal = 0x4;
constexpr std::uint32_t kIncompatRecover = 0x4;
constexpr std::uint32_t kIncompatJournalDevice = 0x8;
constexpr std::uint32_t kIncompat64Bit = 0x80;
constexpr std::uint32_t kRoCompatBigalloc = 0x200;
// What the ext3 driver knew; anything else makes it ext4, as blkid(8) decides too.
constexpr std::uint32_t kExt3Incompat = 0x2 | 0x4 | 0x10;  // filetype, recover, meta_bg
constexpr std::uint32_t kExt3RoCompat = 0x1 | 0x2 | 0x4;   // sparse_super, large_file, btree_dir

constexpr std::size_t kXfsSuperBytes = 512;
constexpr std::uint32_t kXfsMagic = 0x58465342;  // "XFSB"

constexpr std::size_t kBtrfsSuperAt = 64U << 10;
constexpr std::size_t kBtrfsSuperBytes = 4096;
constexpr std::uint64_t kBtrfsMagic = 0x4d5f53665248425f;  // "_BHRfS_M"
constexpr std::size_t kBtrfsDeviceAt = 0xc9;               // this device's own record

std::string uuid_text(std::span<const std::byte> bytes) {
    std::string text;
    for (std::size_t i = 0; i < 16; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
    }
    return text;
}

std::string label_text(std::span<const std::byte> bytes) {
    std::string text;
    for (const auto b : bytes) {
        if (b == std::byte{0}) break;
        text += static_cast<char>(std::to_integer<unsigned char>(b));
    }
    return text;
}

std::unexpected<core::Error> bad(const std::string& name, std::string_view what, std::uint64_t seen,
                                 std::string_view expected) {
    return fail(
        Errc::corrupt,
        fmt::format("superblock on '{}' says {} is {}, expected {}", name, what, seen, expected),
        "the image is damaged or cut short: repair it with fsck, or copy it again");
}

Result<> check_ext_geometry(std::span<const std::byte> super, const FilesystemInfo& info,
                            std::uint64_t blocks, const std::string& name) {
    const auto first_block = load_le<std::uint32_t>(super, 20);
    const auto group_blocks = load_le<std::uint32_t>(super, 32);
    const auto group_inodes = load_le<std::uint32_t>(super, 40);
    const auto revision = load_le<std::uint32_t>(super, 76);
    const auto inode_bytes = load_le<std::uint16_t>(super, 88);
    const auto descriptor_bytes = load_le<std::uint16_t>(super, 254);
    const std::uint32_t bits = info.block_bytes * 8;  // of one bitmap block
    const bool bigalloc = (info.feature_ro_compat & kRoCompatBigalloc) != 0;

    if (first_block > 1 || first_block >= blocks) {
        return bad(name, "its first data block", first_block, "0 or 1, and less than the size");
    }
    // mke2fs(8) makes groups of at least 256 blocks. Tiny groups on a big disk would only serve to
    // make whoever reads their descriptors allocate gigabytes.
    if (group_blocks < 256 || group_blocks % 8 != 0 || (!bigalloc && group_blocks > bits)) {
        return bad(name, "the number of blocks per group", group_blocks,
                   fmt::format("a multiple of 8 from 256 to {}", bits));
    }
    if (group_inodes == 0 || group_inodes > bits) {
        return bad(name, "the number of inodes per group", group_inodes,
                   fmt::format("1 to {}", bits));
    }
    if (revision > 0 && (!std::has_single_bit(inode_bytes) || inode_bytes < 128 ||
                         inode_bytes > info.block_bytes)) {
        return bad(name, "the size of an inode", inode_bytes,
                   fmt::format("a power of two from 128 to {}", info.block_bytes));
    }
    if ((info.feature_incompat & kIncompat64Bit) != 0 &&
        (!std::has_single_bit(descriptor_bytes) || descriptor_bytes < 64 ||
         descriptor_bytes > 1024)) {
        return bad(name, "the size of a group descriptor", descriptor_bytes,
                   "a power of two from 64 to 1024");
    }
    const auto groups = (blocks - first_block + group_blocks - 1) / group_blocks;
    const auto inodes = load_le<std::uint32_t>(super, 0);
    if (groups * group_inodes != inodes) {
        return bad(
            name, "the number of inodes", inodes,
            fmt::format("{} ({} groups of {})", groups * group_inodes, groups, group_inodes));
    }
    return {};
}

Result<FilesystemInfo> parse_ext(std::span<const std::byte> super, std::uint64_t device_bytes,
                                 const std::string& name) {
    FilesystemInfo info;
    info.feature_compat = load_le<std::uint32_t>(super, 92);
    info.feature_incompat = load_le<std::uint32_t>(super, 96);
    info.feature_ro_compat = load_le<std::uint32_t>(super, 100);
    // A journal device has this superblock and no files; a backup superblock (its group number is
    // not 0) is the inside of a filesystem that starts elsewhere.
    if ((info.feature_incompat & kIncompatJournalDevice) != 0 ||
        load_le<std::uint16_t>(super, 90) != 0) {
        info = {};
        info.type = Filesystem::unknown;
        return info;
    }
    const auto log_block = load_le<std::uint32_t>(super, 24);
    if (log_block > 6) {
        return bad(name, "the block size exponent", log_block, "0 to 6 (1 KiB to 64 KiB)");
    }
    info.block_bytes = 1024U << log_block;
    std::uint64_t blocks = load_le<std::uint32_t>(super, 4);
    if ((info.feature_incompat & kIncompat64Bit) != 0) {
        blocks |= std::uint64_t{load_le<std::uint32_t>(super, 0x150)} << 32U;
    }
    if (blocks == 0 || blocks > device_bytes / info.block_bytes) {
        return bad(
            name, fmt::format("its size in blocks of {} bytes", info.block_bytes), blocks,
            fmt::format("1 to {}, what the device has room for", device_bytes / info.block_bytes));
    }
    AMILIFT_CHECK(check_ext_geometry(super, info, blocks, name));

    info.size_bytes = blocks * info.block_bytes;
    info.uuid = uuid_text(super.subspan(104, 16));
    info.label = label_text(super.subspan(120, 16));
    const auto state = load_le<std::uint16_t>(super, 58);
    info.needs_recovery = (info.feature_incompat & kIncompatRecover) != 0;
    info.has_errors = (state & kExtStateError) != 0;
    info.clean = (state & kExtStateValid) != 0 && !info.needs_recovery && !info.has_errors;
    if ((info.feature_incompat & ~kExt3Incompat) != 0 ||
        (info.feature_ro_compat & ~kExt3RoCompat) != 0) {
        info.type = Filesystem::ext4;
    } else if ((info.feature_compat & kCompatHasJournal) != 0) {
        info.type = Filesystem::ext3;
    } else {
        info.type = Filesystem::ext2;
    }
    return info;
}

Result<FilesystemInfo> parse_xfs(std::span<const std::byte> super, std::uint64_t device_bytes,
                                 const std::string& name, XfsShape* shape) {
    FilesystemInfo info;
    info.type = Filesystem::xfs;
    info.block_bytes = load_be<std::uint32_t>(super, 4);
    const auto block_log = load_be<std::uint8_t>(super, 120);
    if (block_log < 9 || block_log > 16 || info.block_bytes != 1U << block_log) {
        return bad(name, "the block size", info.block_bytes,
                   "a power of two from 512 to 65536 that agrees with its own logarithm");
    }
    const auto blocks = load_be<std::uint64_t>(super, 8);
    if (blocks == 0 || blocks > device_bytes / info.block_bytes) {
        return bad(
            name, fmt::format("its size in blocks of {} bytes", info.block_bytes), blocks,
            fmt::format("1 to {}, what the device has room for", device_bytes / info.block_bytes));
    }
    const std::uint64_t group_blocks = load_be<std::uint32_t>(super, 84);
    const std::uint64_t groups = load_be<std::uint32_t>(super, 88);
    if (group_blocks == 0 || groups == 0 || blocks > groups * group_blocks ||
        blocks <= (groups - 1) * group_blocks) {
        return bad(
            name, "its size in blocks", blocks,
            fmt::format("what {} allocation groups of {} blocks hold", groups, group_blocks));
    }
    if (const auto in_progress = load_be<std::uint8_t>(super, 126); in_progress != 0) {
        return bad(name, "mkfs in progress", in_progress, "0, a finished filesystem");
    }
    info.size_bytes = blocks * info.block_bytes;
    info.uuid = uuid_text(super.subspan(32, 16));
    info.label = label_text(super.subspan(108, 12));

    const auto log_start = load_be<std::uint64_t>(super, 48);
    const std::uint64_t log_blocks = load_be<std::uint32_t>(super, 96);
    XfsShape found{.groups = groups, .group_bytes = group_blocks * info.block_bytes};
    if (log_start != 0) {
        const auto group_log = load_be<std::uint8_t>(super, 124);
        if (group_log >= 32 || group_blocks > std::uint64_t{1} << group_log) {
            return bad(name, "the allocation group size exponent", group_log,
                       fmt::format("the logarithm of {}", group_blocks));
        }
        const auto group = log_start >> group_log;
        const auto in_group = log_start & ((std::uint64_t{1} << group_log) - 1);
        const auto first = group * group_blocks + in_group;
        if (group >= groups || in_group >= group_blocks || log_blocks == 0 ||
            log_blocks > group_blocks || first > blocks || log_blocks > blocks - first) {
            return bad(name, "the first block of the log", log_start,
                       fmt::format("one that has room for {} blocks in one group", log_blocks));
        }
        found.has_internal_log = true;
        found.log_offset_bytes = first * info.block_bytes;
        found.log_bytes = log_blocks * info.block_bytes;
    }
    if (shape != nullptr) *shape = found;
    return info;
}

Result<FilesystemInfo> parse_btrfs(std::span<const std::byte> super, std::uint64_t device_bytes,
                                   const std::string& name) {
    FilesystemInfo info;
    info.type = Filesystem::btrfs;
    if (const auto place = load_le<std::uint64_t>(super, 0x30); place != kBtrfsSuperAt) {
        return bad(name, "its own place", place, fmt::format("{}", kBtrfsSuperAt));
    }
    info.block_bytes = load_le<std::uint32_t>(super, 0x90);
    if (!std::has_single_bit(info.block_bytes) || info.block_bytes < 4096 ||
        info.block_bytes > 65536) {
        return bad(name, "the sector size", info.block_bytes, "a power of two from 4096 to 65536");
    }
    const auto node_bytes = load_le<std::uint32_t>(super, 0x94);
    if (!std::has_single_bit(node_bytes) || node_bytes < info.block_bytes || node_bytes > 65536) {
        return bad(name, "the size of a tree node", node_bytes,
                   fmt::format("a power of two from {} to 65536", info.block_bytes));
    }
    info.device_count = load_le<std::uint64_t>(super, 0x88);
    if (info.device_count == 0) return bad(name, "the number of devices", 0, "1");
    info.size_bytes = load_le<std::uint64_t>(super, kBtrfsDeviceAt + 8);
    if (info.size_bytes < kBtrfsSuperAt + kBtrfsSuperBytes || info.size_bytes > device_bytes ||
        info.size_bytes % info.block_bytes != 0) {
        return bad(name, "the size of this device", info.size_bytes,
                   fmt::format("a multiple of {} up to {}", info.block_bytes, device_bytes));
    }
    info.uuid = uuid_text(super.subspan(0x20, 16));
    info.label = label_text(super.subspan(0x12b, 256));
    // What fsync(2) has written since the last transaction is in a tree of its own.
    info.needs_recovery = load_le<std::uint64_t>(super, 0x60) != 0;
    info.clean = !info.needs_recovery;
    return info;
}

/// A mount reads the headers of all allocation groups, one after the other; a map of the free space
/// reads the roots of their trees, which mkfs.xfs puts behind them. Of a volume that is loaded from
/// a snapshot each would be waited for alone: here the kernel is asked for all at once. Only a
/// hint.
void ask_for_groups(const BlockDevice& disk, std::uint64_t offset, const XfsShape& shape) {
    constexpr off_t kHeaderBytes = 32U << 10;
    constexpr std::uint64_t kMinGroupBytes = 16U << 20;  // XFS_MIN_AG_BYTES
    constexpr std::uint64_t kMostGroups = 4096;          // in 128 MiB of page cache
    if (shape.group_bytes < kMinGroupBytes) return;
    for (std::uint64_t group = 0; group < std::min(shape.groups, kMostGroups); ++group) {
        (void)::posix_fadvise(disk.fd().get(),
                              static_cast<off_t>(offset + group * shape.group_bytes), kHeaderBytes,
                              POSIX_FADV_WILLNEED);
    }
}

}  // namespace

std::string_view to_string(Filesystem fs) noexcept {
    switch (fs) {
        case Filesystem::none:
            return "none";
        case Filesystem::ext2:
            return "ext2";
        case Filesystem::ext3:
            return "ext3";
        case Filesystem::ext4:
            return "ext4";
        case Filesystem::xfs:
            return "xfs";
        case Filesystem::btrfs:
            return "btrfs";
        case Filesystem::unknown:
            break;
    }
    return "unknown";
}

Result<FilesystemInfo> parse_filesystem_info(std::span<const std::byte> start,
                                             std::uint64_t device_bytes, const std::string& name,
                                             XfsShape* shape) {
    if (start.size() >= kBtrfsSuperAt + kBtrfsSuperBytes &&
        load_le<std::uint64_t>(start, kBtrfsSuperAt + 0x40) == kBtrfsMagic) {
        return parse_btrfs(start.subspan(kBtrfsSuperAt, kBtrfsSuperBytes), device_bytes, name);
    }
    if (start.size() >= kXfsSuperBytes && load_be<std::uint32_t>(start, 0) == kXfsMagic) {
        return parse_xfs(start.first(kXfsSuperBytes), device_bytes, name, shape);
    }
    if (start.size() >= kExtSuperAt + kExtSuperBytes &&
        load_le<std::uint16_t>(start, kExtSuperAt + 56) == kExtMagic) {
        return parse_ext(start.subspan(kExtSuperAt, kExtSuperBytes), device_bytes, name);
    }
    FilesystemInfo info;
    const bool zeros =
        std::all_of(start.begin(), start.end(), [](std::byte b) { return b == std::byte{0}; });
    info.type = zeros ? Filesystem::none : Filesystem::unknown;
    return info;
}

Result<FilesystemInfo> read_filesystem_info(const BlockDevice& disk, std::uint64_t offset) {
    if (offset >= disk.size_bytes()) {
        return fail(Errc::corrupt,
                    fmt::format("no filesystem at byte {} of '{}': it ends at byte {}", offset,
                                disk.path(), disk.size_bytes()),
                    "the disk is shorter than its partition table says; use the whole image");
    }
    const auto left = disk.size_bytes() - offset;
    const auto look = std::min<std::uint64_t>(left, kFilesystemLookBytes);
    std::vector<std::byte> start(static_cast<std::size_t>(look));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), start, offset, disk.path()));
    XfsShape shape;
    AMILIFT_TRY(auto info, parse_filesystem_info(start, left, disk.path(), &shape));
    if (info.device_count > 1) {
        return fail(
            Errc::refused,
            fmt::format("btrfs on '{}' is one of {} devices", disk.path(), info.device_count),
            "move all of it to one device ('btrfs device remove'), then make the image",
            "btrfs-several-devices");
    }
    if (info.type == Filesystem::xfs) {
        if (!shape.has_internal_log) {
            return fail(Errc::refused,
                        fmt::format("XFS on '{}' keeps its log on another device", disk.path()),
                        "move the log into the filesystem (xfs_copy cannot: dump and restore)",
                        "xfs-external-log");
        }
        ask_for_groups(disk, offset, shape);
        AMILIFT_TRY(const bool clean,
                    xfs_log_is_clean(disk, offset + shape.log_offset_bytes, shape.log_bytes));
        info.needs_recovery = !clean;
        info.clean = clean;
    }
    return info;
}

}  // namespace amilift::dev
