// SPDX-License-Identifier: Apache-2.0
#include "worker/source_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

std::string first_line(std::string text) {
    if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end);
    return text;
}

/// The loop device through which somebody can write to the file, or empty.
std::string writable_loop_of(const std::string& file) {
    namespace fs = std::filesystem;
    std::error_code error;
    const auto wanted = dev::identity_of(file);
    if (!wanted) return {};
    for (const auto& entry : fs::directory_iterator("/sys/block", error)) {
        const auto name = entry.path().filename().string();
        if (!name.starts_with("loop")) continue;
        const auto read_only = core::read_file(entry.path().string() + "/ro", std::size_t{64});
        if (!read_only || first_line(*read_only) != "0") continue;
        // The file is compared, not its name: it may have several.
        const auto identity = dev::identity_of("/dev/" + name);
        if (identity && *identity == *wanted) return "/dev/" + name;
    }
    return {};
}

Result<> refuse(std::string what, std::string hint, std::string id) {
    return fail(Errc::refused, std::move(what), std::move(hint), std::move(id));
}

/// Errc::refused (id "truncated") when the superblock is right but for the disk being too short.
Result<> require_whole(const dev::BlockDevice& disk) {
    std::vector<std::byte> start(static_cast<std::size_t>(
        std::min<std::uint64_t>(disk.size_bytes(), dev::kFilesystemLookBytes)));
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), start, 0, disk.path()));
    constexpr auto kBoundless = std::numeric_limits<std::uint64_t>::max();
    const auto info = dev::parse_filesystem_info(start, kBoundless, disk.path());
    if (!info || info->size_bytes <= disk.size_bytes()) return {};
    return refuse(
        fmt::format("'{}' has {} bytes, the {} filesystem on it {}: the end is missing",
                    disk.path(), disk.size_bytes(), dev::to_string(info->type), info->size_bytes),
        "copy the image again, in full", "truncated");
}

}  // namespace

Result<image::SafeRoot> open_root(const dev::Mount& mount) {
    core::Fd copy(::fcntl(mount.root().get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) {
        const int saved = errno;
        return core::fail_errno(
            saved, fmt::format("cannot duplicate the descriptor of '{}'", mount.directory()));
    }
    return image::SafeRoot(std::move(copy));
}

Result<> require_not_in_use(const dev::BlockDevice& disk) {
    constexpr auto kHint = "unmount it, or convert a copy or a snapshot of it";
    if (!disk.is_block_device()) {
        if (const auto loop = writable_loop_of(disk.path()); !loop.empty()) {
            return fail(Errc::conflict,
                        fmt::format("'{}' is attached to '{}' for writing, expected nobody to "
                                    "change it",
                                    disk.path(), loop),
                        kHint);
        }
        return {};
    }
    // O_EXCL on a block device asks whether somebody has claimed it: a mount, RAID, LVM, swap.
    const auto probe = core::open_file(disk.path(), O_RDONLY | O_EXCL);
    if (!probe && probe.error().sys_errno == EBUSY) {
        return fail(Errc::conflict,
                    fmt::format("'{}' is mounted or otherwise in use, expected nobody to change it",
                                disk.path()),
                    kHint);
    }
    if (!probe) return std::unexpected(probe.error());
    return {};
}

Result<SourceImage> SourceImage::open(const DiskRef& ref, JournalReplay replay) {
    AMILIFT_TRY(auto disk, dev::BlockDevice::open(ref.path, dev::Access::read_only));
    SourceImage image(std::move(disk));
    if (!ref.volume_id.empty()) AMILIFT_CHECK(image.disk_.require_volume(ref.volume_id));
    AMILIFT_CHECK(require_not_in_use(image.disk_));
    AMILIFT_CHECK(image.look_at_disk());
    if (image.filesystem_.needs_recovery) {
        if (replay == JournalReplay::never) {
            AMILIFT_CHECK(refuse(
                fmt::format("the {} filesystem on '{}' was not unmounted cleanly: its journal "
                            "holds changes that are not in place yet",
                            dev::to_string(image.filesystem_.type), ref.path),
                "mount and unmount it once, or repair it with fsck; on a copy if you need the "
                "original as it is",
                "dirty-filesystem"));
        }
        AMILIFT_CHECK(image.replay_journal());
    }
    AMILIFT_TRY(image.mount_, image.mount(dev::Access::read_only));
    AMILIFT_TRY(image.root_, open_root(*image.mount_));
    return image;
}

Result<> SourceImage::look_at_disk() {
    const auto& path = disk_.path();
    auto contents = dev::read_disk_contents(disk_);
    if (!contents && contents.error().is(Errc::corrupt)) AMILIFT_CHECK(require_whole(disk_));
    AMILIFT_TRY(contents_, std::move(contents));
    switch (contents_.layout) {
        case dev::DiskLayout::bare_filesystem:
            break;
        case dev::DiskLayout::mbr:
        case dev::DiskLayout::gpt:
            return refuse(
                fmt::format("'{}' has a {} partition table; a PV root is a filesystem without one",
                            path, contents_.layout == dev::DiskLayout::mbr ? "DOS" : "GPT"),
                "it is no PV root: if it boots as HVM already, there is nothing to convert",
                "already-hvm");
        case dev::DiskLayout::empty:
            return refuse(fmt::format("'{}' is empty: its first MiB holds zeros only", path),
                          "check that this is the right disk", "empty-disk");
        case dev::DiskLayout::unknown:
            return refuse(fmt::format("'{}' has neither a partition table nor a filesystem that "
                                      "amilift knows (ext2, ext3, ext4, XFS)",
                                      path),
                          "check that this is a disk image that is not compressed or encrypted",
                          "unknown-filesystem");
    }
    auto info = dev::read_filesystem_info(disk_, 0);
    if (!info && info.error().is(Errc::corrupt)) AMILIFT_CHECK(require_whole(disk_));
    AMILIFT_TRY(filesystem_, std::move(info));
    if (filesystem_.type == dev::Filesystem::none || filesystem_.type == dev::Filesystem::unknown) {
        return refuse(
            fmt::format("'{}' has a filesystem that amilift does not know, expected ext2, ext3, "
                        "ext4 or XFS",
                        path),
            "copy its files to an ext3 or ext4 filesystem, then convert that",
            "unknown-filesystem");
    }
    if (filesystem_.has_errors) {
        return refuse(fmt::format("the {} filesystem on '{}' is marked as having errors",
                                  dev::to_string(filesystem_.type), path),
                      "repair it with fsck, on a copy if you need the original as it is",
                      "filesystem-has-errors");
    }
    return {};
}

Result<> SourceImage::replay_journal() {
    {
        AMILIFT_TRY(auto mounted, mount(dev::Access::read_write));
        AMILIFT_CHECK(mounted.unmount());
        if (loop_) AMILIFT_CHECK(loop_->detach());
        loop_.reset();
    }
    AMILIFT_CHECK(disk_.flush());
    AMILIFT_TRY(filesystem_, dev::read_filesystem_info(disk_, 0));
    if (filesystem_.needs_recovery) {
        return fail(Errc::corrupt,
                    fmt::format("the journal of '{}' was replayed, but the superblock still asks "
                                "for it",
                                disk_.path()),
                    "repair the source with fsck, then make the AMI's snapshot again");
    }
    return {};
}

Result<dev::Mount> SourceImage::mount(dev::Access access) {
    std::string device = disk_.path();
    if (!disk_.is_block_device()) {
        AMILIFT_TRY(loop_,
                    dev::LoopDevice::attach(disk_.path(), 0, filesystem_.size_bytes, access));
        device = loop_->path();
    }
    return dev::Mount::mount(device, filesystem_.type, access);
}

Result<> SourceImage::require_room(std::uint64_t bytes) const {
    const auto needed = (std::uint64_t{1} << 20) + bytes;
    constexpr std::uint64_t kInodes = 16;
    struct statvfs room{};
    if (::fstatvfs(mount_->root().get(), &room) != 0) {
        const int saved = errno;
        return core::fail_errno(
            saved, fmt::format("cannot ask how full the filesystem on '{}' is", disk_.path()));
    }
    // f_bfree, not f_bavail: root may use the blocks that ext keeps back.
    const auto free_bytes = std::uint64_t{room.f_bfree} * room.f_frsize;
    if (free_bytes >= needed && (room.f_files == 0 || room.f_ffree >= kInodes)) return {};
    return refuse(
        fmt::format("the filesystem on '{}' has {} KiB and {} inodes free, a conversion "
                    "needs {} KiB and {}",
                    disk_.path(), free_bytes >> 10, room.f_ffree, (needed + 1023) >> 10, kInodes),
        "remove files from the source, then make the image again", "filesystem-full");
}

Result<dev::ExtentMap> SourceImage::used_extents() const {
    return dev::map_used_extents(disk_, filesystem_, &mount_->root());
}

Result<> SourceImage::unmount() {
    root_.reset();
    if (mount_) AMILIFT_CHECK(mount_->unmount());
    mount_.reset();
    if (loop_) AMILIFT_CHECK(loop_->detach());
    loop_.reset();
    return {};
}

}  // namespace amilift::worker
