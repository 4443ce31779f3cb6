// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "modules/module.hpp"

namespace amilift::modules {

/// All modules, in the order in which their steps are applied: the one list.
[[nodiscard]] std::span<const Module> registry();

}  // namespace amilift::modules
