// SPDX-License-Identifier: Apache-2.0
#include "modules/bootloader.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <limits>

#include "core/fd.hpp"
#include "dev/btrfs.hpp"
#include "dev/loop_device.hpp"
#include "dev/mount.hpp"
#include "modules/esp.hpp"
#include "modules/grub2_image.hpp"
#include "modules/grub_legacy.hpp"
#include "modules/in_place.hpp"
#include "modules/partition.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

// Feature bits of ext4. Source: Linux, fs/ext4/ext4.h.
constexpr std::uint32_t kIncompatFiletype = 0x0002;
constexpr std::uint32_t kIncompatRecover = 0x0004;
constexpr std::uint32_t kIncompatExtents = 0x0040;
constexpr std::uint32_t kIncompatFlexBg = 0x0200;
constexpr std::uint32_t kIncompatEaInode = 0x0400;
constexpr std::uint32_t kIncompatInlineData = 0x8000;
constexpr std::uint32_t kIncompatCasefold = 0x20000;
constexpr std::uint32_t kRoCompatBigalloc = 0x0200;
constexpr std::uint32_t kRoCompatMetadataCsum = 0x0400;

struct Sum {
    std::uint32_t crc32 = 0;
    std::uint64_t bytes = 0;
};

/// Of the file's first `limit` bytes.
Result<Sum> sum_of(const image::SafeRoot& root, const std::string& path,
                   std::uint64_t limit = std::numeric_limits<std::uint64_t>::max()) {
    AMILIFT_TRY(const auto file, root.open_regular(path));
    std::vector<unsigned char> chunk(1U << 20);
    Sum sum;
    while (true) {
        const auto wanted = std::min<std::uint64_t>(chunk.size(), limit - sum.bytes);
        const auto n = ::read(file.get(), chunk.data(), static_cast<std::size_t>(wanted));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            const int saved = errno;
            return core::fail_errno(saved, fmt::format("cannot read '{}' of the image", path));
        }
        if (n == 0) return sum;
        sum.crc32 =
            static_cast<std::uint32_t>(::crc32(sum.crc32, chunk.data(), static_cast<uInt>(n)));
        sum.bytes += static_cast<std::uint64_t>(n);
    }
}

Result<std::uint32_t> crc32_of(const image::SafeRoot& root, const std::string& path) {
    AMILIFT_TRY(const auto sum, sum_of(root, path));
    return sum.crc32;
}

Result<const image::Kernel*> require_boot_kernel(const image::ImageFacts& facts) {
    if (const auto* kernel = facts.boot_kernel(); kernel != nullptr && !facts.menu_path.empty()) {
        return kernel;
    }
    return fail(Errc::refused, "the image has no menu entry that can boot",
                "add an entry with a kernel to /boot/grub/menu.lst", "no-bootable-entry");
}

Result<> require_grub2_features(const dev::FilesystemInfo& filesystem) {
    struct Feature {
        std::uint32_t bit;
        const char* name;
    };
    for (const auto& feature :
         {Feature{kIncompatInlineData, "inline_data"}, Feature{kIncompatCasefold, "casefold"},
          Feature{kIncompatEaInode, "ea_inode"}}) {
        if (is_ext(filesystem.type) && (filesystem.feature_incompat & feature.bit) != 0) {
            return fail(Errc::refused,
                        fmt::format("the root filesystem has the ext4 feature '{}', which GRUB "
                                    "cannot read",
                                    feature.name),
                        "copy the files to a filesystem without that feature, then convert that",
                        "grub-cannot-read");
        }
    }
    return {};
}

/// What GRUB calls a file of the image's tree on the filesystem that holds it.
std::string grub_path(const image::ImageFacts& facts, const std::string& path) {
    const auto* volume = facts.disk.holder_of(path);
    return volume == nullptr ? path : image::path_on_volume(*volume, path);
}

/// The name of a subvolume is the image's, and stands in scripts of GRUB from then on.
Result<Grub2Home> grub2_home(const image::ImageFacts& facts,
                             const dev::FilesystemInfo& filesystem) {
    Grub2Home home{grub_path(facts, std::string(kGrub2Prefix)),
                   filesystem.type == dev::Filesystem::btrfs};
    const bool plain = std::ranges::all_of(home.prefix, [](unsigned char c) {
        return std::isalnum(c) != 0 || std::string_view("/@._-+").contains(static_cast<char>(c));
    });
    if (plain) return home;
    return fail(Errc::refused,
                fmt::format("the root lies in the subvolume of '{}', which cannot be named in a "
                            "GRUB script",
                            image::printable(home.prefix, 80)),
                "give the subvolume a name of letters and digits", "menu-path-unusual");
}

/// GRUB's own code against the source: finds what no list of features knows, before the first byte
/// is written.
Result<> require_readable_by_grub(const PlanContext& context, const image::Kernel& kernel) {
    if (context.source == nullptr) return {};
    const auto& disk = context.source->path();
    auto seen = crc32_as_grub_reads(context.commands, context.source_path,
                                    "(loop0)" + grub_path(context.facts, kernel.path), disk);
    if (!seen && !seen.error().is(Errc::corrupt)) return std::unexpected(seen.error());
    AMILIFT_TRY(const auto wanted, crc32_of(context.source_root, kernel.path));
    if (seen && *seen == wanted) return {};
    return fail(Errc::refused,
                seen ? fmt::format("GRUB reads '{}' of '{}' as crc32 {:08x}, Linux as {:08x}",
                                   kernel.path, disk, *seen, wanted)
                     : seen.error().what,
                "copy the files to a plain ext3 or ext4 filesystem, then convert that",
                "grub-cannot-read");
}

bool is_gpt(const job::ConversionOptions& options) {
    return options.layout == job::Layout::gpt;
}

std::uint64_t core_sector_of(const job::ConversionOptions& options) {
    return is_gpt(options) ? kBiosBootSector : 1;
}

/// Calls `use` with what of the area the boot loader owns, and its byte on the disk: all of it, but
/// for the GPT between boot record and loader.
template <class Use>
Result<> each_piece(std::span<const std::byte> area, std::uint64_t core_sector, Use use) {
    AMILIFT_CHECK(use(area.first(512), std::uint64_t{0}));
    const auto core = static_cast<std::size_t>(core_sector) * 512;
    return use(area.subspan(core), std::uint64_t{core});
}

/// The EFI system partition's id, which tells it from that of another image.
Result<std::uint32_t> esp_volume_id(const dev::FilesystemInfo& filesystem) {
    return disk_signature(filesystem.uuid + "/esp");
}

Step esp_step(const EspPlace& place, std::vector<std::byte> contents, std::size_t program_bytes) {
    return {"bootloader",
            fmt::format("write EFI system partition: FAT32 with EFI/BOOT/BOOTX64.EFI, GRUB 2 of {} "
                        "bytes",
                        program_bytes),
            [place, contents = std::move(contents)](ApplyContext& context) {
                const auto& disk = context.target();
                return core::write_all_at(disk.fd(), contents,
                                          place.start_sector * dev::kSectorBytes, disk.path());
            }};
}

Step boot_area_step(std::string text, std::uint64_t core_sector,
                    std::function<Result<BootArea>(const Sector&)> make) {
    return {"bootloader", std::move(text),
            [core_sector, make = std::move(make)](ApplyContext& context) -> Result<> {
                const auto& disk = context.target();
                Sector old{};
                AMILIFT_CHECK(core::read_exactly_at(disk.fd(), old, 0, disk.path()));
                AMILIFT_TRY(const auto area, make(old));
                return each_piece(
                    area, core_sector, [&](std::span<const std::byte> piece, std::uint64_t offset) {
                        return core::write_all_at(disk.fd(), piece, offset, disk.path());
                    });
            }};
}

Step file_step(std::string text, std::string path, std::string contents) {
    Step step;
    step.module = "bootloader";
    step.text = std::move(text);
    step.path = path;
    step.apply = [path = std::move(path),
                  contents = std::move(contents)](ApplyContext& context) -> Result<> {
        AMILIFT_TRY(const auto* root, context.target_root());
        return context.manifest().write(*root, "bootloader", path, contents);
    };
    return step;
}

/// Calls `use` with the top level of the target's btrfs, mounted.
template <class Use>
Result<> at_top_level(const dev::BlockDevice& target, std::uint64_t root_bytes, dev::Access access,
                      const Use& use) {
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(target, kRootOffset, root_bytes, access));
    AMILIFT_TRY(auto mounted, dev::Mount::mount(loop.path(), dev::Filesystem::btrfs, access,
                                                dev::kBtrfsTopLevel));
    {
        core::Fd copy(::fcntl(mounted.root().get(), F_DUPFD_CLOEXEC, 3));
        AMILIFT_CHECK(use(image::SafeRoot(std::move(copy))));
    }
    AMILIFT_CHECK(mounted.unmount());
    return loop.detach();
}

/// The menu, and the guest that writes it anew, names its files from the default subvolume on;
/// GRUB 2 begins at the top level. That is no part of the guest's tree, so no manifest lists it.
Step boot_link_step(const PlanContext& context, const image::ImageFacts& facts) {
    const auto text = grub_path(facts, "/boot").substr(1);
    return {
        "bootloader",
        fmt::format("make the link /boot to {} at the top level of the btrfs, where GRUB 2 looks "
                    "for what the menu names",
                    text),
        [text, options = context.options,
         filesystem = context.filesystem](ApplyContext& apply_context) -> Result<> {
            AMILIFT_CHECK(apply_context.release_target_root());
            const auto& disk = apply_context.target();
            AMILIFT_TRY(const auto plan, plan_disk(options, filesystem, disk.size_bytes()));
            return at_top_level(
                disk, plan.root_bytes(), dev::Access::read_write,
                [&](const image::SafeRoot& top) -> Result<> {
                    AMILIFT_TRY(const auto there, top.link_status("/boot"));
                    if (there.kind == image::FileKind::symlink) {
                        AMILIFT_TRY(const auto present, top.read_link("/boot"));
                        if (present == text) return {};
                    }
                    if (there.kind == image::FileKind::missing) {
                        return top.make_link("/boot", text);
                    }
                    return fail(Errc::conflict,
                                "the top level of the btrfs has a 'boot' of its own, where a "
                                "link has to be",
                                "remove it, or name kernels in the menu from the top level on");
                });
        }};
}

Result<std::vector<Step>> plan_grub2(const PlanContext& context, const image::Kernel& kernel) {
    AMILIFT_CHECK(require_grub2_features(context.filesystem));
    AMILIFT_CHECK(require_readable_by_grub(context, kernel));
    AMILIFT_TRY(const auto config, grub2_config(grub_path(context.facts, context.facts.menu_path)));
    AMILIFT_TRY(const auto home, grub2_home(context.facts, context.filesystem));
    const auto prefix = std::string(kGrub2Prefix);
    for (const char* file : {"/grub.cfg", "/grubenv"}) {
        AMILIFT_CHECK(Manifest::require_place(context.source_root, prefix + file));
    }
    std::vector<Step> steps;
    steps.push_back(file_step(
        fmt::format("write {}/grub.cfg: GRUB 2 shows the menu {}", prefix, context.facts.menu_path),
        prefix + "/grub.cfg", config));
    steps.push_back(file_step(fmt::format("write {}/grubenv: empty environment block", prefix),
                              prefix + "/grubenv", grub2_environment()));
    if (context.facts.needs_boot_link) steps.push_back(boot_link_step(context, context.facts));
    if (context.options.layout == job::Layout::in_place) {
        AMILIFT_TRY(auto more, in_place_steps(context));
        std::ranges::move(more, std::back_inserter(steps));
        return steps;
    }
    const auto core_sector = core_sector_of(context.options);
    AMILIFT_TRY(auto image, build_grub2_image(context.commands, context.options.layout,
                                              std::string(kGrub2Directory), home));
    AMILIFT_TRY(const auto area, make_grub2_boot_area(image, Sector{}, core_sector));
    if (is_gpt(context.options)) {
        AMILIFT_TRY(const auto disk,
                    plan_disk(context.options, context.filesystem, context.target_bytes));
        AMILIFT_TRY(const auto program,
                    build_grub2_efi(context.commands, std::string(kGrub2EfiDirectory), home));
        AMILIFT_TRY(const auto volume_id, esp_volume_id(context.filesystem));
        AMILIFT_TRY(auto esp, make_esp(disk.esp, volume_id, program));
        steps.push_back(esp_step(disk.esp, std::move(esp), program.size()));
    }
    const auto last = area.size() / 512 - 1;
    steps.push_back(boot_area_step(
        fmt::format("write GRUB 2: boot record to sector 0, core image of {} sectors to {}..{}",
                    last + 1 - core_sector, core_sector, last),
        core_sector, [core_sector, image = std::move(image)](const Sector& old) {
            return make_grub2_boot_area(image, old, core_sector);
        }));
    return steps;
}

Result<> refuse_legacy(const std::string& seen) {
    return fail(Errc::refused, seen, "convert with bootloader grub2", "grub-legacy-cannot-read");
}

/// GRUB 0.97 of unknown patches: only what all of the distributions' builds could read.
Result<> require_legacy_features(const dev::FilesystemInfo& filesystem) {
    if (!is_ext(filesystem.type)) {
        return refuse_legacy(
            fmt::format("GRUB 0.97 is installed here on ext2, ext3 and ext4 only, "
                        "the root filesystem is {}",
                        dev::to_string(filesystem.type)));
    }
    constexpr auto kReadable =
        kIncompatFiletype | kIncompatRecover | kIncompatExtents | kIncompatFlexBg;
    if (const auto more = filesystem.feature_incompat & ~kReadable; more != 0) {
        return refuse_legacy(
            fmt::format("the root filesystem has the incompatible ext features "
                        "0x{:x}, which GRUB 0.97 may not read",
                        more));
    }
    constexpr auto kUnreadable = kRoCompatBigalloc | kRoCompatMetadataCsum;
    if (const auto more = filesystem.feature_ro_compat & kUnreadable; more != 0) {
        return refuse_legacy(
            fmt::format("the root filesystem has the ext4 features 0x{:x} "
                        "(bigalloc 200, metadata_csum 400), which GRUB 0.97 may "
                        "not read",
                        more));
    }
    return {};
}

/// GRUB 0.97 fails on a hole in a file that is mapped by extents ("Error 16").
Result<> require_no_holes(const PlanContext& context, const std::string& path) {
    if ((context.filesystem.feature_incompat & kIncompatExtents) == 0) return {};
    AMILIFT_TRY(const auto file, context.source_root.open_regular(path));
    const auto end = ::lseek(file.get(), 0, SEEK_END);
    const auto hole = ::lseek(file.get(), 0, SEEK_HOLE);
    if (hole >= 0 && hole < end) {
        return refuse_legacy(
            fmt::format("'{}' is sparse (first hole at byte {}), which GRUB 0.97 "
                        "cannot read from ext4",
                        path, hole));
    }
    return {};
}

Result<std::vector<Step>> plan_legacy(const PlanContext& context, const image::Kernel& kernel) {
    if (is_gpt(context.options)) {
        return fail(Errc::refused, "GRUB 0.97 cannot start from a GPT",
                    "convert with bootloader grub2, or with layout mbr", "grub-legacy-needs-mbr");
    }
    AMILIFT_CHECK(require_legacy_features(context.filesystem));
    AMILIFT_TRY(auto stages, find_legacy_stages(context.source_root));
    auto menu = context.source_root.resolve(stages.menu_path);
    if (!menu || *menu != context.facts.menu_path) {
        return fail(Errc::refused,
                    fmt::format("'{}' of the image reads the menu '{}', the live menu is '{}'",
                                stages.stage2_source, stages.menu_path, context.facts.menu_path),
                    "convert with bootloader grub2, or make one a link to the other",
                    "grub-legacy-other-menu");
    }
    AMILIFT_CHECK(require_no_holes(context, kernel.path));
    if (!kernel.initrd.empty()) AMILIFT_CHECK(require_no_holes(context, kernel.initrd));
    AMILIFT_TRY(const auto area, make_legacy_boot_area(stages, 0, Sector{}));
    std::vector<Step> steps;
    if (stages.stage2_source != kStage2Path) {
        AMILIFT_CHECK(Manifest::require_place(context.source_root, kStage2Path));
        AMILIFT_TRY(auto stage2, context.source_root.read(stages.stage2_source, 1U << 20));
        steps.push_back(file_step(fmt::format("copy {} to {}", stages.stage2_source, kStage2Path),
                                  std::string(kStage2Path), std::move(stage2)));
    }
    auto text = fmt::format("write GRUB 0.97 of {}: stage1 to sector 0, stage1_5 to 1..{}",
                            stages.directory, area.size() / 512 - 1);
    steps.push_back(
        boot_area_step(std::move(text), 1, [stages = std::move(stages)](const Sector& old) {
            return make_legacy_boot_area(stages, 0, old);
        }));
    return steps;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(const auto* kernel, require_boot_kernel(context.facts));
    return context.options.bootloader == job::Bootloader::grub2 ? plan_grub2(context, *kernel)
                                                                : plan_legacy(context, *kernel);
}

Result<BootArea> expected_boot_area(const VerifyContext& context, const Sector& on_disk) {
    if (context.options.bootloader == job::Bootloader::grub2) {
        AMILIFT_TRY(const auto home, grub2_home(context.facts, context.filesystem));
        AMILIFT_TRY(const auto image, build_grub2_image(context.commands, context.options.layout,
                                                        std::string(kGrub2Directory), home));
        return make_grub2_boot_area(image, on_disk, core_sector_of(context.options));
    }
    AMILIFT_TRY(const auto stages, find_legacy_stages(context.target_root));
    return make_legacy_boot_area(stages, 0, on_disk);
}

/// The bytes at `offset` of the target are those that were written there.
Result<> require_same(const dev::BlockDevice& disk, std::span<const std::byte> wanted,
                      std::uint64_t offset) {
    std::vector<std::byte> seen(wanted.size());
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), seen, offset, disk.path()));
    const auto differs = std::ranges::mismatch(seen, wanted);
    if (differs.in1 == seen.end()) return {};
    const auto at = offset + static_cast<std::uint64_t>(differs.in1 - seen.begin());
    return fail(Errc::corrupt,
                fmt::format("sector {} of '{}' has {:02x} at byte {}, the boot loader that was "
                            "written has {:02x}",
                            at / 512, disk.path(), std::to_integer<unsigned>(*differs.in1),
                            at % 512, std::to_integer<unsigned>(*differs.in2)),
                "the target does not keep what is written to it; use another volume");
}

Result<std::string> prove_boot_area(const VerifyContext& context) {
    const auto& disk = context.target;
    Sector first{};
    AMILIFT_CHECK(core::read_exactly_at(disk.fd(), first, 0, disk.path()));
    AMILIFT_TRY(const auto wanted, expected_boot_area(context, first));
    const auto core_sector = core_sector_of(context.options);
    AMILIFT_CHECK(each_piece(wanted, core_sector,
                             [&](std::span<const std::byte> piece, std::uint64_t offset) {
                                 return require_same(disk, piece, offset);
                             }));
    const auto last = wanted.size() / 512 - 1;
    if (core_sector == 1) return fmt::format("sectors 0..{} hold the boot loader", last);
    return fmt::format("sectors 0 and {}..{} hold the boot loader", core_sector, last);
}

Result<std::string> prove_esp(const VerifyContext& context) {
    AMILIFT_TRY(const auto disk,
                plan_disk(context.options, context.filesystem, context.target.size_bytes()));
    AMILIFT_TRY(const auto home, grub2_home(context.facts, context.filesystem));
    AMILIFT_TRY(const auto program,
                build_grub2_efi(context.commands, std::string(kGrub2EfiDirectory), home));
    AMILIFT_TRY(const auto volume_id, esp_volume_id(context.filesystem));
    AMILIFT_TRY(const auto wanted, make_esp(disk.esp, volume_id, program));
    AMILIFT_CHECK(require_same(context.target, wanted, disk.esp.start_sector * dev::kSectorBytes));
    return fmt::format("the EFI system partition at sector {} holds EFI/BOOT/BOOTX64.EFI",
                       disk.esp.start_sector);
}

/// The file as grub-fstest names it on the target; empty where another loader than GRUB reads it.
std::string path_for_grub(const VerifyContext& context, const std::string& path) {
    const auto& disk = context.facts.disk;
    if (!disk.is_partitioned()) {
        const auto name = grub_path(context.facts, path);
        if (context.options.layout == job::Layout::in_place) return "(loop0)" + name;
        return fmt::format("(loop0,{}){}", grub2_root_partition(context.options.layout), name);
    }
    if (disk.code != image::BootCode::grub2 && disk.code != image::BootCode::grub_legacy) return {};
    const auto* volume = disk.holder_of(path);
    if (volume == nullptr) return {};
    return fmt::format("(loop0,{}{}){}", disk.is_gpt ? "gpt" : "msdos", volume->partition,
                       image::path_on_volume(*volume, path));
}

/// GRUB reads the kernel by the name that the menu has for it.
Result<std::string> prove_boot_link(const VerifyContext& context, const std::string& path) {
    const auto name =
        fmt::format("(loop0,{}){}", grub2_root_partition(context.options.layout), path);
    AMILIFT_TRY(const auto seen,
                crc32_as_grub_reads(context.commands, context.target.path(), name));
    AMILIFT_TRY(const auto wanted, crc32_of(context.target_root, path));
    if (seen != wanted) {
        return fail(Errc::corrupt, fmt::format("GRUB reads '{}' on '{}' as crc32 {:08x}, Linux as "
                                               "{:08x}",
                                               name, context.target.path(), seen, wanted));
    }
    return fmt::format("/boot at the top level of the btrfs leads to {}",
                       grub_path(context.facts, "/boot"));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    std::vector<std::string> proofs;
    AMILIFT_TRY(proofs.emplace_back(), context.options.layout == job::Layout::in_place
                                           ? prove_in_place(context)
                                           : prove_boot_area(context));
    if (is_gpt(context.options)) {
        AMILIFT_TRY(proofs.emplace_back(), prove_esp(context));
    }
    AMILIFT_TRY(const auto* kernel, require_boot_kernel(context.facts));

    // The entry is looked up in what has been written, not in what was read from the source.
    AMILIFT_TRY(const auto text, context.target_root.read(context.facts.menu_path, 1U << 20));
    const auto menu = image::parse_menu(text);
    const auto index = *context.facts.boot_entry;
    if (index >= menu.entries.size() || menu.entries.size() != context.facts.menu.entries.size() ||
        menu.entries[index].kernel != context.facts.menu.entries[index].kernel ||
        menu.entries[index].initrd != context.facts.menu.entries[index].initrd) {
        return fail(Errc::internal,
                    fmt::format("menu '{}' of the target does not have the entries of the source",
                                context.facts.menu_path));
    }
    proofs.push_back(fmt::format("entry {} '{}' of {} will boot", index, menu.entries[index].title,
                                 context.facts.menu_path));
    if (context.facts.needs_boot_link) {
        AMILIFT_TRY(proofs.emplace_back(), prove_boot_link(context, kernel->path));
    }
    AMILIFT_TRY(proofs.emplace_back(), prove_boot_file(context, kernel->path));
    if (!kernel->initrd.empty()) {
        AMILIFT_TRY(proofs.emplace_back(), prove_boot_file(context, kernel->initrd));
    }
    return proofs;
}

constexpr Module kModule{"bootloader", plan, verify};

}  // namespace

Result<std::vector<BootFile>> read_boot_files(const image::ImageFacts& facts,
                                              const image::SafeRoot& source_root) {
    AMILIFT_TRY(const auto* kernel, require_boot_kernel(facts));
    std::vector<BootFile> files;
    for (const auto& path : {kernel->path, kernel->initrd}) {
        if (path.empty()) continue;
        AMILIFT_TRY(const auto sum, sum_of(source_root, path));
        files.push_back({path, sum.bytes, sum.crc32});
    }
    return files;
}

Result<std::string> prove_boot_file(const VerifyContext& context, const std::string& path) {
    return prove_boot_file(context, path, path_for_grub(context, path));
}

Result<std::string> prove_boot_file(const VerifyContext& context, const std::string& path,
                                    const std::string& grub_path) {
    AMILIFT_TRY(const auto wanted, crc32_of(context.target_root, path));
    for (const auto& file : context.boot_files) {
        if (file.path != path) continue;
        AMILIFT_TRY(const auto start, sum_of(context.target_root, path, file.size_bytes));
        AMILIFT_TRY(const auto real, context.target_root.resolve(path));
        AMILIFT_TRY(const auto status, context.target_root.status(real));
        const auto& entries = context.manifest.entries();
        const bool may_grow =
            std::ranges::find(entries, real, &ManifestEntry::path) != entries.end();
        if (start.crc32 != file.crc32 || (status.size_bytes != file.size_bytes && !may_grow)) {
            return fail(Errc::corrupt,
                        fmt::format("the first {} of {} bytes of '{}' have crc32 {:08x} on '{}', "
                                    "all {} bytes have {:08x} in the source",
                                    start.bytes, status.size_bytes, path, start.crc32,
                                    context.target.path(), file.size_bytes, file.crc32),
                        "the source's block bitmap may be wrong: run 'e2fsck -f' on a copy of the "
                        "source and convert that");
        }
    }
    if (grub_path.empty()) return fmt::format("{} has crc32 {:08x}", path, wanted);
    AMILIFT_TRY(const auto seen,
                crc32_as_grub_reads(context.commands, context.target.path(), grub_path));
    if (seen != wanted) {
        return fail(Errc::corrupt,
                    fmt::format("GRUB reads '{}' on '{}' as crc32 {:08x}, Linux as {:08x}", path,
                                context.target.path(), seen, wanted),
                    "report this image: its filesystem is one that GRUB misreads");
    }
    return fmt::format("grub-fstest reads {} (crc32 {:08x})", path, seen);
}

const Module& bootloader_module() {
    return kModule;
}

}  // namespace amilift::modules
