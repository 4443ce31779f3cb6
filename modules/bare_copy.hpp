// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "modules/module.hpp"

namespace amilift::modules {

/// Copies the used parts of the root filesystem to the start of the target, which has no partition
/// table then: what PV-GRUB boots. The filesystem keeps its size, its UUID and its label. The files
/// of a /boot of its own are copied into it.
[[nodiscard]] const Module& bare_copy_module();

/// The parts of `extents` within [`offset`, `offset` + `length`), counted from `offset`. All in
/// bytes; `extents` ascend.
[[nodiscard]] std::vector<dev::Extent> extents_within(const std::vector<dev::Extent>& extents,
                                                      std::uint64_t offset, std::uint64_t length);

}  // namespace amilift::modules
