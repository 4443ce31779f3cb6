// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "core/result.hpp"
#include "image/boot_menu.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

/// Runs the configuration of `facts`, which is GRUB 2's or extlinux's, as it is in `root` now, with
/// `instead` for the files that it names.
[[nodiscard]] core::Result<BootMenu> simulate_menu(const SafeRoot& root, const ImageFacts& facts,
                                                   std::span<const FileInstead> instead = {});

/// The smallest change that makes facts.boot_entry what GRUB 2 or extlinux boots by itself: the
/// saved entry of GRUB's environment block where the configuration asks for it, else the default in
/// the configuration. Each is tried out with the simulator; absent if none has that effect. Needs
/// facts.menu_path, menu_links, boot_entries and boot_entry. Errors: failures of the filesystem.
[[nodiscard]] core::Result<std::optional<DefaultEdit>> find_default_edit(const SafeRoot& root,
                                                                         const ImageFacts& facts);

/// Does the menu of the image in `root`, which is that of `facts` after the edit, boot
/// facts.boot_entry by itself?
[[nodiscard]] core::Result<bool> boots_by_default(const SafeRoot& root, const ImageFacts& facts);

/// The text of the file at edit.path with the change; no changes where it is done already, or where
/// the text has no place for it. Sources: GRUB manual 2.06, "default" and "The GRUB environment
/// block"; Syslinux, doc/syslinux.txt.
[[nodiscard]] EditedText set_default_entry(std::string_view text, const DefaultEdit& edit);

/// /etc/default/grub, or a file of its set: GRUB_DEFAULT, from which grub-mkconfig makes what
/// set_default_entry() changes in grub.cfg. "saved" stays.
[[nodiscard]] EditedText set_grub_default(std::string_view text, std::string_view choice);
[[nodiscard]] bool assigns_grub_default(std::string_view text);

}  // namespace amilift::image
