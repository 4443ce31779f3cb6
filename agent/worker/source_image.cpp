// SPDX-License-Identifier: Apache-2.0
#include "worker/source_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>

#include "core/text.hpp"
#include "image/fstab.hpp"
#include "image/os_facts.hpp"
#include "image/root_disk.hpp"
#include "image/text_lines.hpp"
#include "image/tree_copy.hpp"
#include "worker/fstab_volumes.hpp"
#include "worker/root_search.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// The loop device through which somebody can write to the file, or empty.
std::string writable_loop_of(const dev::BlockDevice& file) {
    namespace fs = std::filesystem;
    std::error_code error;
    const auto wanted = dev::identity_of(file.self_path());
    if (!wanted) return {};
    for (const auto& entry : fs::directory_iterator("/sys/block", error)) {
        const auto name = entry.path().filename().string();
        if (!name.starts_with("loop")) continue;
        const auto read_only = core::read_file(entry.path().string() + "/ro", std::size_t{64});
        if (!read_only || core::first_line(*read_only) != "0") continue;
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

Result<> refuse_filesystem(const std::string& path) {
    return refuse(fmt::format("the filesystem on '{}' is no root: it needs /etc/fstab or "
                              "/etc/os-release, and an init",
                              path),
                  "check that this is the disk that the system boots from", "no-root-partition");
}

image::BootCode boot_code(dev::BootCodeKind kind) {
    switch (kind) {
        case dev::BootCodeKind::none:
            return image::BootCode::none;
        case dev::BootCodeKind::grub2:
            return image::BootCode::grub2;
        case dev::BootCodeKind::grub_legacy:
            return image::BootCode::grub_legacy;
        case dev::BootCodeKind::extlinux:
            return image::BootCode::extlinux;
        case dev::BootCodeKind::unknown:
            break;
    }
    return image::BootCode::unknown;
}

constexpr auto kNotInUse = "unmount it, or convert a copy or a snapshot of it";

core::Error in_use(const dev::BlockDevice& disk) {
    return fail(Errc::conflict,
                fmt::format(
                    "'{}' is mounted or otherwise in use (another amilift may be copying it), "
                    "expected nobody to change it",
                    disk.path()),
                "unmount it, wait for the other amilift, or convert a copy or a snapshot of it")
        .error();
}

bool has_partitions(const dev::DiskContents& contents) {
    return contents.layout == dev::DiskLayout::mbr || contents.layout == dev::DiskLayout::gpt;
}

/// A claim on a disk that is a block device: as long as it is held, nobody else can mount it or a
/// partition of it. Empty for a file. Errc::conflict if the disk is mounted, claimed, or (a file)
/// behind a writable loop device.
Result<core::Fd> claim(const dev::BlockDevice& disk) {
    if (!disk.is_block_device()) {
        if (const auto loop = writable_loop_of(disk); !loop.empty()) {
            return fail(Errc::conflict,
                        fmt::format("'{}' is attached to '{}' for writing, expected nobody to "
                                    "change it",
                                    disk.path(), loop),
                        kNotInUse);
        }
        return core::Fd();
    }
    // O_EXCL on a block device fails when somebody has claimed it: a mount, RAID, LVM, swap.
    auto held = disk.reopen(O_RDONLY | O_EXCL);
    if (!held && held.error().sys_errno == EBUSY) return std::unexpected(in_use(disk));
    return held;
}

}  // namespace

Result<SourceImage> SourceImage::open(const DiskRef& ref, core::CommandRunner& commands,
                                      ConversionObserver& observer, JournalReplay replay,
                                      std::function<Result<>()> before_replay) {
    AMILIFT_TRY(auto disk, ref.descriptor >= 0
                               ? dev::BlockDevice::duplicate(ref.descriptor, ref.path)
                               : dev::BlockDevice::open(ref.path, dev::Access::read_only));
    SourceImage image(std::move(disk));
    image.before_replay_ = std::move(before_replay);
    image.commands_ = &commands;
    image.observer_ = &observer;
    if (!ref.volume_id.empty())
        AMILIFT_CHECK(image.disk_.require_volume(ref.volume_id, ref.requested_device));
    AMILIFT_TRY(image.claim_, claim(image.disk_));
    AMILIFT_CHECK(image.look_at_disk());
    AMILIFT_CHECK(image.give_path());
    if (has_partitions(image.contents_)) {
        AMILIFT_CHECK(image.mount_partitions(replay));
        return image;
    }
    AMILIFT_CHECK(image.look_at_filesystem(replay));
    return image;
}

Result<> SourceImage::look_at_disk() {
    const auto& path = disk_.path();
    auto contents = dev::read_disk_contents(disk_);
    if (!contents) {
        if (contents.error().is(Errc::corrupt)) AMILIFT_CHECK(require_whole(disk_));
        return std::unexpected(std::move(contents).error());
    }
    contents_ = *std::move(contents);
    switch (contents_.layout) {
        case dev::DiskLayout::bare_filesystem:
        case dev::DiskLayout::mbr:
        case dev::DiskLayout::gpt:
            break;
        case dev::DiskLayout::empty:
            return refuse(fmt::format("'{}' is empty: its first MiB holds zeros only", path),
                          "check that this is the right disk", "empty-disk");
        case dev::DiskLayout::unknown:
            return refuse(fmt::format("'{}' has neither a partition table nor a filesystem that "
                                      "amilift knows (ext2, ext3, ext4, XFS, btrfs)",
                                      path),
                          "check that this is a disk image that is not compressed or encrypted",
                          "unknown-filesystem");
    }
    return {};
}

Result<> SourceImage::give_path() {
    if (disk_.is_at_path()) return {};
    AMILIFT_TRY(whole_disk_, dev::LoopDevice::attach(disk_, 0, 0, dev::Access::read_only));
    return {};
}

Result<> SourceImage::look_at_filesystem(JournalReplay replay) {
    const auto& path = disk_.path();
    auto info = dev::read_filesystem_info(disk_, 0);
    if (!info && info.error().is(Errc::corrupt)) AMILIFT_CHECK(require_whole(disk_));
    AMILIFT_TRY(auto filesystem, std::move(info));
    if (filesystem.type == dev::Filesystem::none || filesystem.type == dev::Filesystem::unknown) {
        return refuse(
            fmt::format("'{}' has a filesystem that amilift does not know, expected ext2, ext3, "
                        "ext4, XFS or btrfs",
                        path),
            "copy its files to an ext3 or ext4 filesystem, then convert that",
            "unknown-filesystem");
    }
    VolumePlace place{0, "/", 0, std::move(filesystem)};
    AMILIFT_CHECK(prepare(place, replay));
    // To fstab it is the one partition that there is.
    dev::Partition whole;
    whole.size_bytes = disk_.size_bytes();
    whole.content = dev::PartitionContent::filesystem;
    whole.content_uuid = place.filesystem.uuid;
    whole.filesystem = place.filesystem;
    if (place.filesystem.type != dev::Filesystem::btrfs) {
        places_.push_back(std::move(place));
        boot_disk_.volumes = {boot_volume_of(whole)};
        AMILIFT_TRY(auto tree, MountedTree::mount(disk_, places_.front(), dev::Access::read_only));
        AMILIFT_TRY(const bool is_root, looks_like_root(tree.root()));
        if (!is_root) return refuse_filesystem(path);
        tree_.emplace(std::move(tree));
        return {};
    }
    AMILIFT_TRY(auto subvolumes, subvolumes_at(disk_, place));
    AMILIFT_TRY(const auto roots, find_root_subvolumes(disk_, place, subvolumes));
    if (roots.empty()) return refuse_filesystem(path);
    if (roots.size() > 1) return several_roots(fmt::format("'{}'", path), roots);
    place = with_subvolume(std::move(place), roots.front());
    subvolumes_.emplace(0, std::move(subvolumes));
    AMILIFT_CHECK(take_volumes({whole}, whole, std::move(place), replay));
    // Other volumes are none of a disk without partitions: the guest's own findings tell of them.
    std::erase_if(findings_, [](const image::Finding& finding) {
        return finding.id == "volume-not-on-disk" || finding.id == "boot-partition-missing";
    });
    boot_disk_.volumes = {boot_volume_of(whole)};
    return {};
}

Result<> SourceImage::mount_partitions(JournalReplay replay) {
    AMILIFT_TRY(partitions_, dev::read_partitions(disk_, contents_.layout));
    MakeWhole make_whole;
    if (replay == JournalReplay::allowed) {
        make_whole = [this](const dev::Partition& partition) {
            auto place = place_of(partition, "/");
            return prepare(place, JournalReplay::allowed);
        };
    }
    AMILIFT_TRY(auto root, find_root(disk_, partitions_, make_whole));
    subvolumes_ = std::move(root.subvolumes);
    AMILIFT_CHECK(prepare(root.place, replay));
    AMILIFT_CHECK(take_volumes(partitions_, *root.partition, std::move(root.place), replay));
    AMILIFT_TRY(const auto code, dev::read_boot_code(disk_, partitions_));
    describe_boot_disk(code);
    return {};
}

/// Mounts the root, which is prepared, and what its fstab has below it.
Result<> SourceImage::take_volumes(const std::vector<dev::Partition>& partitions,
                                   const dev::Partition& root, VolumePlace root_place,
                                   JournalReplay replay) {
    places_.push_back(std::move(root_place));
    AMILIFT_TRY(auto tree, MountedTree::mount(disk_, places_.front(), dev::Access::read_only));
    require_writable(places_.front());
    AMILIFT_TRY(const auto fstab, fstab_of(tree.root()));
    AMILIFT_TRY(const auto os, image::read_os_facts(tree.root()));
    const auto named = named_partitions(partitions);
    image::RootDiskClues clues{.fstab = fstab,
                               .root_argument = {},
                               .root = root.number,
                               .shifts_names = image::shifts_disk_names(os)};
    const auto read = [&] {
        boot_disk_.device_names = image::root_disk_names(named, clues);
        return read_fstab_volumes(partitions, root, boot_disk_.device_names, fstab);
    };
    auto found = read();
    if (has_partitions(contents_)) {
        // root= in the menu tells too what the image calls this disk, and the menu is in /boot.
        const auto is_boot = [](const FstabVolume& v) { return v.mount_point == "/boot"; };
        std::erase_if(found.volumes, std::not_fn(is_boot));
        AMILIFT_CHECK(mount_volumes(tree, found.volumes, replay));
        AMILIFT_TRY(const auto code, dev::read_boot_code(disk_, partitions));
        describe_boot_disk(code);
        AMILIFT_TRY(const auto argument, image::default_root_argument(tree.root(), boot_disk_));
        clues.root_argument = argument;
        found = read();
        std::erase_if(found.volumes, is_boot);
    }
    std::ranges::move(found.findings, std::back_inserter(findings_));
    AMILIFT_CHECK(mount_volumes(tree, found.volumes, replay));
    tree_.emplace(std::move(tree));
    return {};
}

/// Mounts each of them in the tree, below what is there.
Result<> SourceImage::mount_volumes(MountedTree& tree, const std::vector<FstabVolume>& volumes,
                                    JournalReplay replay) {
    for (const auto& volume : volumes) {
        AMILIFT_TRY(auto place, volume_place(volume, replay));
        if (!place) continue;
        if (volume.mount_point == "/boot") AMILIFT_CHECK(look_below_boot(tree.root()));
        if (auto added = tree.add(disk_, *place, dev::Access::read_only); !added) {
            if (!added.error().is(Errc::not_found) && !added.error().is(Errc::corrupt)) {
                return added;
            }
            findings_.push_back({image::Severity::refusal, "mount-point-missing", "/etc/fstab",
                                 added.error().what, "what lies there cannot be converted",
                                 "make it a directory, then make the image again"});
            continue;
        }
        require_writable(*place);
        places_.push_back(*std::move(place));
    }
    return {};
}

/// What lies in the root's own /boot is out of sight once the partition is mounted there.
Result<> SourceImage::look_below_boot(const image::SafeRoot& root) {
    const auto below = root.open_directory("/boot");
    if (!below) {
        // Whether something can be mounted there at all is told elsewhere.
        if (below.error().is(Errc::io_error)) return std::unexpected(below.error());
        return {};
    }
    const auto file = image::first_file(*below);
    if (file) {
        if (*file) hidden_in_boot_ = fmt::format("/boot/{}", **file);
        return {};
    }
    if (!file.error().is(Errc::refused)) return std::unexpected(file.error());
    hidden_in_boot_ = "/boot";
    return {};
}

Result<> SourceImage::require_one_filesystem(std::string_view fstab) const {
    if (!has_partitions(contents_)) return {};
    const auto root = places_.front().partition;
    for (const auto& entry : image::parse_fstab(fstab)) {
        const auto* partition = find_partition(partitions_, boot_disk_.device_names, entry.spec);
        if (partition == nullptr || partition->number == root || entry.type == "swap") continue;
        if (entry.file == "/boot" || entry.file == "/boot/efi" || entry.file == "/efi") continue;
        return refuse(
            fmt::format("line {} of /etc/fstab mounts partition {} of '{}' at '{}': a paravirtual "
                        "image is one filesystem",
                        entry.line, partition->number, disk_.path(),
                        image::printable(entry.file, 80)),
            "move its files into the root filesystem, or make an HVM image", "other-filesystem");
    }
    if (hidden_in_boot_.empty()) return {};
    return refuse(
        fmt::format("the root filesystem has '{}' below the mount of /boot, where the "
                    "files of that partition are to be",
                    image::printable(hidden_in_boot_, 200)),
        "on the source, unmount /boot, remove what lies in the directory, mount it again, "
        "then make the image again",
        "hidden-boot-files");
}

/// Where to mount what fstab names; absent for the root once more, and for a subvolume that is not
/// there, which is a finding.
Result<std::optional<VolumePlace>> SourceImage::volume_place(const FstabVolume& volume,
                                                             JournalReplay replay) {
    const auto& partition = *volume.partition;
    auto place = place_of(partition, volume.mount_point);
    const auto same = std::ranges::find(places_, partition.number, &VolumePlace::partition);
    if (same != places_.end()) {
        place.filesystem = same->filesystem;
    } else {
        AMILIFT_CHECK(prepare(place, replay));
    }
    if (place.filesystem.type != dev::Filesystem::btrfs) {
        return same == places_.end() ? std::optional(std::move(place)) : std::nullopt;
    }
    if (!subvolumes_.contains(partition.number)) {
        AMILIFT_TRY(auto listed, subvolumes_at(disk_, place));
        subvolumes_.emplace(partition.number, std::move(listed));
    }
    const auto* subvolume = subvolumes_.at(partition.number).by_options(volume.options);
    if (subvolume == nullptr) {
        const auto severity =
            volume.mount_point == "/boot" ? image::Severity::refusal : image::Severity::warning;
        findings_.push_back(image::Finding{
            severity, "subvolume-missing", fmt::format("/etc/fstab:{}", volume.line),
            fmt::format("'{}' is to be mounted with '{}', and there is no such subvolume",
                        image::printable(volume.mount_point, 80),
                        image::printable(volume.options, 80)),
            "the guest finds nothing there", "mend the line, then make the image again"});
        return std::nullopt;
    }
    return with_subvolume(std::move(place), *subvolume);
}

/// A snapshot cannot be edited; systems that boot from one make a new one for each change.
void SourceImage::require_writable(const VolumePlace& place) {
    const auto listed = subvolumes_.find(place.partition);
    if (listed == subvolumes_.end()) return;
    const auto* subvolume = listed->second.by_id(place.subvolume_id);
    if (subvolume == nullptr || !subvolume->is_read_only) return;
    findings_.push_back({image::Severity::refusal, "btrfs-read-only", disk_.path(),
                         fmt::format("the subvolume '{}', which is '{}' of the system, is "
                                     "read-only",
                                     image::printable(subvolume->path, 80),
                                     image::printable(place.mount_point, 80)),
                         "nothing of it can be edited",
                         "make it writable with 'btrfs property set PATH ro false', then make the "
                         "image again"});
}

image::BootVolume SourceImage::boot_volume_of(const dev::Partition& partition) const {
    image::BootVolume volume{.partition = partition.number,
                             .mount_point = {},
                             .uuid = partition.filesystem.uuid,
                             .label = partition.filesystem.label};
    volume.partition_uuid = partition.uuid;
    const auto type = partition.filesystem.type;
    volume.grub_module = dev::is_ext(type) ? "ext2" : dev::to_string(type);
    for (const auto& place : places_) {
        if (place.partition != partition.number) continue;
        if (volume.mount_point.empty()) volume.mount_point = place.mount_point;
        if (place.filesystem.type != dev::Filesystem::btrfs) continue;
        volume.subvolumes.push_back({place.subvolume, place.mount_point});
    }
    if (const auto listed = subvolumes_.find(partition.number); listed != subvolumes_.end()) {
        const auto* chosen = listed->second.by_id(listed->second.default_id);
        if (chosen != nullptr) volume.default_subvolume = chosen->path;
    }
    return volume;
}

void SourceImage::describe_boot_disk(const dev::BootCodeInfo& code) {
    boot_disk_.is_gpt = contents_.layout == dev::DiskLayout::gpt;
    boot_disk_.code = boot_code(code.kind);
    boot_disk_.evidence = code.evidence;
    boot_disk_.volumes.clear();
    boot_disk_.names.clear();
    for (const auto& partition : partitions_) {
        if (dev::is_efi_system(partition)) boot_disk_.has_system_partition = true;
        if (!partition.content_uuid.empty()) {
            boot_disk_.names.push_back({partition.number, "UUID=" + partition.content_uuid});
        }
        if (partition.content != dev::PartitionContent::filesystem) continue;
        boot_disk_.volumes.push_back(boot_volume_of(partition));
    }
}

/// The index in places_ of the filesystem that holds /boot.
std::size_t SourceImage::boot_place() const {
    const auto found = std::ranges::find(places_, "/boot", &VolumePlace::mount_point);
    return found == places_.end() ? 0 : static_cast<std::size_t>(found - places_.begin());
}

Result<> SourceImage::require_room(std::uint64_t bytes, std::uint64_t files, RoomIn where) const {
    constexpr std::uint64_t kFew = std::uint64_t{1} << 20;
    const auto needed = kFew + bytes;
    const bool only_root = where == RoomIn::root;
    const auto boot = only_root ? 0 : boot_place();
    constexpr std::uint64_t kFewInodes = 16;
    for (std::size_t i = 0; i < (only_root ? 1 : tree_->size()); ++i) {
        struct statvfs room{};
        if (::fstatvfs(tree_->mount_at(i).root().get(), &room) != 0) {
            const int saved = errno;
            return core::fail_errno(
                saved, fmt::format("cannot ask how full the filesystem on '{}' is", disk_.path()));
        }
        // What is added to an initramfs lies where the kernels are.
        const auto wanted = i == boot ? needed : kFew;
        // f_bfree, not f_bavail: root may use the blocks that ext keeps back.
        const auto free_bytes = std::uint64_t{room.f_bfree} * room.f_frsize;
        const auto inodes = kFewInodes + (i == boot ? files : 0);
        if (free_bytes >= wanted && (room.f_files == 0 || room.f_ffree >= inodes)) continue;
        return refuse(fmt::format("the filesystem of '{}' on '{}' has {} KiB and {} inodes free, a "
                                  "conversion needs {} KiB and {}",
                                  places_[i].mount_point, disk_.path(), free_bytes >> 10,
                                  room.f_ffree, (wanted + 1023) >> 10, inodes),
                      "remove files from the source, then make the image again", "filesystem-full");
    }
    return {};
}

std::optional<image::Finding> SourceImage::other_root(std::string_view root_flags) const {
    const auto& place = places_.front();
    const auto listed = subvolumes_.find(place.partition);
    if (listed == subvolumes_.end()) return std::nullopt;
    const auto* booted = listed->second.by_options(root_flags);
    if (booted != nullptr && booted->id == place.subvolume_id) return std::nullopt;
    return image::Finding{
        image::Severity::refusal,
        "btrfs-other-subvolume",
        disk_.path(),
        fmt::format("the kernel is told to mount subvolume '{}' as the root, the system lies in "
                    "'{}'",
                    booted == nullptr ? image::printable(root_flags, 80)
                                      : image::printable(booted->path, 80),
                    image::printable(place.subvolume, 80)),
        "another system would boot than the one that is converted",
        "mend rootflags= of the boot entry, or make that subvolume the default"};
}

Result<dev::ExtentMap> SourceImage::used_extents() const {
    if (has_partitions(contents_)) return used_of_disk();
    return dev::map_used_extents(disk_, filesystem(), &tree_->mount_at(0).root());
}

/// Everything but the free blocks of filesystems and the inside of swap areas.
Result<dev::ExtentMap> SourceImage::used_of_disk() const {
    std::vector<dev::Extent> unused;
    for (const auto& partition : partitions_) {
        AMILIFT_TRY(const auto map, used_of(partition));
        // What the filesystem leaves of its partition belongs to nobody that is known: it stays.
        std::uint64_t at = 0;
        for (const auto& extent : map.used) {
            if (extent.offset > at)
                unused.push_back({partition.offset_bytes + at, extent.offset - at});
            at = extent.offset + extent.length;
        }
        const auto end = partition.content == dev::PartitionContent::swap
                             ? partition.size_bytes
                             : std::max(partition.filesystem.size_bytes, at);
        if (end > at) unused.push_back({partition.offset_bytes + at, end - at});
    }
    dev::ExtentMap map;
    map.used = dev::subtract_free(disk_.size_bytes(), std::move(unused));
    map.used_bytes = dev::total_bytes(map.used);
    map.method = "partitions";
    return map;
}

/// Of one partition, counted from its start.
Result<dev::ExtentMap> SourceImage::used_of(const dev::Partition& partition) const {
    constexpr std::uint64_t kSwapHeader = 65536;
    dev::ExtentMap whole;
    whole.used.push_back({0, partition.size_bytes});
    if (partition.content == dev::PartitionContent::swap) {
        whole.used.front().length = std::min(kSwapHeader, partition.size_bytes);
        return whole;
    }
    if (partition.content != dev::PartitionContent::filesystem) return whole;
    const auto place = std::ranges::find(places_, partition.number, &VolumePlace::partition);
    if (place != places_.end()) {
        const auto index = static_cast<std::size_t>(place - places_.begin());
        AMILIFT_TRY(const auto device,
                    dev::BlockDevice::open(tree_->loop_at(index)->path(), dev::Access::read_only));
        auto map = dev::map_used_extents(device, place->filesystem, &tree_->mount_at(index).root());
        if (map) return map;
        return std::unexpected(std::move(map).error().with_context(
            fmt::format("partition {} of {}", partition.number, disk_.path())));
    }
    // Nothing of this one is edited; a map that cannot be had costs time only.
    auto tree = MountedTree::mount(disk_, place_of(partition, "/"), dev::Access::read_only);
    if (!tree) return whole;
    {
        AMILIFT_TRY(const auto device,
                    dev::BlockDevice::open(tree->loop_at(0)->path(), dev::Access::read_only));
        auto map = dev::map_used_extents(device, partition.filesystem, &tree->mount_at(0).root());
        if (map) whole = *std::move(map);
    }
    AMILIFT_CHECK(tree->unmount());
    return whole;
}

Result<> SourceImage::unmount() {
    if (tree_) AMILIFT_CHECK(tree_->unmount());
    tree_.reset();
    if (whole_disk_) AMILIFT_CHECK(whole_disk_->detach());
    whole_disk_.reset();
    return {};
}

}  // namespace amilift::worker
