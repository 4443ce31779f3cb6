// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "image/fstab.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Adapts /etc/fstab to a root that is one bare filesystem: "/" is found by UUID or label, and the
/// lines of /boot, of the EFI system partition and of swap partitions, which are not there any
/// more, become comments. Refuses what would lose a filesystem (id "other-filesystem").
[[nodiscard]] const Module& pv_fstab_module();

/// What of a disk with partitions is left out.
struct LeftOut {
    bool boot = false;  ///< /boot is a directory of "/" now
    bool swap = false;
};

/// edit_fstab() with these lines commented out first; the same promises.
[[nodiscard]] image::FstabResult edit_pv_fstab(std::string_view text, const image::FstabEdit& edit,
                                               const LeftOut& left_out);

}  // namespace amilift::modules
