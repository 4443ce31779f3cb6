// SPDX-License-Identifier: Apache-2.0
#include "worker/fstab_volumes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "image/fstab.hpp"
#include "image/text_lines.hpp"

namespace amilift::worker {
namespace {

constexpr std::size_t kMaxVolumes = 32;

/// "LABEL=/boot" or /dev/disk/by-label/x -> the value, for the tags `name`.
std::optional<std::string> tag(std::string_view spec, std::string_view name) {
    const auto link = fmt::format("/dev/disk/by-{}/", image::lower(name));
    if (spec.starts_with(link)) return std::string(spec.substr(link.size()));
    if (spec.size() <= name.size() || spec[name.size()] != '=' ||
        image::lower(spec.substr(0, name.size())) != image::lower(name)) {
        return std::nullopt;
    }
    auto value = spec.substr(name.size() + 1);
    if (value.size() >= 2 && value.front() == value.back() &&
        (value.front() == '"' || value.front() == '\'')) {
        value = value.substr(1, value.size() - 2);
    }
    return image::decode_octal(value);
}

template <class Matches>
const dev::Partition* find_if(const std::vector<dev::Partition>& partitions,
                              const Matches& matches) {
    const auto found = std::ranges::find_if(partitions, matches);
    return found == partitions.end() ? nullptr : &*found;
}

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

const dev::Partition* find_partition(const std::vector<dev::Partition>& partitions,
                                     std::string_view spec) {
    using dev::Partition;
    if (const auto uuid = tag(spec, "UUID")) {
        return find_if(partitions, [&](const Partition& p) {
            return !p.content_uuid.empty() && image::lower(p.content_uuid) == image::lower(*uuid);
        });
    }
    if (const auto label = tag(spec, "LABEL")) {
        return find_if(partitions, [&](const Partition& p) {
            return !p.filesystem.label.empty() && p.filesystem.label == *label;
        });
    }
    if (const auto uuid = tag(spec, "PARTUUID")) {
        return find_if(partitions,
                       [&](const Partition& p) { return p.uuid == image::lower(*uuid); });
    }
    for (const std::string_view disk :
         {"/dev/sda", "/dev/xvda", "/dev/xvde", "/dev/hda", "/dev/vda", "/dev/nvme0n1p"}) {
        if (!spec.starts_with(disk)) continue;
        const std::string digits(spec.substr(disk.size()));
        int number = 0;
        const auto* const end = digits.data() + digits.size();
        const auto parsed = std::from_chars(digits.data(), end, number);
        if (digits.empty() || parsed.ec != std::errc{} || parsed.ptr != end) continue;
        return find_if(partitions, [&](const Partition& p) { return p.number == number; });
    }
    return nullptr;
}

FstabVolumes read_fstab_volumes(const std::vector<dev::Partition>& partitions,
                                const dev::Partition& root, std::string_view fstab) {
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
        const auto* partition = find_partition(partitions, entry.spec);
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
