// SPDX-License-Identifier: Apache-2.0
#include "dev/btrfs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <map>

#include "dev/btrfs_search.hpp"
#include "dev/byte_order.hpp"

namespace amilift::dev {
namespace {

using core::Result;

constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();
/// Inode number of the root directory of each subvolume.
constexpr std::uint64_t kRootInode = BTRFS_FIRST_FREE_OBJECTID;
constexpr int kMaxNesting = 32;

/// Where a subvolume lies: the name of its entry in a directory of its parent.
struct Place {
    std::uint64_t parent = 0;
    std::uint64_t directory = 0;
    std::string name;
};

/// Path of a directory inside its subvolume, with a slash at its end; empty for the root directory.
std::optional<std::string> directory_path(const core::Fd& mounted, std::uint64_t subvolume,
                                          std::uint64_t directory) {
    btrfs_ioctl_ino_lookup_args arguments{};
    arguments.treeid = subvolume;
    arguments.objectid = directory;
    if (::ioctl(mounted.get(), BTRFS_IOC_INO_LOOKUP, &arguments) != 0) return std::nullopt;
    return std::string(arguments.name, ::strnlen(arguments.name, sizeof(arguments.name)));
}

std::optional<std::string> path_of(const core::Fd& mounted, std::uint64_t id,
                                   const std::map<std::uint64_t, Place>& places) {
    std::string path;
    for (int depth = 0; id != kBtrfsTopLevel; ++depth) {
        const auto place = places.find(id);
        if (place == places.end() || depth == kMaxNesting) return std::nullopt;
        const auto& [parent, directory, name] = place->second;
        const auto above = directory_path(mounted, parent, directory);
        if (!above || name.find('/') != std::string::npos) return std::nullopt;
        path = path.empty() ? *above + name : *above + name + "/" + path;
        if (path.size() > PATH_MAX) return std::nullopt;
        id = parent;
    }
    return path;
}

/// The subvolume at a path, opened without following a link; invalid if it is none.
core::Fd open_subvolume(const core::Fd& top_level, const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const auto* const name = path.empty() ? "." : path.c_str();
    const auto fd = ::syscall(SYS_openat2, top_level.get(), name, &how, sizeof(how));
    core::Fd opened(fd < 0 ? -1 : static_cast<int>(fd));
    struct stat status{};
    if (!opened || ::fstat(opened.get(), &status) != 0 || status.st_ino != kRootInode) return {};
    return opened;
}

/// Number of the subvolume whose root directory is open.
std::optional<std::uint64_t> id_of(const core::Fd& subvolume) {
    btrfs_ioctl_ino_lookup_args arguments{};
    arguments.objectid = kRootInode;
    if (::ioctl(subvolume.get(), BTRFS_IOC_INO_LOOKUP, &arguments) != 0) return std::nullopt;
    return arguments.treeid;
}

std::string_view plain(std::string_view path) {
    while (path.starts_with('/')) path.remove_prefix(1);
    while (path.ends_with('/')) path.remove_suffix(1);
    return path;
}

}  // namespace

const BtrfsSubvolume* BtrfsSubvolumes::by_id(std::uint64_t id) const {
    const auto found = std::ranges::find(all, id, &BtrfsSubvolume::id);
    return found == all.end() ? nullptr : &*found;
}

const BtrfsSubvolume* BtrfsSubvolumes::by_path(std::string_view path) const {
    const auto found = std::ranges::find(all, plain(path), &BtrfsSubvolume::path);
    return found == all.end() ? nullptr : &*found;
}

const BtrfsSubvolume* BtrfsSubvolumes::by_options(std::string_view options) const {
    constexpr std::string_view kPath = "subvol=";
    constexpr std::string_view kId = "subvolid=";
    const auto* chosen = by_id(default_id);
    while (!options.empty()) {
        const auto comma = std::min(options.find(','), options.size());
        const auto option = options.substr(0, comma);
        if (option.starts_with(kPath)) chosen = by_path(option.substr(kPath.size()));
        if (option.starts_with(kId)) {
            const std::string digits(option.substr(kId.size()));
            std::uint64_t id = 0;
            const auto* const end = digits.data() + digits.size();
            const auto parsed = std::from_chars(digits.data(), end, id);
            const bool is_number = parsed.ec == std::errc{} && parsed.ptr == end;
            // mount(8) takes 0 for the top level.
            chosen = is_number ? by_id(id == 0 ? kBtrfsTopLevel : id) : nullptr;
        }
        options.remove_prefix(std::min(comma + 1, options.size()));
    }
    return chosen;
}

Result<BtrfsSubvolumes> list_btrfs_subvolumes(const core::Fd& top_level, const std::string& name) {
    BtrfsSubvolumes subvolumes;
    subvolumes.all.push_back({});
    // The directory of the root tree has one entry, "default": its key is the subvolume's.
    AMILIFT_CHECK(search_btrfs_tree(top_level, BTRFS_ROOT_TREE_OBJECTID,
                                    {BTRFS_ROOT_TREE_DIR_OBJECTID, BTRFS_DIR_ITEM_KEY, 0},
                                    {BTRFS_ROOT_TREE_DIR_OBJECTID, BTRFS_DIR_ITEM_KEY, kMax64},
                                    name, [&](const BtrfsKey&, std::span<const std::byte> data) {
                                        if (data.size() >= 8)
                                            subvolumes.default_id = load_le<std::uint64_t>(data, 0);
                                        return false;
                                    }));
    std::map<std::uint64_t, Place> places;
    AMILIFT_CHECK(search_btrfs_tree(
        top_level, BTRFS_ROOT_TREE_OBJECTID, {kRootInode, BTRFS_ROOT_BACKREF_KEY, 0},
        {kMax64, BTRFS_ROOT_BACKREF_KEY, kMax64}, name,
        [&](const BtrfsKey& key, std::span<const std::byte> data) {
            constexpr std::size_t kNameAt = 18;
            if (key.type != BTRFS_ROOT_BACKREF_KEY || data.size() < kNameAt) return true;
            const std::size_t length = load_le<std::uint16_t>(data, 16);
            if (length > data.size() - kNameAt) return true;
            Place place{key.offset, load_le<std::uint64_t>(data, 0), {}};
            for (const auto b : data.subspan(kNameAt, length)) {
                place.name += std::to_integer<char>(b);
            }
            places.emplace(key.objectid, std::move(place));
            return places.size() < kMaxBtrfsSubvolumes;
        }));
    for (const auto& [id, place] : places) {
        auto path = path_of(top_level, id, places);
        if (!path) continue;
        // What the trees say is proved by going there.
        const auto opened = open_subvolume(top_level, *path);
        if (!opened || id_of(opened) != id) continue;
        std::uint64_t flags = 0;
        const bool known = ::ioctl(opened.get(), BTRFS_IOC_SUBVOL_GETFLAGS, &flags) == 0;
        subvolumes.all.push_back(
            {id, *std::move(path), known && (flags & BTRFS_SUBVOL_RDONLY) != 0});
    }
    if (subvolumes.by_id(subvolumes.default_id) == nullptr) subvolumes.default_id = kBtrfsTopLevel;
    return subvolumes;
}

Result<core::Fd> open_btrfs_subvolume(const core::Fd& top_level, const BtrfsSubvolume& subvolume) {
    auto opened = open_subvolume(top_level, subvolume.path);
    if (opened) return opened;
    return core::fail(core::Errc::not_found,
                      fmt::format("btrfs has no subvolume '{}'", subvolume.path));
}

Result<> grow_btrfs(const core::Fd& mounted, const std::string& name) {
    btrfs_ioctl_fs_info_args info{};
    btrfs_ioctl_vol_args wanted{};
    int done = ::ioctl(mounted.get(), BTRFS_IOC_FS_INFO, &info);
    if (done == 0) {
        // The device need not be number 1: others may have come and gone.
        const auto text = fmt::format("{}:max", info.max_id);
        text.copy(wanted.name, sizeof(wanted.name) - 1);
        done = ::ioctl(mounted.get(), BTRFS_IOC_RESIZE, &wanted);
    }
    if (done != 0) {
        const int saved = errno;
        return core::fail_errno(saved,
                                fmt::format("the kernel cannot grow the btrfs on '{}'", name),
                                "convert without a size, and grow the filesystem on the instance");
    }
    return {};
}

}  // namespace amilift::dev
