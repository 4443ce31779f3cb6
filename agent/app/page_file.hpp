// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::app {

/// May an HTML page be written to `path`, when `source` (a disk, or empty) is what it tells of?
/// There must be nothing yet, or a regular file that is a page: a disk whose name stands in the
/// wrong place must not become one. Errors: already_exists, invalid_input (it is the source).
[[nodiscard]] core::Result<> require_page_place(const std::string& path, const std::string& source);

}  // namespace amilift::app
