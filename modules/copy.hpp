// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Copies the used extents of the source filesystem to 1 MiB of the target. The filesystem keeps
/// its UUID and its label.
[[nodiscard]] const Module& copy_module();

/// Copies a disk with partitions as it is: the same table, boot code and partitions; of the
/// filesystems what is in use. Nothing is moved, so that what boots the source boots the target.
[[nodiscard]] const Module& disk_copy_module();

}  // namespace amilift::modules
