// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"

/// Extended attributes of open files of an image. `path` names the file in messages.
namespace amilift::image::detail {

/// One attribute; nothing when it is not there or the filesystem has none.
[[nodiscard]] core::Result<std::optional<std::string>> read_xattr(const core::Fd& fd,
                                                                  const char* name,
                                                                  std::string_view path);

[[nodiscard]] core::Result<> write_xattr(const core::Fd& fd, const char* name,
                                         const std::string& value, std::string_view path);

/// All attributes of `from`, written to `to`; what `to` has besides stays.
[[nodiscard]] core::Result<> copy_xattrs(const core::Fd& from, const core::Fd& to,
                                         std::string_view path);

}  // namespace amilift::image::detail
