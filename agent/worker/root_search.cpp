// SPDX-License-Identifier: Apache-2.0
#include "worker/root_search.hpp"

#include <algorithm>

#include "image/facts.hpp"
#include "image/fstab.hpp"

namespace amilift::worker {

using core::Errc;
using core::Result;

namespace {

/// A subvolume with a system in it.
struct Candidate {
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

std::vector<dev::BtrfsSubvolume> likeliest(const std::vector<Candidate>& candidates,
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
    std::vector<Candidate> candidates;
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

}  // namespace amilift::worker
