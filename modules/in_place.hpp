// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "modules/module.hpp"

namespace amilift::modules {

/// core.img inside an image whose filesystem takes the whole disk.
inline constexpr std::string_view kCorePath = "/boot/amilift/core.img";

/// Layout in_place: the filesystem stays where it is and begins with the disk. ext leaves the first
/// 1024 bytes free (two sectors: the boot record, with an empty partition table, and zeros), and
/// core.img is a file whose sectors the boot record and the file's own first sector name. The file
/// is made immutable: moved or written again, it would not be found.

/// Errc::refused: "in-place-not-ext", "in-place-needs-grub2", "in-place-size",
/// "in-place-root-unnamed" (the filesystem has neither UUID nor label), "path-taken".
[[nodiscard]] core::Result<> require_in_place(const PlanContext& context);

/// The disk has no partition and another name: the entry that boots must name its root by UUID or
/// label and its files on (hd0). Errc::refused: "in-place-root-device", "in-place-partition-named".
/// `menu_text` is the live menu as it will be.
[[nodiscard]] core::Result<> require_in_place_entry(const image::ImageFacts& facts,
                                                    std::string_view menu_text);

/// The steps that write core.img, then the boot record.
[[nodiscard]] core::Result<std::vector<Step>> in_place_steps(const PlanContext& context);

/// Reads the boot record, follows the block list sector by sector as the loader does, and compares
/// that with the file and with GRUB.
[[nodiscard]] core::Result<std::string> prove_in_place(const VerifyContext& context);

}  // namespace amilift::modules
