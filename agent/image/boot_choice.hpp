// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Menu entries that are looked at; a menu of more is reported, the others are not boot candidates.
inline constexpr std::size_t kMaxEntries = 256;

/// Takes facts.menu_text for the GRUB 0.97 menu that boots: fills menu, menu_kind, boot_entries and
/// boot_order. Needs menu_path and disk.
void read_legacy_entries(ImageFacts& facts);

/// Looks at the kernel and initrd of each of facts.boot_entries and decides what boots: fills
/// facts.kernels, kernel_of_entry, boot_entry and must_set_default, and adds findings (refusals
/// no-bootable-entry, kernel-missing, xen-only-kernel, default-does-not-boot). Needs
/// facts.boot_entries, boot_order and menu_path.
///
/// The entry is the first one with all its files and a kernel that boots HVM, in this order: the
/// default, the fallbacks, the rest of the menu, and there, but for GRUB 0.97, the one with the
/// newest kernel; facts.default_edit then says how it becomes the default. GRUB 2 gets there by
/// itself only past entries whose kernel it cannot load; a missing initrd or a Xen-only kernel does
/// not make it go on.
[[nodiscard]] core::Result<> choose_boot_entry(const SafeRoot& root, ImageFacts& facts);

}  // namespace amilift::image
