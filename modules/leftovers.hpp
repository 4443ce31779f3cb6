// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Takes out what belongs to the old hardware and stands in the way of the new: aliases for drivers
/// of XenLinux kernels (which a paravirtual target may need), and kudzu.
[[nodiscard]] const Module& leftovers_module();

}  // namespace amilift::modules
