// SPDX-License-Identifier: Apache-2.0
#include "modules/grow.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/fd.hpp"
#include "dev/btrfs.hpp"
#include "dev/loop_device.hpp"
#include "dev/mount.hpp"
#include "modules/partition.hpp"

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

/// e2fsck(8): bit 0 is "errors corrected", bit 1 "reboot", which is for mounted filesystems.
constexpr int kFsckCorrected = 3;
/// A large volume on slow disks takes its time; the job's deadline is the real bound.
constexpr auto kTimeout = std::chrono::hours(4);

/// What no filesystem uses at its end: of ext and XFS less than one of its groups of blocks, which
/// has up to 8 bits for each byte of a block; of btrfs less than a block.
std::uint64_t largest_rest(const dev::FilesystemInfo& filesystem) {
    return std::uint64_t{filesystem.block_bytes} * filesystem.block_bytes * 8;
}

double gibibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(1U << 30);
}

/// The end of what a program says, in one line.
std::string last_words(const core::CommandOutput& output) {
    auto text = output.err.empty() ? output.out : output.err;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::ranges::replace(text, '\n', ' ');
    constexpr std::size_t kShown = 300;
    return text.size() > kShown ? text.substr(text.size() - kShown) : text;
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

Result<> grow_ext(core::CommandRunner& commands, const std::string& device) {
    AMILIFT_TRY(const auto checked, run(commands, {"e2fsck", "-f", "-p", device}));
    if (checked.exit_code > kFsckCorrected) {
        return fail(Errc::corrupt,
                    fmt::format("e2fsck -f -p of the copied filesystem ends with {}: {}",
                                checked.exit_code, last_words(checked)),
                    "the source has errors: repair a copy of it with e2fsck and convert that, or "
                    "convert without a size");
    }
    AMILIFT_TRY(const auto resized, run(commands, {"resize2fs", device}));
    if (resized.exit_code != 0) {
        return fail(Errc::io_error,
                    fmt::format("resize2fs of the copied filesystem ends with {}: {}",
                                resized.exit_code, last_words(resized)),
                    "convert without a size, and grow the filesystem on the instance");
    }
    return {};
}

Result<> grow_xfs(const dev::BlockDevice& disk, const std::string& device, std::uint64_t blocks) {
    std::array<std::byte, 1> percent{};
    AMILIFT_CHECK(
        core::read_exactly_at(disk.fd(), percent, kRootOffset + kXfsInodePercentAt, disk.path()));
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(device, dev::Filesystem::xfs, dev::Access::read_write));
    XfsGrowData data;
    data.new_blocks = blocks;
    data.inode_percent = std::to_integer<std::uint32_t>(percent[0]);
    if (::ioctl(mounted.root().get(), kXfsGrowData, &data) != 0) {
        const int saved = errno;
        return core::fail_errno(
            saved,
            fmt::format("the kernel cannot grow the XFS on '{}' to {} blocks", device, blocks),
            "convert without a size, and grow the filesystem on the instance");
    }
    return mounted.unmount();
}

Result<> grow_btrfs(const std::string& device) {
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(device, dev::Filesystem::btrfs, dev::Access::read_write));
    AMILIFT_CHECK(dev::grow_btrfs(mounted.root(), device));
    return mounted.unmount();
}

Result<> apply(ApplyContext& context, const dev::FilesystemInfo& filesystem,
               std::uint64_t root_bytes) {
    AMILIFT_CHECK(context.cancel().check());
    const auto& disk = context.target();
    AMILIFT_TRY(auto loop,
                dev::LoopDevice::attach(disk, kRootOffset, root_bytes, dev::Access::read_write));
    if (filesystem.type == dev::Filesystem::xfs) {
        AMILIFT_CHECK(grow_xfs(disk, loop.path(), root_bytes / filesystem.block_bytes));
    } else if (filesystem.type == dev::Filesystem::btrfs) {
        AMILIFT_CHECK(grow_btrfs(loop.path()));
    } else {
        AMILIFT_CHECK(grow_ext(context.commands(), loop.path()));
    }
    return loop.detach();
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    AMILIFT_TRY(const auto disk, plan_disk(context.options, filesystem, context.target_bytes));
    const auto root_bytes = disk.root_bytes();
    if (context.options.size_gib == 0 || filesystem.block_bytes == 0 ||
        root_bytes - filesystem.size_bytes < filesystem.block_bytes) {
        return std::vector<Step>{};
    }
    const bool by_kernel = !dev::is_ext(filesystem.type);
    return std::vector<Step>{
        {"grow",
         fmt::format("grow {} from {:.2f} GiB to its partition of {:.2f} GiB ({})",
                     dev::to_string(filesystem.type), gibibytes(filesystem.size_bytes),
                     gibibytes(root_bytes),
                     by_kernel ? "by the kernel" : "e2fsck -f -p, resize2fs"),
         [filesystem, root_bytes](ApplyContext& apply_context) {
             return apply(apply_context, filesystem, root_bytes);
         }}};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (context.options.size_gib == 0) return std::vector<std::string>{};
    AMILIFT_TRY(const auto disk,
                plan_disk(context.options, context.filesystem, context.target.size_bytes()));
    AMILIFT_TRY(const auto grown, dev::read_filesystem_info(context.target, kRootOffset));
    const auto size = grown.size_bytes;
    if (size < context.filesystem.size_bytes || size > disk.root_bytes() ||
        disk.root_bytes() - size >= largest_rest(grown)) {
        return fail(Errc::corrupt,
                    fmt::format("filesystem on '{}' has {} bytes, its partition {}",
                                context.target.path(), size, disk.root_bytes()),
                    "convert without a size, and grow the filesystem on the instance");
    }
    return std::vector<std::string>{fmt::format("{} has {:.2f} GiB of the partition's {:.2f} GiB",
                                                dev::to_string(grown.type), gibibytes(size),
                                                gibibytes(disk.root_bytes()))};
}

constexpr Module kModule{"grow", plan, verify};

}  // namespace

const Module& grow_module() {
    return kModule;
}

}  // namespace amilift::modules
