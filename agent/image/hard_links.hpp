// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Directory entries that other_names() looks at, at most.
inline constexpr std::size_t kMaxLinkSearch = 50000;

/// The other names (hard links) of the file at `path`, which is without links, sorted: those below
/// the same top directory ("/etc"), where a system keeps them. A name elsewhere is not found, nor
/// one behind kMaxLinkSearch entries.
[[nodiscard]] core::Result<std::vector<std::string>> other_names(const SafeRoot& root,
                                                                 std::string_view path);

}  // namespace amilift::image
