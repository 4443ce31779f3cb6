// SPDX-License-Identifier: Apache-2.0
#include "image/boot_disk.hpp"

#include <fmt/format.h>

#include <charconv>

namespace amilift::image {

namespace {

/// "hd0,msdos1" without parentheses around it.
std::string_view bare_device(std::string_view device) {
    if (device.starts_with('(') && device.ends_with(')')) {
        device.remove_prefix(1);
        device.remove_suffix(1);
    }
    return device;
}

std::optional<int> whole_number(std::string_view digits) {
    const std::string text(digits);
    int value = 0;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end || value < 0) {
        return std::nullopt;
    }
    return value;
}

/// Is `path` the directory `point`, or below it?
bool is_below(std::string_view path, std::string_view point) {
    if (point == "/") return true;
    return !point.empty() && path.starts_with(point) &&
           (path.size() == point.size() || path[point.size()] == '/');
}

/// `path`, which begins with '/', below `point`.
std::string joined(std::string_view point, std::string_view path) {
    if (point == "/") return std::string(path);
    std::string out(point);
    if (path != "/") out += path;
    return out;
}

/// `path` as it is called below `point`.
std::string without(std::string_view point, std::string_view path) {
    if (point != "/" && path.starts_with(point)) path.remove_prefix(point.size());
    return path.empty() ? "/" : std::string(path);
}

}  // namespace

std::string_view to_string(BootCode code) noexcept {
    switch (code) {
        case BootCode::grub2:
            return "GRUB 2";
        case BootCode::grub_legacy:
            return "GRUB 0.97";
        case BootCode::extlinux:
            return "extlinux";
        case BootCode::unknown:
            return "unknown";
        case BootCode::none:
            break;
    }
    return "none";
}

const BootVolume* BootDisk::holder_of(std::string_view tree_path) const {
    const BootVolume* best = nullptr;
    std::size_t longest = 0;
    const auto consider = [&](const BootVolume& volume, std::string_view point) {
        if (!is_below(tree_path, point) || (best != nullptr && point.size() <= longest)) return;
        best = &volume;
        longest = point.size();
    };
    for (const auto& volume : volumes) {
        consider(volume, volume.mount_point);
        for (const auto& subvolume : volume.subvolumes) consider(volume, subvolume.mount_point);
    }
    return best;
}

const BootVolume* BootDisk::partition(int number) const {
    for (const auto& volume : volumes) {
        if (volume.partition == number) return &volume;
    }
    return nullptr;
}

std::optional<std::string> tree_path(const BootVolume& volume, std::string_view path,
                                     SubvolumeView view) {
    if (!path.starts_with('/')) return std::nullopt;
    if (volume.subvolumes.empty()) {
        if (volume.mount_point.empty()) return std::nullopt;
        return joined(volume.mount_point, path);
    }
    std::string from_top(path);
    if (view == SubvolumeView::default_subvolume) {
        from_top = joined("/" + volume.default_subvolume, path);
    }
    const BootSubvolume* best = nullptr;
    for (const auto& subvolume : volume.subvolumes) {
        if (is_below(from_top, "/" + subvolume.path) &&
            (best == nullptr || subvolume.path.size() > best->path.size())) {
            best = &subvolume;
        }
    }
    if (best == nullptr) return std::nullopt;
    return joined(best->mount_point, without("/" + best->path, from_top));
}

std::string path_on_volume(const BootVolume& volume, std::string_view tree_path,
                           SubvolumeView view) {
    if (volume.subvolumes.empty()) return without(volume.mount_point, tree_path);
    const BootSubvolume* best = nullptr;
    for (const auto& subvolume : volume.subvolumes) {
        if (is_below(tree_path, subvolume.mount_point) &&
            (best == nullptr || subvolume.mount_point.size() > best->mount_point.size())) {
            best = &subvolume;
        }
    }
    if (best == nullptr) return std::string(tree_path);
    const auto from_top = joined("/" + best->path, without(best->mount_point, tree_path));
    const auto start = "/" + volume.default_subvolume;
    const bool relative = view == SubvolumeView::default_subvolume && is_below(from_top, start);
    return relative ? without(start, from_top) : from_top;
}

std::string grub2_device(const BootDisk& disk, const BootVolume& volume) {
    if (volume.partition == 0) return "hd0";
    return fmt::format("hd0,{}{}", disk.is_gpt ? "gpt" : "msdos", volume.partition);
}

const BootVolume* find_grub2_device(const BootDisk& disk, std::string_view device) {
    device = bare_device(device);
    if (!device.starts_with("hd0")) return nullptr;
    device.remove_prefix(3);
    if (device.empty()) return disk.partition(0);
    if (device.front() != ',') return nullptr;
    device.remove_prefix(1);
    for (const std::string_view map : {"msdos", "gpt"}) {
        if (device.starts_with(map)) {
            // The name of the other kind of table finds nothing, as in GRUB.
            if ((map == "gpt") != disk.is_gpt) return nullptr;
            device.remove_prefix(map.size());
            break;
        }
    }
    const auto number = whole_number(device);
    return number && *number > 0 ? disk.partition(*number) : nullptr;
}

const BootVolume* find_grub_legacy_device(const BootDisk& disk, std::string_view device) {
    device = bare_device(device);
    if (!device.starts_with("hd0")) return nullptr;
    device.remove_prefix(3);
    if (!disk.is_partitioned()) {
        return device.empty() || device == ",0" ? &disk.volumes.front() : nullptr;
    }
    if (!device.starts_with(',')) return nullptr;
    const auto number = whole_number(device.substr(1));
    return number && *number < 128 ? disk.partition(*number + 1) : nullptr;
}

}  // namespace amilift::image
