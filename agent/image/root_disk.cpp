// SPDX-License-Identifier: Apache-2.0
#include "image/root_disk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/text.hpp"
#include "image/fstab.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

/// A first disk: of SCSI and of Xen, of an emulated IDE controller, of virtio, of NVMe.
constexpr std::array<std::string_view, 5> kFirstDisks{"/dev/xvda", "/dev/sda", "/dev/hda",
                                                      "/dev/vda", "/dev/nvme0n1"};
constexpr std::string_view kShiftedDisk = "/dev/xvde";

using core::is_digit;

bool is_letter(char c) {
    return c >= 'a' && c <= 'z';
}

/// Absent: no number from 1 on.
std::optional<int> number_of(std::string_view text) {
    const std::string digits(text);
    int value = 0;
    const auto* const end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, value);
    if (digits.empty() || parsed.ec != std::errc{} || parsed.ptr != end || value < 1) {
        return std::nullopt;
    }
    return value;
}

std::size_t skip(std::string_view text, std::size_t at, bool (*is_wanted)(char)) {
    while (at < text.size() && is_wanted(text[at])) ++at;
    return at;
}

/// Where the disk's name ends in a spec that begins with it; 0: it is no disk.
std::size_t disk_end(std::string_view spec) {
    constexpr std::string_view kNvme = "/dev/nvme";
    if (spec.starts_with(kNvme)) {
        const auto controller = skip(spec, kNvme.size(), is_digit);
        if (controller == kNvme.size() || controller == spec.size() || spec[controller] != 'n') {
            return 0;
        }
        const auto end = skip(spec, controller + 1, is_digit);
        return end == controller + 1 ? 0 : end;
    }
    for (const std::string_view kind : {"/dev/sd", "/dev/xvd", "/dev/hd", "/dev/vd"}) {
        if (!spec.starts_with(kind)) continue;
        const auto end = skip(spec, kind.size(), is_letter);
        return end == kind.size() ? 0 : end;
    }
    return 0;
}

template <class Matches>
std::optional<int> number_where(std::span<const NamedPartition> partitions,
                                const Matches& matches) {
    const auto found = std::ranges::find_if(partitions, matches);
    return found == partitions.end() ? std::nullopt : std::optional(found->number);
}

bool is_first_disk(std::string_view disk) {
    return disk == kShiftedDisk || std::ranges::find(kFirstDisks, disk) != kFirstDisks.end();
}

/// Do two first disks have their names from one driver?
bool same_driver(std::string_view a, std::string_view b) {
    return a.substr(0, a.size() - 1) == b.substr(0, b.size() - 1);
}

void add_once(std::vector<std::string>& names, std::string name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
}

bool uses_disk(const std::vector<FstabEntry>& entries, std::string_view disk) {
    return std::ranges::any_of(entries, [&](const FstabEntry& entry) {
        const auto device = parse_device_name(entry.spec);
        return device && device->disk == disk;
    });
}

/// ext2, ext3 and ext4 are mounted as one another.
std::string_view family(std::string_view type) {
    return type.starts_with("ext") ? "ext" : type;
}

bool contradicts(std::string_view wanted, std::string_view found) {
    if ((wanted == "swap") != (found == "swap")) return true;
    const bool says_nothing = wanted.empty() || wanted == "auto" || found.empty();
    return !says_nothing && family(wanted) != family(found);
}

class Guess {
  public:
    Guess(std::span<const NamedPartition> partitions, const std::vector<FstabEntry>& entries,
          int root)
        : partitions_(partitions), entries_(entries), root_(root) {}

    /// Can all entries that name a partition of this disk mean the image's?
    [[nodiscard]] bool may_be(std::string_view disk) const {
        return std::ranges::all_of(entries_, [&](const FstabEntry& entry) {
            const auto device = parse_device_name(entry.spec);
            return !device || device->disk != disk || fits(entry, device->partition);
        });
    }

  private:
    [[nodiscard]] bool fits(const FstabEntry& entry, int number) const {
        const auto found = std::ranges::find(partitions_, number, &NamedPartition::number);
        if (found == partitions_.end() || contradicts(entry.type, found->type)) return false;
        // Subvolumes of one filesystem are mounted at several places.
        if (found->type == "btrfs") return true;
        return number != root_ && std::ranges::none_of(entries_, [&](const FstabEntry& other) {
                   return find_partition(partitions_, {}, other.spec) == number;
               });
    }

    std::span<const NamedPartition> partitions_;
    const std::vector<FstabEntry>& entries_;
    int root_;
};

}  // namespace

std::optional<DeviceName> parse_device_name(std::string_view spec) {
    const auto end = disk_end(spec);
    if (end == 0) return std::nullopt;
    DeviceName out{.disk = std::string(spec.substr(0, end))};
    auto rest = spec.substr(end);
    if (rest.empty()) return out;
    if (is_digit(out.disk.back())) {
        if (!rest.starts_with('p')) return std::nullopt;
        rest.remove_prefix(1);
    }
    const auto number = number_of(rest);
    if (!number) return std::nullopt;
    out.partition = *number;
    return out;
}

std::string partition_device(std::string_view disk, int partition) {
    return fmt::format("{}{}{}", disk, !disk.empty() && is_digit(disk.back()) ? "p" : "",
                       partition);
}

std::optional<int> find_partition(std::span<const NamedPartition> partitions,
                                  std::span<const std::string> disks, std::string_view spec) {
    if (const auto uuid = tag_value(spec, "UUID")) {
        return number_where(partitions, [&](const NamedPartition& p) {
            return !p.uuid.empty() && core::lower(p.uuid) == core::lower(*uuid);
        });
    }
    if (const auto label = tag_value(spec, "LABEL")) {
        return number_where(partitions, [&](const NamedPartition& p) {
            return !p.label.empty() && p.label == *label;
        });
    }
    if (const auto uuid = tag_value(spec, "PARTUUID")) {
        return number_where(partitions, [&](const NamedPartition& p) {
            return !p.partuuid.empty() && p.partuuid == core::lower(*uuid);
        });
    }
    const auto device = parse_device_name(spec);
    if (!device || std::ranges::find(disks, device->disk) == disks.end()) return std::nullopt;
    return number_where(partitions,
                        [&](const NamedPartition& p) { return p.number == device->partition; });
}

bool shifts_disk_names(const OsFacts& os) {
    constexpr std::array<std::string_view, 6> kFamily{"rhel",       "redhat", "centos",
                                                      "scientific", "ol",     "cloudlinux"};
    return std::ranges::find(kFamily, os.id) != kFamily.end() &&
           (os.version == "6" || os.version.starts_with("6."));
}

std::vector<std::string> root_disk_names(std::span<const NamedPartition> partitions,
                                         const RootDiskClues& clues) {
    const auto entries = parse_fstab(clues.fstab);
    std::vector<std::string> names;
    for (const auto& entry : entries) {
        const auto device = parse_device_name(entry.spec);
        if (!device) continue;
        // A /boot on /dev/sdf1 is on another disk, whatever "/" is called.
        const bool is_boot = entry.file == "/boot" && is_first_disk(device->disk);
        if (entry.file == "/" || is_boot) add_once(names, device->disk);
    }
    const bool in_fstab = !names.empty();
    const auto argument = parse_device_name(clues.root_argument);
    if (argument) add_once(names, argument->disk);
    if (in_fstab) return names;
    // The kernel of the menu may call a first disk otherwise than the one for which fstab was
    // written; but then fstab does not use both names.
    if (argument && (!is_first_disk(argument->disk) || uses_disk(entries, argument->disk))) {
        return names;
    }

    std::vector<std::string> guesses;
    const Guess guess(partitions, entries, clues.root);
    for (const auto& entry : entries) {
        const auto device = parse_device_name(entry.spec);
        if (!device || !is_first_disk(device->disk)) continue;
        if (device->disk == kShiftedDisk && !clues.shifts_names) continue;
        // One driver gives a disk one name: of /dev/xvda and /dev/xvde one is another disk.
        if (argument && same_driver(argument->disk, device->disk)) continue;
        if (guess.may_be(device->disk)) add_once(guesses, device->disk);
    }
    // Each of two could be it: the other one is a data volume then.
    if (guesses.size() == 1) add_once(names, guesses.front());
    return names;
}

}  // namespace amilift::image
