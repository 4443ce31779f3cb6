// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/command.hpp"
#include "core/result.hpp"
#include "job/job.hpp"
#include "modules/boot_area.hpp"

namespace amilift::modules {

/// Where Debian's grub-pc-bin keeps boot.img and GRUB's modules on the helper.
inline constexpr std::string_view kGrub2Directory = "/usr/lib/grub/i386-pc";
/// Where Debian's grub-efi-amd64-bin keeps them for UEFI.
inline constexpr std::string_view kGrub2EfiDirectory = "/usr/lib/grub/x86_64-efi";
/// GRUB's own directory inside the image: beside, and never in the way of, the image's /boot/grub.
inline constexpr std::string_view kGrub2Prefix = "/boot/amilift";

/// Where the filesystem that is partition 1 of the new disk has kGrub2Prefix, for GRUB.
struct Grub2Home {
    std::string prefix{kGrub2Prefix};  ///< "/@/boot/amilift" in a subvolume of btrfs
    bool is_btrfs = false;             ///< its code is built in only where it is needed
};

/// GRUB 2 for BIOS, as its tools make it, before it is placed on a disk.
struct Grub2Image {
    std::vector<std::byte> boot;  ///< boot.img, 512 bytes
    std::vector<std::byte> core;  ///< core.img with everything that it needs built in
};

/// Builds core.img with the helper's grub-mkimage. The same GRUB gives the same bytes.
/// Errors: not_installed (names the Debian package), corrupt (files of an unknown form).
[[nodiscard]] core::Result<Grub2Image> build_grub2_image(
    core::CommandRunner& commands, job::Layout layout = job::Layout::mbr,
    const std::string& directory = std::string(kGrub2Directory), const Grub2Home& home = {});

/// GRUB's name of the root partition on a disk of that layout, which has one: "msdos1".
[[nodiscard]] std::string_view grub2_root_partition(job::Layout layout);

/// Builds GRUB 2 as one UEFI program of about 1 MiB, which looks for its home on partition 1 of
/// the disk that it was started from. Not signed. The same GRUB gives the same bytes. Errors: those
/// of build_grub2_image().
[[nodiscard]] core::Result<std::vector<std::byte>> build_grub2_efi(
    core::CommandRunner& commands, const std::string& directory = std::string(kGrub2EfiDirectory),
    const Grub2Home& home = {});

/// What `grub-bios-setup --no-rs-codes` would write from sector 0 on, with core.img from
/// `core_sector` on: 1 for the gap of a DOS partition table; what lies between is zeros.
/// `old_sector` is sector 0 of the target: its BIOS parameter block, disk signature and partition
/// table are kept. Source: GRUB 2.06, include/grub/i386/pc/boot.h.
[[nodiscard]] core::Result<BootArea> make_grub2_boot_area(const Grub2Image& image,
                                                          const Sector& old_sector,
                                                          std::uint64_t core_sector = 1);

/// boot.img that loads core.img from `core_sector` on. `old_sector` is sector 0 of the target, see
/// make_grub2_boot_area().
[[nodiscard]] core::Result<Sector> make_grub2_boot_record(const Grub2Image& image,
                                                          std::uint64_t core_sector,
                                                          const Sector& old_sector);

/// A run of sectors of 512 bytes on a disk.
struct SectorRun {
    std::uint64_t start = 0;
    std::uint64_t count = 0;
    friend bool operator==(const SectorRun&, const SectorRun&) = default;
};

/// core.img, padded to whole sectors, with the block list of a file that lies at `runs` (in the
/// order of the file; what is behind its end is not used). GRUB's list grows downwards from the end
/// of the first sector, as far as that is free: Errc::refused (id "file-fragmented") when the runs
/// are too many. Source: GRUB 2.06, include/grub/i386/pc/boot.h and util/setup.c.
[[nodiscard]] core::Result<std::vector<std::byte>> with_block_list(
    const std::vector<std::byte>& core, const std::vector<SectorRun>& runs);

/// The runs that a core.img's first sector lists: those of its second and later sectors.
/// Errc::corrupt when the list does not end, or lists more than a core.img can have.
[[nodiscard]] core::Result<std::vector<SectorRun>> read_block_list(const Sector& first);

/// Text of kGrub2Prefix/grub.cfg: GRUB 2 shows the image's own GRUB 0.97 menu, read at each boot;
/// `menu_path` is GRUB's name of it. Errc::refused (id "menu-path-unusual") when the path cannot be
/// quoted in a GRUB script.
[[nodiscard]] core::Result<std::string> grub2_config(std::string_view menu_path);

/// An empty GRUB environment block (1024 bytes), which `savedefault` writes to.
[[nodiscard]] std::string grub2_environment();

/// grub-fstest with these words, of which "(loop0)" is `disk`: a path of the helper, whatever it
/// begins with.
[[nodiscard]] core::Command grub_fstest(const std::string& disk, std::vector<std::string> words);

/// CRC-32 of a file as GRUB's own filesystem code reads it from `disk` (path of a disk or an image
/// file on the helper). `grub_path` is GRUB's name of it: "(loop0,msdos1)/boot/vmlinuz".
/// `name` is what messages call the disk; empty: `disk`. Errors: not_installed; corrupt with GRUB's
/// words when it cannot read the filesystem or file.
[[nodiscard]] core::Result<std::uint32_t> crc32_as_grub_reads(core::CommandRunner& commands,
                                                              const std::string& disk,
                                                              const std::string& grub_path,
                                                              std::string_view name = {});

}  // namespace amilift::modules
