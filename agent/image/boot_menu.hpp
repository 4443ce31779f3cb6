// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/boot_disk.hpp"
#include "image/efi_files.hpp"
#include "image/efi_loader.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Where the loaders have their configuration, in the order in which it is looked for.
inline constexpr std::array<std::string_view, 3> kGrub2Configs{
    "/boot/amilift/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/grub.cfg"};
inline constexpr std::array<std::string_view, 5> kExtlinuxConfigs{
    "/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf", "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg", "/extlinux.conf"};

/// What a boot loader would show, and boot by itself, after it has read its configuration.
struct BootMenu {
    BootMenuKind kind = BootMenuKind::none;
    std::string path;                  ///< of the configuration, in the image's tree
    std::string text;                  ///< of that file
    std::vector<std::string> files{};  ///< that and those that it reads in, in the image's tree
    /// Boot loader specification entries that it shows, in the image's tree: of the directory that
    /// the configuration names (blsdir), else of the usual one.
    std::vector<std::string> entry_files{};
    std::vector<BootEntry> entries;
    /// What is tried without a key press: the default, then the fallbacks. Indexes into entries.
    std::vector<std::size_t> order;
    /// A GRUB 0.97 menu that the configuration leads to (legacy_configfile), in the image's tree:
    /// that one counts then, and entries is empty.
    std::string legacy_menu;
    std::vector<Finding> findings;
};

/// A file as it would be after an edit.
struct FileInstead {
    std::string path;  ///< in the image's tree, without links
    std::string text;
};

/// The text that counts for the file at `path`, which has no links; null: its own.
[[nodiscard]] inline const std::string* text_instead(std::span<const FileInstead> files,
                                                     std::string_view path) {
    const auto found = std::ranges::find(files, path, &FileInstead::path);
    return found == files.end() ? nullptr : &found->text;
}

/// Entries that a simulated loader makes at most.
inline constexpr std::size_t kMaxSimulatedEntries = 1024;

/// Runs grub.cfg as GRUB 2 would on a BIOS, without a key press: variables, conditions, functions,
/// load_env, search, source, configfile, blscfg, menuentry and submenu; commands that only draw or
/// load modules do nothing. Nothing is executed and nothing written. Bounded in time and memory
/// whatever the text says. `instead` counts for the files that it names. Errors:
/// failures of the filesystem only. Findings: "grub-cfg-syntax",
/// "grub-cfg-too-complex", "grub-cfg-file-missing", "grub-cfg-ends", "default-not-found".
/// Source: GRUB manual 2.06; the boot loader specification (systemd.io/BOOT_LOADER_SPECIFICATION).
[[nodiscard]] core::Result<BootMenu> simulate_grub2(const SafeRoot& root, const BootDisk& disk,
                                                    std::string_view config_path,
                                                    std::span<const FileInstead> instead = {});

/// What the volume of an EFI system partition has as its mount point here: no path of the image's
/// tree begins with it, and it reads well in messages.
inline constexpr std::string_view kEfiMount = "EFI system partition: ";

/// GRUB 2 as a program of UEFI.
struct GrubProgram {
    std::string path;       ///< on the EFI system partition: "/EFI/debian/grubx64.efi"
    EfiProgram contents{};  ///< of kind grub2
};

/// Runs GRUB 2 as a UEFI firmware starts it from `program`: the commands that are inside of it,
/// then grub.cfg of the prefix, as simulate_grub2() does. `disk` has the EFI system partition as
/// the volume of kEfiMount. Errors: those, and those of `files`. More findings:
/// "grub-module-missing", "grub-search-failed".
/// Source: GRUB 2.06, grub-core/kern/main.c, kern/rescue_parser.c and normal/main.c.
[[nodiscard]] core::Result<BootMenu> simulate_grub2_efi(const SafeRoot& root, const BootDisk& disk,
                                                        const GrubProgram& program,
                                                        EfiFiles& files);

/// Reads an extlinux.conf or syslinux.cfg as extlinux 6 would. Findings: "extlinux-no-entry".
/// Source: Syslinux, doc/menu.txt and doc/syslinux.txt.
[[nodiscard]] core::Result<BootMenu> simulate_extlinux(const SafeRoot& root, const BootDisk& disk,
                                                       std::string_view config_path,
                                                       std::span<const FileInstead> instead = {});

}  // namespace amilift::image
