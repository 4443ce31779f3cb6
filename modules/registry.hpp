// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "modules/module.hpp"

namespace amilift::modules {

/// All modules, in the order in which their steps are applied: the one list.
[[nodiscard]] std::span<const Module> registry();

/// Those of them that work on this image: a PV root is moved into a partition and gets a boot
/// loader, a disk with partitions is copied or edited as it is and keeps its own; either becomes
/// one bare filesystem for a paravirtual target.
[[nodiscard]] std::vector<const Module*> modules_for(const image::ImageFacts& facts,
                                                     const job::ConversionOptions& options);

}  // namespace amilift::modules
