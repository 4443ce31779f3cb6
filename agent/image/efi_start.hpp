// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "image/efi_files.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

struct ImageFacts;

/// What a firmware without boot variables starts of a disk: x86-64, removable media.
inline constexpr std::string_view kEfiProgram = "/EFI/BOOT/BOOTX64.EFI";

/// What becomes of a disk that UEFI firmware starts, on an instance that is new: its firmware has
/// no boot variables, so that it starts kEfiProgram and nothing else.
struct EfiStart {
    std::string id;      ///< stable; empty: the default entry of the image's menu is started
    std::string where;   ///< "EFI system partition: /EFI/BOOT/BOOTX64.EFI"
    std::string seen;    ///< why it is not started, or by way of which files it is
    std::string action;  ///< what the owner can do; empty where nothing has to be done

    [[nodiscard]] bool is_proven() const { return id.empty(); }
};

/// Follows the way from the firmware to the menu, and compares that with what `facts` say of the
/// image: shim and its fallback program, GRUB 2 with the configurations that it reads. Other
/// programs are named and prove nothing. `partition` is the number of the EFI system partition.
/// Ids: "efi-partition-unreadable", "efi-loader-missing", "efi-loader-invalid",
/// "efi-loader-unproven", "efi-config-missing", "efi-menu-differs". Sources: UEFI specification
/// 2.10, 3.5.1.1; shim 15, shim.c and fallback.c; and simulate_grub2_efi().
[[nodiscard]] EfiStart follow_efi_start(EfiFiles& files, int partition, const SafeRoot& root,
                                        const ImageFacts& facts);

}  // namespace amilift::image
