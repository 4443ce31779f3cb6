// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Decides for an image that is to be a paravirtual guest what PV-GRUB boots of its menu, instead
/// of what facts says of HVM. An entry boots if it names a kernel that PV-GRUB starts, of
/// `architecture` ("x86_64", "i386"; empty: any), and at most one initrd, which is there. Fills
/// facts.pv_entries with all of them, at most kMaxPvEntries, in the loader's own order (default,
/// fallbacks, the rest), and pv_console; boot_entry becomes the first of them. Their kernels and
/// drivers are known then. Findings about HVM's choice are taken back. If no entry boots, there is
/// a refusal with the reason of the first one that names a kernel: an id of parse_pv_kernel(),
/// "aki-does-not-fit" for another architecture, "kernel-missing", "no-bootable-entry".
[[nodiscard]] core::Result<> choose_pv_boot(const SafeRoot& root, ImageFacts& facts,
                                            std::string_view architecture);

/// The entry that PV-GRUB starts: the one that choose_pv_boot() has found, else the default of a
/// GRUB 0.97 menu, which is all that PV-GRUB reads. Absent: there is none.
[[nodiscard]] std::optional<std::size_t> pv_grub_entry(const ImageFacts& facts);

/// A menu of more than that has copies of the same kernels.
inline constexpr std::size_t kMaxPvEntries = 24;

/// Can a file with these names be named in a menu.lst? Blanks and control bytes cannot be quoted
/// there.
[[nodiscard]] bool is_menu_path(std::string_view path);

}  // namespace amilift::image
