// SPDX-License-Identifier: Apache-2.0
#include "modules/text_edit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "image/root_name.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::Result;
using image::FileKind;

/// What the target holds at the path: its contents, or nothing for a missing file or a link.
Result<std::optional<std::string>> current_text(const image::SafeRoot& root, const PathEdit& edit) {
    AMILIFT_TRY(const auto status, root.link_status(edit.path));
    if (status.kind == FileKind::missing || status.kind == FileKind::symlink) return std::nullopt;
    const auto limit =
        std::max(edit.before ? edit.before->size() : 0, edit.after ? edit.after->size() : 0) + 1;
    if (status.kind == FileKind::regular && status.size_bytes > limit) return std::string(limit, 0);
    AMILIFT_TRY(auto text, root.read(edit.path, limit));
    return text;
}

Result<> apply_edit(ApplyContext& context, const std::string& module, const PathEdit& edit) {
    AMILIFT_TRY(const auto* root, context.target_root());
    AMILIFT_TRY(const auto now, current_text(*root, edit));
    if (now != edit.before && now != edit.after) {
        return core::fail(
            Errc::conflict,
            fmt::format("'{}' of the target does not hold what the plan was made from", edit.path),
            "nothing else may write to source or target during a conversion: start again");
    }
    if (!edit.after) return context.manifest().remove(*root, module, edit.path);
    return context.manifest().write(*root, module, edit.path, *edit.after);
}

}  // namespace

Step step_of(std::string_view module, PathEdit edit) {
    Step step;
    step.module = module;
    step.text = edit.text;
    step.path = edit.path;
    step.apply = [name = step.module, edit = std::move(edit)](ApplyContext& context) {
        return apply_edit(context, name, edit);
    };
    return step;
}

std::vector<Step> steps_of(std::string_view module, std::vector<PathEdit> edits) {
    std::vector<Step> steps;
    for (auto& edit : edits) steps.push_back(step_of(module, std::move(edit)));
    return steps;
}

void add_edit(std::vector<PathEdit>& edits, EditableFile file, image::EditedText result) {
    if (result.changes.empty()) return;
    auto text = image::describe_edit(file.path, result.changes);
    edits.push_back(
        {std::move(file.path), std::move(file.text), std::move(result.text), std::move(text)});
}

Result<> edit_file(const image::SafeRoot& root, std::string_view path,
                   const std::function<image::EditedText(std::string_view)>& edit,
                   std::vector<PathEdit>& edits) {
    AMILIFT_TRY(auto file, editable_file(root, path, image::kConfigFileLimit));
    if (!file) return {};
    auto result = edit(file->text);
    add_edit(edits, *std::move(file), std::move(result));
    return {};
}

std::string root_spec(const dev::FilesystemInfo& filesystem) {
    return image::stable_root_name(filesystem.uuid, filesystem.label);
}

}  // namespace amilift::modules
