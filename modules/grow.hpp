// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Grows the copied root filesystem to the size of its partition, if the job asks for a size:
/// ext2, ext3 and ext4 with resize2fs, not mounted, after the e2fsck that it demands; XFS by the
/// kernel, mounted. Nothing else of the filesystem changes: UUID, label and files stay.
[[nodiscard]] const Module& grow_module();

}  // namespace amilift::modules
