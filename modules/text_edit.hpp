// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "dev/mount.hpp"
#include "image/editable_file.hpp"
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

/// Adds the change that an editor makes of `file` to `edits`; nothing if it changes nothing.
void add_edit(std::vector<PathEdit>& edits, image::EditableFile file, image::EditedText result);

/// The same for the configuration file at `path`, if there is one. Errors: those of
/// editable_file().
[[nodiscard]] core::Result<> edit_file(
    const image::SafeRoot& root, std::string_view path,
    const std::function<image::EditedText(std::string_view)>& edit, std::vector<PathEdit>& edits);

using image::editable_file;
using image::EditableFile;
using image::file_kind;
using image::link_kind;

/// What names the root filesystem on every instance type: "UUID=...", else "LABEL=..."; empty if it
/// has neither, or a label that an unquoted word cannot hold.
[[nodiscard]] std::string root_spec(const dev::FilesystemInfo& filesystem);

}  // namespace amilift::modules
