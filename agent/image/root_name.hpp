// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_disk.hpp"
#include "image/facts.hpp"

namespace amilift::image {

/// Does a value of root= name this volume? Understood are LABEL=, UUID= and PARTUUID=, their links
/// below /dev/disk, and PARTLABEL= of a volume that is no partition; absent for every other name.
/// Quotes around a value and \x2f in a label are read as an initramfs does. Sources: the kernel's
/// admin-guide/kernel-parameters.txt, dracut.cmdline(7), libblkid's blkid_parse_tag_string().
[[nodiscard]] std::optional<bool> names_volume(std::string_view root, const BootVolume& volume);

/// Is a value of root= LABEL=, UUID= or a link below /dev/disk? The kernel itself knows devices and
/// PARTUUID=; only a program of an initramfs looks these up.
[[nodiscard]] bool needs_initramfs(std::string_view root);

/// Is a value of root=, or a device of fstab, PARTUUID=, PARTLABEL= or a link of that below
/// /dev/disk? It names an entry of a partition table.
[[nodiscard]] bool names_partition(std::string_view root);

/// Does a value of root= name another volume than the one of "/"? False for names that
/// names_volume() does not understand.
[[nodiscard]] bool names_other_root(const BootDisk& disk, std::string_view root);

/// "UUID=...", else "LABEL=...": how amilift names a root filesystem. Empty if it has neither, in
/// words that need no quoting.
[[nodiscard]] std::string stable_root_name(std::string_view uuid, std::string_view label);

/// Can amilift set root= to the real root? It can where the filesystem has a name, and where the
/// value names no other filesystem of the disk, which somebody may have meant.
[[nodiscard]] bool can_rename_root(const BootDisk& disk, std::string_view root);

/// The values of root= in entries whose kernel is in the image that name another root and that
/// can_rename_root() allows to replace, each once.
[[nodiscard]] std::vector<std::string> lost_root_names(const ImageFacts& facts);

}  // namespace amilift::image
