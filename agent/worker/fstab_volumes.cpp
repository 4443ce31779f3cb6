// SPDX-License-Identifier: Apache-2.0
#include "worker/fstab_volumes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "image/fstab.hpp"
#include "image/text_lines.hpp"

namespace amilift::worker {
namespace {

constexpr std::size_t kMaxVolumes = 32;

bool is_mount_point(std::string_view path) {
    if (!path.starts_with('/') || path.size() < 2 || path.ends_with('/')) return false;
    for (std::size_t at = 1; at <= path.size();) {
        const auto end = std::min(path.find('/', at), path.size());
        const auto name = path.substr(at, end - at);
        if (name.empty() || name == "." || name == "..") return false;
        at = end + 1;
    }
    return true;
}

bool is_edited(std::string_view path) {
    return std::ranges::any_of(
        std::array<std::string_view, 4>{"/boot", "/usr", "/var", "/etc"}, [&](auto top) {
            return path == top || (path.starts_with(top) && path[top.size()] == '/');
        });
}

bool may_be_missing(const image::FstabEntry& entry) {
    const auto options = "," + entry.options + ",";
    return std::ranges::any_of(
        std::array<std::string_view, 3>{",noauto,", ",nofail,", ",nobootwait,"},
        [&](auto option) { return options.find(option) != std::string::npos; });
}

/// Something that the image itself does not hold: network, memory, a directory elsewhere.
bool is_no_disk(const image::FstabEntry& entry) {
    return !entry.spec.starts_with("/dev/") && entry.spec.find('=') == std::string::npos;
}

}  // namespace

std::vector<image::NamedPartition> named_partitions(const std::vector<dev::Partition>& partitions) {
    std::vector<image::NamedPartition> out;
    for (const auto& partition : partitions) {
        image::NamedPartition named{.number = partition.number,
                                    .uuid = partition.content_uuid,
                                    .label = partition.filesystem.label,
                                    .partuuid = partition.uuid,
                                    .type = {}};
        if (partition.content == dev::PartitionContent::filesystem) {
            named.type = dev::to_string(partition.filesystem.type);
        } else if (partition.content == dev::PartitionContent::swap) {
            named.type = "swap";
        }
        out.push_back(std::move(named));
    }
    return out;
}

const dev::Partition* find_partition(const std::vector<dev::Partition>& partitions,
                                     const std::vector<std::string>& disk_names,
                                     std::string_view spec) {
    const auto number = image::find_partition(named_partitions(partitions), disk_names, spec);
    if (!number) return nullptr;
    return &*std::ranges::find(partitions, *number, &dev::Partition::number);
}

FstabVolumes read_fstab_volumes(const std::vector<dev::Partition>& partitions,
                                const dev::Partition& root,
                                const std::vector<std::string>& disk_names,
                                std::string_view fstab) {
    using image::Severity;
    FstabVolumes out;
    const auto entries = image::parse_fstab(fstab);
    const auto root_entry = std::ranges::find(entries, "/", &image::FstabEntry::file);
    const bool has_subvolumes = root.filesystem.type == dev::Filesystem::btrfs;
    for (const auto& entry : entries) {
        if (is_no_disk(entry) || !is_mount_point(entry.file)) continue;
        const auto where = fmt::format("/etc/fstab:{}", entry.line);
        const auto seen = fmt::format("'{}' is mounted at '{}'", image::printable(entry.spec, 80),
                                      image::printable(entry.file, 80));
        const auto* partition = find_partition(partitions, disk_names, entry.spec);
        if (has_subvolumes && root_entry != entries.end() && entry.spec == root_entry->spec) {
            partition = &root;
        }
        const bool is_boot = entry.file == "/boot";
        if (partition == nullptr) {
            if (is_boot) {
                out.findings.push_back({Severity::refusal, "boot-partition-missing", where,
                                        seen + ", which is no partition of this disk",
                                        "the kernels that boot are not in the image",
                                        "put /boot on the disk of the image"});
            } else if (!may_be_missing(entry) && !image::is_unstable_device(entry.spec)) {
                out.findings.push_back({Severity::warning, "volume-not-on-disk", where,
                                        seen + ", which is no partition of this disk",
                                        "the boot waits for it when it is not attached",
                                        "attach that volume to new instances, or add 'nofail'"});
            }
            continue;
        }
        if ((partition == &root && !has_subvolumes) || !is_edited(entry.file)) continue;
        if (partition->content != dev::PartitionContent::filesystem) {
            if (is_boot) {
                out.findings.push_back(
                    {Severity::refusal, "boot-filesystem", where,
                     fmt::format("{}, which holds {}, expected ext2, ext3, ext4, XFS or btrfs",
                                 seen, dev::to_string(partition->content)),
                     "amilift cannot read the kernels that boot", "put /boot on ext4"});
            }
            continue;
        }
        const auto twice = std::ranges::find(out.volumes, partition, &FstabVolume::partition);
        if (twice != out.volumes.end() && partition->filesystem.type != dev::Filesystem::btrfs) {
            out.findings.push_back({Severity::refusal, "mounted-twice", where,
                                    fmt::format("{}, and at '{}', too", seen,
                                                image::printable(twice->mount_point, 80)),
                                    "its files cannot be edited safely in two places",
                                    "remove one of the lines"});
            continue;
        }
        if (out.volumes.size() < kMaxVolumes)
            out.volumes.push_back({partition, entry.file, entry.options, entry.line});
    }
    // What fstab mounts later on the same place hides the earlier one; nobody does that to /boot.
    // Not std::stable_sort: clang rejects libstdc++ 12's for its deprecated temporary buffer.
    const auto length = [](const FstabVolume& volume) { return volume.mount_point.size(); };
    std::vector<FstabVolume> sorted;
    for (auto& volume : out.volumes) {
        const auto place = std::ranges::upper_bound(sorted, length(volume), {}, length);
        sorted.insert(place, std::move(volume));
    }
    out.volumes = std::move(sorted);
    return out;
}

}  // namespace amilift::worker
