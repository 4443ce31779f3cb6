// SPDX-License-Identifier: Apache-2.0
#include "worker/root_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "image/facts.hpp"
#include "image/fstab.hpp"
#include "image/root_disk.hpp"
#include "image/text_lines.hpp"
#include "worker/fstab_volumes.hpp"

namespace amilift::worker {

using core::Errc;
using core::fail;
using core::Result;

namespace {

/// A subvolume with a system in it.
struct RootSubvolume {
    dev::BtrfsSubvolume subvolume;
    bool is_named = false;  ///< by its own fstab, as "/"
};

VolumePlace top_level_of(VolumePlace place) {
    place.mount_point = "/";
    return with_subvolume(std::move(place), {});
}

Result<bool> names_itself(const image::SafeRoot& root, const dev::BtrfsSubvolumes& subvolumes,
                          const dev::BtrfsSubvolume& subvolume) {
    AMILIFT_TRY(const auto fstab, fstab_of(root));
    const auto entries = image::parse_fstab(fstab);
    const auto entry = std::ranges::find(entries, "/", &image::FstabEntry::file);
    if (entry == entries.end() || entry->options.find("subvol") == std::string::npos) return false;
    const auto* named = subvolumes.by_options(entry->options);
    return named != nullptr && *named == subvolume;
}

std::vector<dev::BtrfsSubvolume> likeliest(const std::vector<RootSubvolume>& candidates,
                                           const dev::BtrfsSubvolumes& subvolumes) {
    std::vector<dev::BtrfsSubvolume> named;
    std::vector<dev::BtrfsSubvolume> writable;
    std::vector<dev::BtrfsSubvolume> all;
    for (const auto id : {subvolumes.default_id, dev::kBtrfsTopLevel}) {
        for (const auto& candidate : candidates) {
            if (candidate.subvolume.id == id) return {candidate.subvolume};
        }
    }
    for (const auto& [subvolume, is_named] : candidates) {
        all.push_back(subvolume);
        if (is_named) named.push_back(subvolume);
        if (!subvolume.is_read_only) writable.push_back(subvolume);
    }
    if (named.size() == 1) return named;
    return writable.size() == 1 ? writable : all;
}

/// Why no partition is a root that amilift can work on.
std::unexpected<core::Error> no_root(const dev::BlockDevice& disk,
                                     const std::vector<dev::Partition>& partitions) {
    using dev::PartitionContent;
    struct Obstacle {
        PartitionContent content;
        const char* id;
        const char* hint;
    };
    for (const auto& reason :
         {Obstacle{PartitionContent::luks, "luks-root",
                   "copy the decrypted files to a plain partition; EBS encrypts volumes by itself"},
          Obstacle{PartitionContent::lvm, "lvm-root",
                   "copy the files of the root volume to a plain ext4 or XFS partition"},
          Obstacle{PartitionContent::raid, "raid-root",
                   "copy the files to a plain ext4 or XFS partition; EBS keeps copies by itself"},
          Obstacle{PartitionContent::btrfs_member, "btrfs-several-devices",
                   "move all of it to one device with 'btrfs device remove'"},
          Obstacle{PartitionContent::broken_filesystem, "filesystem-has-errors",
                   "repair it with fsck, on a copy if you need the original as it is"}}) {
        const auto found = std::ranges::find(partitions, reason.content, &dev::Partition::content);
        if (found == partitions.end()) continue;
        return fail(Errc::refused,
                    fmt::format("no partition of '{}' holds a root filesystem that amilift "
                                "reads; partition {} holds {}{}{}",
                                disk.path(), found->number, dev::to_string(found->content),
                                found->problem.empty() ? "" : ": ", found->problem),
                    reason.hint, reason.id);
    }
    return fail(Errc::refused,
                fmt::format("no partition of '{}' holds a root filesystem: /etc/fstab or "
                            "/etc/os-release, and an init, on ext2, ext3, ext4, XFS or btrfs",
                            disk.path()),
                "check that this is the disk that the system boots from", "no-root-partition");
}

/// Looks on each partition for a system.
class RootSearch {
  public:
    RootSearch(const dev::BlockDevice& disk, const std::vector<dev::Partition>& partitions,
               const MakeWhole& make_whole)
        : disk_(disk), partitions_(partitions), make_whole_(make_whole) {}

    Result<FoundRoot> run() {
        std::vector<FoundRoot> roots;
        std::vector<FoundRoot> named;
        std::optional<core::Error> unreadable;
        const auto take = [&](const dev::Partition& partition,
                              Result<std::optional<Candidate>> found) {
            if (!found) {
                if (!unreadable) unreadable = std::move(found).error();
                return;
            }
            if (!*found) return;
            roots.push_back({&partition, (*found)->place, {}});
            if ((*found)->is_named) named.push_back(roots.back());
        };
        const auto may_replay = [&](const dev::Partition& partition) {
            return make_whole_ && partition.filesystem.needs_recovery;
        };
        for (const auto& partition : partitions_) {
            if (partition.content != dev::PartitionContent::filesystem) continue;
            auto found = look_for_root(partition);
            if (!found && found.error().is(Errc::refused)) {
                return std::unexpected(std::move(found).error());
            }
            if (!found && may_replay(partition)) found = look_after_replay(partition);
            take(partition, std::move(found));
        }
        for (const auto& partition : partitions_) {
            if (!roots.empty() || partition.content != dev::PartitionContent::filesystem) continue;
            if (may_replay(partition)) take(partition, look_after_replay(partition));
        }
        if (roots.size() == 1) return with_subvolumes(roots.front());
        // Of several systems, the one that says itself that it lies where it lies.
        if (named.size() == 1) return with_subvolumes(named.front());
        if (roots.size() > 1) {
            return fail(
                Errc::refused,
                fmt::format("partitions {} and {} of '{}' hold a root filesystem each",
                            roots[0].partition->number, roots[1].partition->number, disk_.path()),
                "remove the system that is not meant to boot, then make the image again",
                "several-roots");
        }
        if (unreadable) return std::unexpected(*std::move(unreadable));
        return no_root(disk_, partitions_);
    }

  private:
    struct Candidate {
        VolumePlace place;
        bool is_named = false;  ///< by its own fstab, as "/"
    };

    FoundRoot with_subvolumes(FoundRoot root) {
        root.subvolumes = std::move(subvolumes_);
        return root;
    }

    /// What of the partition may be the root: one place, or several subvolumes of a btrfs.
    Result<std::vector<VolumePlace>> roots_on(const dev::Partition& partition) {
        auto place = place_of(partition, "/");
        if (partition.filesystem.type != dev::Filesystem::btrfs) {
            return std::vector{std::move(place)};
        }
        AMILIFT_TRY(auto subvolumes, subvolumes_at(disk_, place));
        AMILIFT_TRY(const auto found, find_root_subvolumes(disk_, place, subvolumes));
        subvolumes_.insert_or_assign(partition.number, std::move(subvolumes));
        if (found.size() > 1) {
            return several_roots(
                fmt::format("partition {} of '{}'", partition.number, disk_.path()), found);
        }
        std::vector<VolumePlace> places;
        for (const auto& subvolume : found) places.push_back(with_subvolume(place, subvolume));
        return places;
    }

    Result<std::optional<Candidate>> look_for_root(const dev::Partition& partition) {
        AMILIFT_TRY(const auto places, roots_on(partition));
        if (places.empty()) return std::nullopt;
        AMILIFT_TRY(auto tree, MountedTree::mount(disk_, places.front(), dev::Access::read_only));
        AMILIFT_TRY(const bool is_root, looks_like_root(tree.root()));
        std::optional<Candidate> found;
        if (is_root) {
            AMILIFT_TRY(const auto fstab, fstab_of(tree.root()));
            const auto entries = image::parse_fstab(fstab);
            const auto entry = std::ranges::find(entries, "/", &image::FstabEntry::file);
            const auto names = image::root_disk_names({}, {.fstab = fstab, .root_argument = {}});
            const bool is_named = entry != entries.end() &&
                                  find_partition(partitions_, names, entry->spec) == &partition;
            found = Candidate{places.front(), is_named};
        }
        AMILIFT_CHECK(tree.unmount());
        return found;
    }

    /// What is out of order on the disk may be whole in the journal.
    Result<std::optional<Candidate>> look_after_replay(const dev::Partition& partition) {
        AMILIFT_CHECK(make_whole_(partition));
        return look_for_root(partition);
    }

    const dev::BlockDevice& disk_;
    const std::vector<dev::Partition>& partitions_;
    const MakeWhole& make_whole_;
    std::map<int, dev::BtrfsSubvolumes> subvolumes_;
};

}  // namespace

Result<bool> looks_like_root(const image::SafeRoot& root) {
    const auto has = [&](std::string_view path) -> Result<bool> {
        auto status = root.link_status(path);
        if (status) return status->kind != image::FileKind::missing;
        if (status.error().is(Errc::io_error)) return std::unexpected(std::move(status).error());
        return false;
    };
    bool has_init = false;
    for (const std::string_view path : {"/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd",
                                        "/lib/systemd/systemd", "/bin/systemd"}) {
        AMILIFT_TRY(const bool there, has(path));
        has_init = has_init || there;
    }
    AMILIFT_TRY(const bool has_fstab, has("/etc/fstab"));
    AMILIFT_TRY(const bool has_release, has("/etc/os-release"));
    return has_init && (has_fstab || has_release);
}

Result<std::string> fstab_of(const image::SafeRoot& root) {
    auto text = root.read("/etc/fstab", image::kTextLimit);
    if (text) return *std::move(text);
    if (text.error().is(Errc::io_error)) return std::unexpected(std::move(text).error());
    return std::string{};
}

VolumePlace with_subvolume(VolumePlace place, const dev::BtrfsSubvolume& subvolume) {
    place.subvolume_id = subvolume.id;
    place.subvolume = subvolume.path;
    return place;
}

Result<dev::BtrfsSubvolumes> subvolumes_at(const dev::BlockDevice& disk, const VolumePlace& place) {
    AMILIFT_TRY(auto tree, MountedTree::mount(disk, top_level_of(place), dev::Access::read_only));
    AMILIFT_TRY(auto subvolumes, dev::list_btrfs_subvolumes(tree.mount_at(0).root(), disk.path()));
    AMILIFT_CHECK(tree.unmount());
    return subvolumes;
}

Result<std::vector<dev::BtrfsSubvolume>> find_root_subvolumes(
    const dev::BlockDevice& disk, const VolumePlace& place,
    const dev::BtrfsSubvolumes& subvolumes) {
    AMILIFT_TRY(auto tree, MountedTree::mount(disk, top_level_of(place), dev::Access::read_only));
    std::vector<RootSubvolume> candidates;
    for (const auto& subvolume : subvolumes.all) {
        auto directory = dev::open_btrfs_subvolume(tree.mount_at(0).root(), subvolume);
        if (!directory) continue;
        const image::SafeRoot root(*std::move(directory));
        AMILIFT_TRY(const bool is_root, looks_like_root(root));
        if (!is_root) continue;
        AMILIFT_TRY(const bool is_named, names_itself(root, subvolumes, subvolume));
        candidates.push_back({subvolume, is_named});
    }
    AMILIFT_CHECK(tree.unmount());
    return likeliest(candidates, subvolumes);
}

VolumePlace place_of(const dev::Partition& partition, std::string mount_point) {
    return {partition.number, std::move(mount_point), partition.offset_bytes, partition.filesystem};
}

std::unexpected<core::Error> several_roots(const std::string& name,
                                           const std::vector<dev::BtrfsSubvolume>& roots) {
    return fail(
        Errc::refused,
        fmt::format("subvolumes '{}' and '{}' of the btrfs on {} hold a root filesystem "
                    "each",
                    image::printable(roots[0].path, 80), image::printable(roots[1].path, 80), name),
        "make the one that boots the default with 'btrfs subvolume set-default', then "
        "make the image again",
        "several-roots");
}

Result<FoundRoot> find_root(const dev::BlockDevice& disk,
                            const std::vector<dev::Partition>& partitions,
                            const MakeWhole& make_whole) {
    return RootSearch(disk, partitions, make_whole).run();
}

}  // namespace amilift::worker
