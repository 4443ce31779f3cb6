// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "dev/mount.hpp"
#include "image/safe_root.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// A change of one small file or link of the image, computed from what it holds.
struct PathEdit {
    std::string path;                   ///< without links on the way
    std::optional<std::string> before;  ///< contents; absent: there is none yet, or it is a link
    std::optional<std::string> after;   ///< absent: the file or link is removed
    std::string text;                   ///< of the step
};

/// The step that makes this change. It fails with conflict, and changes nothing, when the target
/// holds neither `before` nor `after` at that path: the plan was made for other contents.
[[nodiscard]] Step step_of(std::string_view module, PathEdit edit);

[[nodiscard]] std::vector<Step> steps_of(std::string_view module, std::vector<PathEdit> edits);

/// Contents of the regular file that `path` leads to, at most `limit` bytes, and its resolved path.
/// Absent if there is none, if it is larger, or if links lead out of the image: not a file to edit.
struct EditableFile {
    std::string path;
    std::string text;
};
[[nodiscard]] core::Result<std::optional<EditableFile>> editable_file(const image::SafeRoot& root,
                                                                      std::string_view path,
                                                                      std::size_t limit);

/// What the path is, without following its last component; `missing` too where links on the way
/// lead in circles: nothing of the guest gets there either.
[[nodiscard]] core::Result<image::FileKind> link_kind(const image::SafeRoot& root,
                                                      std::string_view path);
/// The same for what the path leads to.
[[nodiscard]] core::Result<image::FileKind> file_kind(const image::SafeRoot& root,
                                                      std::string_view path);

/// What names the root filesystem on every instance type: "UUID=...", else "LABEL=..."; empty if it
/// has neither, or a label that an unquoted word cannot hold.
[[nodiscard]] std::string root_spec(const dev::FilesystemInfo& filesystem);

}  // namespace amilift::modules
