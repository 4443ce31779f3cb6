// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::core {

/// Replaces `path` (a file of the helper) with `contents` so that a crash leaves either the old or
/// the new file: temporary file beside it, write, fsync, rename, fsync of the directory.
[[nodiscard]] Result<> write_file_atomically(const std::string& path, std::string_view contents,
                                             unsigned mode = 0644);

}  // namespace amilift::core
