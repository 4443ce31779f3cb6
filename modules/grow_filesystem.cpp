// SPDX-License-Identifier: Apache-2.0
#include "modules/grow_filesystem.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "dev/btrfs.hpp"
#include "dev/byte_order.hpp"
#include "dev/ext_check.hpp"
#include "dev/loop_device.hpp"
#include "dev/mount.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// fs/xfs/libxfs/xfs_fs.h of the kernel: struct xfs_growfs_data and its number.
struct XfsGrowData {
    std::uint64_t new_blocks = 0;
    std::uint32_t inode_percent = 0;
    std::uint32_t padding = 0;
};
constexpr unsigned long kXfsGrowData = _IOW('X', 110, XfsGrowData);
constexpr std::uint64_t kXfsInodePercentAt = 127;  // sb_imax_pct of the superblock

/// fs/ext4/ext4.h: EXT4_IOC_RESIZE_FS takes the new number of blocks.
constexpr unsigned long kExtResize = _IOW('f', 16, std::uint64_t);

// Features and fields of the ext superblock, fs/ext4/ext4.h.
constexpr std::uint32_t kCompatJournal = 0x0004;
constexpr std::uint32_t kCompatResizeInode = 0x0010;
constexpr std::uint32_t kCompatSparseSuper2 = 0x0200;
constexpr std::uint32_t kIncompatMetaBg = 0x0010;
constexpr std::uint32_t kIncompat64Bit = 0x0080;
constexpr std::uint64_t kSuperblockAt = 1024;
constexpr std::size_t kFirstDataBlockAt = 0x14;
constexpr std::size_t kBlocksPerGroupAt = 0x20;
constexpr std::size_t kReservedGdtAt = 0xce;
constexpr std::size_t kDescriptorBytesAt = 0xfe;

/// A large volume on slow disks takes its time; the job's deadline is the real bound.
constexpr auto kTimeout = std::chrono::hours(4);

constexpr auto kOnTheInstance = "convert without a size, and grow the filesystem on the instance";

Result<> cannot_grow(const std::string& why) {
    return fail(Errc::refused, fmt::format("the root filesystem cannot grow: {}", why),
                kOnTheInstance, "root-cannot-grow");
}

std::uint64_t parts_of(std::uint64_t whole, std::uint64_t part) {
    return (whole + part - 1) / part;
}

Result<core::CommandOutput> run(core::CommandRunner& commands, std::vector<std::string> argv) {
    core::Command command;
    command.argv = std::move(argv);
    command.timeout = kTimeout;
    auto output = commands.run(command);
    if (!output && output.error().is(Errc::not_installed)) {
        output.error().hint = "install the package e2fsprogs";
    }
    return output;
}

Result<> resize_ext(core::CommandRunner& commands, const std::string& device) {
    AMILIFT_CHECK(dev::check_ext(commands, device, "the copied filesystem"));
    AMILIFT_TRY(const auto resized, run(commands, {"resize2fs", device}));
    if (resized.exit_code != 0) {
        return fail(Errc::io_error,
                    fmt::format("resize2fs of the copied filesystem ends with {}: {}",
                                resized.exit_code, core::last_words(resized)),
                    "convert without a size, and grow the filesystem on the instance");
    }
    return {};
}

}  // namespace

Result<> grow_ext(core::CommandRunner& commands, const dev::BlockDevice& disk, std::uint64_t offset,
                  std::uint64_t bytes) {
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(disk, offset, bytes, dev::Access::read_write));
    AMILIFT_CHECK(resize_ext(commands, loop.path()));
    return loop.detach();
}

Result<> grow_xfs(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t bytes,
                  const dev::FilesystemInfo& filesystem) {
    std::array<std::byte, 1> percent{};
    AMILIFT_CHECK(
        core::read_exactly_at(disk.fd(), percent, offset + kXfsInodePercentAt, disk.path()));
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(disk, offset, bytes, dev::Access::read_write));
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(loop.path(), dev::Filesystem::xfs, dev::Access::read_write));
    XfsGrowData data;
    data.new_blocks = bytes / filesystem.block_bytes;
    data.inode_percent = std::to_integer<std::uint32_t>(percent[0]);
    if (::ioctl(mounted.root().get(), kXfsGrowData, &data) != 0) {
        const int saved = errno;
        return core::fail_errno(saved,
                                fmt::format("the kernel cannot grow the XFS on '{}' to {} blocks",
                                            disk.path(), data.new_blocks),
                                kOnTheInstance);
    }
    AMILIFT_CHECK(mounted.unmount());
    return loop.detach();
}

Result<> grow_mounted_ext(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t bytes,
                          const dev::FilesystemInfo& filesystem) {
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(disk, offset, bytes, dev::Access::read_write));
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(loop.path(), filesystem.type, dev::Access::read_write));
    const std::uint64_t blocks = bytes / filesystem.block_bytes;
    if (::ioctl(mounted.root().get(), kExtResize, &blocks) != 0) {
        const int saved = errno;
        return core::fail_errno(saved,
                                fmt::format("the kernel cannot grow the {} on '{}' to {} blocks",
                                            dev::to_string(filesystem.type), disk.path(), blocks),
                                kOnTheInstance);
    }
    AMILIFT_CHECK(mounted.unmount());
    return loop.detach();
}

Result<> grow_btrfs(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t bytes) {
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(disk, offset, bytes, dev::Access::read_write));
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(loop.path(), dev::Filesystem::btrfs, dev::Access::read_write));
    AMILIFT_CHECK(dev::grow_btrfs(mounted.root(), loop.path()));
    AMILIFT_CHECK(mounted.unmount());
    return loop.detach();
}

Result<> require_growable(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t bytes,
                          const dev::FilesystemInfo& filesystem) {
    if (filesystem.block_bytes == 0 || bytes < filesystem.size_bytes) {
        return cannot_grow("its size is not known");
    }
    if (filesystem.type == dev::Filesystem::xfs || filesystem.type == dev::Filesystem::btrfs) {
        return {};
    }
    if (!dev::is_ext(filesystem.type)) {
        return cannot_grow(fmt::format("it is {}", dev::to_string(filesystem.type)));
    }
    const auto compat = filesystem.feature_compat;
    if ((compat & kCompatJournal) == 0) return cannot_grow("it has no journal");
    if ((compat & kCompatSparseSuper2) != 0) return cannot_grow("it has the feature sparse_super2");
    if ((filesystem.feature_incompat & kIncompatMetaBg) != 0) return {};

    std::array<std::byte, 512> start{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), start, offset + kSuperblockAt, disk.path()));
    const std::span<const std::byte> superblock(start);
    const std::uint64_t first = dev::load_le<std::uint32_t>(superblock, kFirstDataBlockAt);
    const std::uint64_t group = dev::load_le<std::uint32_t>(superblock, kBlocksPerGroupAt);
    const std::uint64_t descriptor =
        (filesystem.feature_incompat & kIncompat64Bit) != 0
            ? dev::load_le<std::uint16_t>(superblock, kDescriptorBytesAt)
            : 32;
    const auto old_blocks = filesystem.size_bytes / filesystem.block_bytes;
    if (group == 0 || descriptor < 32 || descriptor > filesystem.block_bytes ||
        old_blocks <= first) {
        return cannot_grow("its superblock contradicts itself");
    }
    const auto table_blocks = [&](std::uint64_t blocks) {
        return parts_of(parts_of(blocks - first, group), filesystem.block_bytes / descriptor);
    };
    const std::uint64_t reserved = (compat & kCompatResizeInode) == 0
                                       ? 0
                                       : dev::load_le<std::uint16_t>(superblock, kReservedGdtAt);
    const auto has = table_blocks(old_blocks) + reserved;
    const auto needs = table_blocks(bytes / filesystem.block_bytes);
    if (needs <= has) return {};
    return cannot_grow(fmt::format(
        "its table of block groups needs {} blocks, {} are reserved for it", needs, has));
}

std::uint64_t largest_rest(const dev::FilesystemInfo& filesystem) {
    return std::uint64_t{filesystem.block_bytes} * filesystem.block_bytes * 8;
}

}  // namespace amilift::modules
