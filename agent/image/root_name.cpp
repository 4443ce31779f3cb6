// SPDX-License-Identifier: Apache-2.0
#include "image/root_name.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "image/fstab.hpp"
#include "image/kernel_arguments.hpp"

namespace amilift::image {

namespace {

/// What follows one of the prefixes, without quotes around it.
std::optional<std::string_view> value_behind(std::string_view root, std::string_view tag,
                                             std::string_view directory) {
    if (root.starts_with(tag)) {
        root.remove_prefix(tag.size());
    } else if (!directory.empty() && root.starts_with(directory)) {
        root.remove_prefix(directory.size());
    } else {
        return std::nullopt;
    }
    if (root.size() >= 2 && (root.front() == '"' || root.front() == '\'') &&
        root.back() == root.front()) {
        root.remove_prefix(1);
        root.remove_suffix(1);
    }
    return root;
}

/// UUIDs are hexadecimal digits, in whatever case.
bool same_uuid(std::string_view a, std::string_view b) {
    return !a.empty() && core::lower(a) == core::lower(b);
}

bool is_plain_word(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return c > ' ' && c < '\x7f' && c != '"' && c != '\'' && c != '\\' && c != '#';
    });
}

}  // namespace

std::optional<bool> names_volume(std::string_view root, const BootVolume& volume) {
    if (const auto label = value_behind(root, "LABEL=", "/dev/disk/by-label/")) {
        return !label->empty() && (*label == volume.label || decode_hex(*label) == volume.label);
    }
    if (const auto uuid = value_behind(root, "UUID=", "/dev/disk/by-uuid/")) {
        return same_uuid(*uuid, volume.uuid);
    }
    if (const auto uuid = value_behind(root, "PARTUUID=", "/dev/disk/by-partuuid/")) {
        // "PARTUUID=.../PARTNROFF=1" is a neighbour of that partition.
        if (volume.partition != 0 && uuid->find('/') != std::string_view::npos) return std::nullopt;
        return same_uuid(*uuid, volume.partition_uuid);
    }
    if (volume.partition == 0 && value_behind(root, "PARTLABEL=", "/dev/disk/by-partlabel/")) {
        return false;
    }
    return std::nullopt;
}

bool needs_initramfs(std::string_view root) {
    return root.starts_with("LABEL=") || root.starts_with("UUID=") ||
           root.starts_with("/dev/disk/");
}

bool names_partition(std::string_view root) {
    return root.starts_with("PARTUUID=") || root.starts_with("PARTLABEL=") ||
           root.starts_with("/dev/disk/by-partuuid/") ||
           root.starts_with("/dev/disk/by-partlabel/");
}

bool names_other_root(const BootDisk& disk, std::string_view root) {
    const auto* volume = disk.holder_of("/");
    return volume != nullptr && names_volume(root, *volume) == false;
}

std::string stable_root_name(std::string_view uuid, std::string_view label) {
    if (is_plain_word(uuid)) return "UUID=" + std::string(uuid);
    if (is_plain_word(label)) return "LABEL=" + std::string(label);
    return "";
}

bool can_rename_root(const BootDisk& disk, std::string_view root) {
    const auto* volume = disk.holder_of("/");
    if (volume == nullptr || stable_root_name(volume->uuid, volume->label).empty()) return false;
    return std::ranges::none_of(disk.volumes, [&](const BootVolume& other) {
        return &other != volume && names_volume(root, other) == true;
    });
}

std::vector<std::string> lost_root_names(const ImageFacts& facts) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < facts.boot_entries.size(); ++i) {
        if (i >= facts.kernel_of_entry.size() || !facts.kernel_of_entry[i]) continue;
        const auto root = last_value(facts.boot_entries[i].arguments, "root").value_or("");
        if (!names_other_root(facts.disk, root) || !can_rename_root(facts.disk, root)) continue;
        if (std::ranges::find(names, root) == names.end()) names.push_back(root);
    }
    return names;
}

}  // namespace amilift::image
