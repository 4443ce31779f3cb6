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

std::optional<int> whole_number(std::string_view text) {
    int value = 0;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end || value < 0) {
        return std::nullopt;
    }
    return value;
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
    for (const auto& volume : volumes) {
        const auto& point = volume.mount_point;
        const bool inside =
            point == "/" || (!point.empty() && tree_path.starts_with(point) &&
                             (tree_path.size() == point.size() || tree_path[point.size()] == '/'));
        if (inside && (best == nullptr || point.size() > best->mount_point.size())) best = &volume;
    }
    return best;
}

const BootVolume* BootDisk::partition(int number) const {
    for (const auto& volume : volumes) {
        if (volume.partition == number) return &volume;
    }
    return nullptr;
}

std::optional<std::string> tree_path(const BootVolume& volume, std::string_view path) {
    if (volume.mount_point.empty() || !path.starts_with('/')) return std::nullopt;
    if (volume.mount_point == "/") return std::string(path);
    return volume.mount_point + std::string(path);
}

std::string path_on_volume(const BootVolume& volume, std::string_view tree_path) {
    if (volume.mount_point != "/" && tree_path.starts_with(volume.mount_point)) {
        tree_path.remove_prefix(volume.mount_point.size());
    }
    return tree_path.empty() ? "/" : std::string(tree_path);
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
