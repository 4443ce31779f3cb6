// SPDX-License-Identifier: Apache-2.0
#include "modules/in_place.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/fd.hpp"
#include "dev/file_extents.hpp"
#include "dev/partition_table.hpp"
#include "image/fstab.hpp"
#include "image/kernel_arguments.hpp"
#include "image/menu.hpp"
#include "image/text_lines.hpp"
#include "modules/grub2_image.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "bootloader";
/// ext keeps its first superblock behind them (fs/ext4/ext4.h).
constexpr std::size_t kFreeBytes = 1024;
/// More pieces than any core.img can list.
constexpr std::uint32_t kMostExtents = 64;
constexpr std::size_t kCoreFileLimit = 2U << 20;

using BootSectors = std::array<std::byte, kFreeBytes>;

constexpr const char* kUseMbr = "convert with target.layout: mbr";

Result<> refuse(std::string what, std::string hint, std::string id) {
    return fail(Errc::refused, std::move(what), std::move(hint), std::move(id));
}

Result<Grub2Image> build(core::CommandRunner& commands) {
    return build_grub2_image(commands, job::Layout::in_place);
}

/// Where the file core.img lies, in sectors.
Result<std::vector<SectorRun>> core_sectors(const image::SafeRoot& root, std::uint64_t bytes) {
    AMILIFT_TRY(const auto file, root.open_regular(kCorePath));
    AMILIFT_TRY(const auto extents,
                dev::map_file_extents(file, bytes, kMostExtents, std::string(kCorePath)));
    std::vector<SectorRun> runs;
    for (const auto& extent : extents) {
        // The kernel may tell neighbours as one or as two, from one call to the next.
        if (!runs.empty() &&
            (runs.back().start + runs.back().count) * dev::kSectorBytes == extent.offset) {
            runs.back().count += extent.length / dev::kSectorBytes;
            continue;
        }
        runs.push_back({extent.offset / dev::kSectorBytes, extent.length / dev::kSectorBytes});
    }
    return runs;
}

/// Whether the file is there, whole, and lists the sectors where it lies.
Result<bool> core_is_in_place(const image::SafeRoot& root, const Grub2Image& image) {
    AMILIFT_TRY(const auto status, root.link_status(kCorePath));
    const auto bytes = sectors_of(image.core.size()) * dev::kSectorBytes;
    if (status.kind != image::FileKind::regular || status.size_bytes != bytes) return false;
    const auto runs = core_sectors(root, bytes);
    if (!runs && runs.error().is(Errc::refused)) return false;
    if (!runs) return std::unexpected(runs.error());
    AMILIFT_TRY(const auto wanted, with_block_list(image.core, *runs));
    AMILIFT_TRY(const auto seen, root.read(kCorePath, kCoreFileLimit));
    return to_bytes(seen) == wanted;
}

std::string to_text(std::span<const std::byte> bytes) {
    std::string text(bytes.size(), '\0');
    std::ranges::transform(bytes, text.begin(),
                           [](std::byte b) { return std::to_integer<char>(b); });
    return text;
}

/// Writes the file, then the list of its own sectors over its first one. A file that is right
/// already, from a conversion that was interrupted, stays.
Result<> write_core(ApplyContext& context, const Grub2Image& image) {
    AMILIFT_TRY(const auto* root, context.target_root());
    AMILIFT_TRY(const auto status, root->link_status(kCorePath));
    if (status.kind == image::FileKind::regular) {
        AMILIFT_TRY(const bool is_right, core_is_in_place(*root, image));
        if (is_right) return root->set_immutable(kCorePath, true);
        AMILIFT_CHECK(root->set_immutable(kCorePath, false));
        AMILIFT_CHECK(context.manifest().remove(*root, kName, kCorePath));
    }
    auto padded = image.core;
    padded.resize(sectors_of(padded.size()) * dev::kSectorBytes);
    AMILIFT_CHECK(context.manifest().write(*root, kName, kCorePath, to_text(padded), 0600));
    AMILIFT_TRY(const auto runs, core_sectors(*root, padded.size()));
    AMILIFT_TRY(const auto listed, with_block_list(image.core, runs));
    const auto first = std::span(listed).first(dev::kSectorBytes);
    AMILIFT_CHECK(context.manifest().overwrite(*root, kName, kCorePath, 0, first));
    AMILIFT_TRY(const auto again, core_sectors(*root, padded.size()));
    if (again != runs) {
        return fail(Errc::corrupt,
                    fmt::format("the filesystem moved '{}' while it was overwritten", kCorePath),
                    kUseMbr);
    }
    return root->set_immutable(kCorePath, true);
}

/// Both sectors, whatever was there: a partition table of an earlier use would be believed.
Result<BootSectors> boot_sectors(const Grub2Image& image, std::uint64_t core_sector) {
    AMILIFT_TRY(const auto record, make_grub2_boot_record(image, core_sector, Sector{}));
    BootSectors sectors{};
    std::ranges::copy(record, sectors.begin());
    return sectors;
}

Result<> write_boot_record(ApplyContext& context, const Grub2Image& image) {
    std::vector<SectorRun> runs;
    {
        AMILIFT_TRY(const auto* root, context.target_root());
        AMILIFT_TRY(runs, core_sectors(*root, image.core.size()));
    }
    AMILIFT_TRY(const auto sectors, boot_sectors(image, runs.front().start));
    // The superblock is in the same page: while it is mounted, an older one could be written back.
    AMILIFT_CHECK(context.release_target_root());
    const auto& disk = context.target();
    return core::write_all_at(disk.fd(), sectors, 0, disk.path());
}

std::string plain_device(std::string_view device) {
    std::string out;
    for (const char c : device) {
        if (c != ' ' && c != '\t')
            out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return out;
}

bool is_stable_root(std::string_view root) {
    return root.starts_with("UUID=") || root.starts_with("LABEL=") ||
           root.starts_with("/dev/disk/by-uuid/") || root.starts_with("/dev/disk/by-label/");
}

}  // namespace

Result<> require_in_place(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    if (!is_ext(filesystem.type)) {
        return refuse(fmt::format("the root filesystem is {}, whose first sector is in use: only "
                                  "ext2, ext3 and ext4 leave room for boot code",
                                  dev::to_string(filesystem.type)),
                      kUseMbr, "in-place-not-ext");
    }
    if (context.options.bootloader != job::Bootloader::grub2) {
        return refuse("GRUB 0.97 does not start from a disk without a partition",
                      "convert with bootloader grub2, or with target.layout: mbr",
                      "in-place-needs-grub2");
    }
    if (context.options.size_gib != 0) {
        return refuse(
            "target.size grows a partition, and a disk that is converted in place has none",
            "leave it out; on the instance, grow the volume and run resize2fs", "in-place-size");
    }
    if (root_spec(filesystem).empty()) {
        return refuse("the root filesystem has neither UUID nor label by which it could be found",
                      "give it a UUID (tune2fs -U random), or convert with target.layout: mbr",
                      "in-place-root-unnamed");
    }
    return Manifest::require_place(context.source_root, kCorePath);
}

Result<> require_in_place_entry(const image::ImageFacts& facts, std::string_view menu_text) {
    const auto menu = image::parse_menu(menu_text);
    // Who checks for an entry that can boot says so better.
    if (!facts.boot_entry || *facts.boot_entry >= menu.entries.size()) return {};
    const auto& entry = menu.entries[*facts.boot_entry];
    const auto where = fmt::format("entry {} '{}' of {}", *facts.boot_entry,
                                   image::printable(entry.title, 80), facts.menu_path);
    for (const auto& device : {entry.root, entry.kernel_device, entry.initrd_device}) {
        if (device.empty() || plain_device(device) == "(hd0)") continue;
        return refuse(fmt::format("{} has its files on {}, a disk that is converted in place has "
                                  "no partition",
                                  where, image::printable(device, 80)),
                      fmt::format("write (hd0) there, or {}", kUseMbr), "in-place-partition-named");
    }
    const auto root = image::last_value(entry.arguments, "root").value_or("");
    if (is_stable_root(root) && !entry.initrd.empty()) return {};
    return refuse(
        fmt::format("{} has root={} and {}: the root has another name on each instance type", where,
                    image::printable(root, 80), entry.initrd.empty() ? "no initrd" : "an initrd"),
        fmt::format("name the root by UUID or label and give the entry an initrd, or {}", kUseMbr),
        "in-place-root-device");
}

Result<std::vector<Step>> in_place_steps(const PlanContext& context) {
    AMILIFT_TRY(auto built, build(context.commands));
    const auto image = std::make_shared<const Grub2Image>(std::move(built));
    const auto sectors = sectors_of(image->core.size());
    std::vector<Step> steps;
    steps.push_back({std::string(kName),
                     fmt::format("write GRUB 2: core image of {} sectors to {}, with the list of "
                                 "its sectors, immutable",
                                 sectors, kCorePath),
                     [image](ApplyContext& apply) { return write_core(apply, *image); }});
    steps.push_back({std::string(kName),
                     "write GRUB 2: boot record with an empty partition table to sector 0, zeros "
                     "to sector 1",
                     [image](ApplyContext& apply) { return write_boot_record(apply, *image); }});
    return steps;
}

Result<std::string> prove_in_place(const VerifyContext& context) {
    const auto& disk = context.target;
    const auto differs = [&disk](std::string what) {
        return fail(Errc::corrupt, fmt::format("'{}': {}", disk.path(), what),
                    "the target does not keep what is written to it; use another volume");
    };
    AMILIFT_TRY(const auto image, build(context.commands));
    const auto bytes = sectors_of(image.core.size()) * dev::kSectorBytes;
    AMILIFT_TRY(const auto runs, core_sectors(context.target_root, bytes));
    AMILIFT_TRY(const auto wanted_sectors, boot_sectors(image, runs.front().start));
    BootSectors seen_sectors{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), seen_sectors, 0, disk.path()));
    if (seen_sectors != wanted_sectors) {
        return differs("sectors 0 and 1 do not hold the boot record that was written");
    }

    // What the loader does: the sector that the boot record names, then those that this one lists.
    Sector first{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), first, runs.front().start * dev::kSectorBytes,
                                        disk.path()));
    AMILIFT_TRY(const auto listed, read_block_list(first));
    std::vector<std::byte> loaded(first.begin(), first.end());
    for (const auto& run : listed) {
        std::vector<std::byte> part(static_cast<std::size_t>(run.count * dev::kSectorBytes));
        AMILIFT_CHECK(
            core::read_exactly_at(disk.fd(), part, run.start * dev::kSectorBytes, disk.path()));
        loaded.insert(loaded.end(), part.begin(), part.end());
    }
    AMILIFT_TRY(const auto file, context.target_root.read(kCorePath, kCoreFileLimit));
    if (to_bytes(file) != loaded) {
        return differs(fmt::format("the {} sectors that the boot code loads are not those of {}",
                                   loaded.size() / dev::kSectorBytes, kCorePath));
    }
    AMILIFT_TRY(const auto wanted, with_block_list(image.core, runs));
    if (loaded != wanted)
        return differs(fmt::format("{} is not the GRUB that was written", kCorePath));
    AMILIFT_TRY(const bool immutable, context.target_root.is_immutable(kCorePath));
    if (!immutable) return differs(fmt::format("{} is not immutable", kCorePath));
    return fmt::format("sector 0 starts {}: {} sectors in {} piece{}, read one by one", kCorePath,
                       loaded.size() / dev::kSectorBytes, listed.size(),
                       listed.size() == 1 ? "" : "s");
}

}  // namespace amilift::modules
