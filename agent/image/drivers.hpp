// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Where the image has `driver` ("ena") for the kernel `version`: "built in", or the path of the
/// module file, which is known to exist; empty if the kernel has no such driver, or it is
/// blacklisted. Reads /lib/modules/<version>/modules.{builtin,dep} and /etc/modprobe.d. Source:
/// depmod(8), modprobe.d(5).
[[nodiscard]] core::Result<std::string> find_driver(const SafeRoot& root,
                                                    const std::string& version,
                                                    std::string_view driver);

}  // namespace amilift::image
