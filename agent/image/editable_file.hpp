// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// The largest of the guest's small configuration files that are read, in bytes.
inline constexpr std::size_t kConfigFileLimit = std::size_t{256} << 10;

/// Contents of the regular file that `path` leads to, at most `limit` bytes, and its resolved path.
/// Absent if there is none, if it is larger, or if links lead out of the image: not a file to edit.
struct EditableFile {
    std::string path;
    std::string text;
};
[[nodiscard]] core::Result<std::optional<EditableFile>> editable_file(const SafeRoot& root,
                                                                      std::string_view path,
                                                                      std::size_t limit);

/// What the path is, without following its last component; `missing` too where links on the way
/// lead in circles: nothing of the guest gets there either.
[[nodiscard]] core::Result<FileKind> link_kind(const SafeRoot& root, std::string_view path);
/// The same for what the path leads to.
[[nodiscard]] core::Result<FileKind> file_kind(const SafeRoot& root, std::string_view path);

/// Names in a directory, sorted, without those that an editor or a package manager leaves behind
/// (x~, x.bak, x.rpmsave); none if there is no such directory, or one of more than 1000 names.
[[nodiscard]] core::Result<std::vector<std::string>> config_names(const SafeRoot& root,
                                                                  std::string_view directory);

/// Is `path` switched off as systemd and udev understand it: a link to /dev/null, or an empty file?
[[nodiscard]] core::Result<bool> is_masked(const SafeRoot& root, std::string_view path);

}  // namespace amilift::image
