// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

/// What reading and writing below a SafeRoot share.
namespace amilift::image::detail {

/// The path in quotes, for a message.
[[nodiscard]] std::string quoted(std::string_view path);

/// Errors: invalid_input for a relative path or one with a NUL byte, corrupt for one that is too
/// long for the kernel.
[[nodiscard]] core::Result<> check_path(std::string_view path);

/// "/boot//grub" -> "boot", "grub".
[[nodiscard]] std::vector<std::string> components_of(std::string_view path);

[[nodiscard]] core::Result<struct stat> stat_fd(const core::Fd& fd, std::string_view path);

/// Errc::corrupt that says what the path is.
[[nodiscard]] std::unexpected<core::Error> not_regular(std::string_view path, mode_t mode);

}  // namespace amilift::image::detail
