// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "image/fstab.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Adapts /etc/fstab to a root that is one bare filesystem: "/" is found by UUID or label, and the
/// lines of /boot, of the EFI system partition and of swap partitions, which are not there any
/// more, become comments. RESUME= of initramfs-tools is none then.
[[nodiscard]] const Module& pv_fstab_module();

/// What of a disk with partitions is left out, besides /boot and the EFI system partition.
struct LeftOut {
    std::set<std::string> specs;  ///< names of its partitions: "UUID=...", "/dev/sda3"
};

/// edit_fstab() with these lines commented out first: of /boot, /boot/efi and /efi, and of swap on
/// one of the partitions; a LABEL is taken for one of theirs. The same promises.
[[nodiscard]] image::EditedText edit_pv_fstab(std::string_view text, const image::FstabEdit& edit,
                                              const LeftOut& left_out);

}  // namespace amilift::modules
