// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Edits the menu that boots, and every other menu under a name that GRUB 0.97 knows, for the new
/// disk: (hd0) -> (hd0,0), PV consoles -> the job's consoles, root=/dev/... -> UUID in entries with
/// an initrd, and the arguments that each kernel needs (modules/arguments.hpp). Links between the
/// names stay.
[[nodiscard]] const Module& menu_module();

}  // namespace amilift::modules
