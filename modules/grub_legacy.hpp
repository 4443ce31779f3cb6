// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/safe_root.hpp"
#include "modules/boot_area.hpp"

namespace amilift::modules {

/// The stages of GRUB 0.97 that an image carries.
struct LegacyStages {
    std::vector<std::byte> stage1;    ///< 512 bytes
    std::vector<std::byte> stage1_5;  ///< e2fs_stage1_5
    std::string directory;            ///< where these two were found in the image
    std::string stage2_source;        ///< path in the image of the stage2 to use
    std::string menu_path;            ///< the menu that this stage2 reads
};

/// The stage2 that the boot reads by its path.
inline constexpr std::string_view kStage2Path = "/boot/grub/stage2";

/// Looks into /usr/lib/grub/<platform>, /usr/share/grub/<platform> and /boot/grub, in this order:
/// packages' own copies first. Errors: refused (id "no-grub-legacy") when no directory has all of
/// them; corrupt when they are of an unknown version.
[[nodiscard]] core::Result<LegacyStages> find_legacy_stages(const image::SafeRoot& root);

/// What the commands `root (hd0,N); setup (hd0)` of the GRUB 0.97 shell would write from sector 0
/// on, with stage1_5 in the gap. `partition` counts from 0. The disk signature and the partition
/// table of `old_sector` are kept. Source: GRUB 0.97, stage2/builtins.c install_func and
/// setup_func, stage1/stage1.h.
[[nodiscard]] core::Result<BootArea> make_legacy_boot_area(const LegacyStages& stages,
                                                           unsigned partition,
                                                           const Sector& old_sector);

}  // namespace amilift::modules
