// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Copies the used extents of the source filesystem to 1 MiB of the target. The filesystem keeps
/// its UUID and its label.
[[nodiscard]] const Module& copy_module();

}  // namespace amilift::modules
