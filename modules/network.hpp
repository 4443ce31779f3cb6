// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Loosens the first network card from the MAC and the address of the instance that the image comes
/// from, in whatever files the guest configures it (image/network.hpp).
[[nodiscard]] const Module& network_module();

}  // namespace amilift::modules
