// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Writes the menu that PV-GRUB reads, /boot/grub/menu.lst: the image's own GRUB 0.97 menu, edited,
/// or one entry in place of another loader's menu. Proves that GRUB's filesystem code finds kernel
/// and initrd on the bare disk.
[[nodiscard]] const Module& pv_grub_module();

/// Errc::refused (id "pv-grub-cannot-read") for a filesystem that GRUB 0.97 with EC2's support for
/// ext4 does not read: XFS, and ext4 with features that change what it looks at.
[[nodiscard]] core::Result<> require_pv_grub_reads(const dev::FilesystemInfo& filesystem);

}  // namespace amilift::modules
