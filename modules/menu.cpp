// SPDX-License-Identifier: Apache-2.0
#include "modules/menu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "image/kernel_arguments.hpp"
#include "image/menu.hpp"
#include "image/text_lines.hpp"
#include "modules/arguments.hpp"
#include "modules/in_place.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "menu";

Result<image::MenuEdit> edit_for(const job::ConversionOptions& options,
                                 const image::ImageFacts& facts,
                                 const dev::FilesystemInfo& filesystem,
                                 const image::SafeRoot& root) {
    image::MenuEdit edit;
    AMILIFT_TRY(static_cast<image::ArgumentEdit&>(edit),
                argument_edit(options, facts, filesystem, root));
    // Of a disk with partitions, (hd0) is the disk, and the menu that boots does not name it.
    edit.whole_disk_to_first_partition =
        !facts.disk.is_partitioned() && options.layout != job::Layout::in_place;
    if (facts.must_set_default) edit.default_entry = facts.boot_entry;
    return edit;
}

struct MenuFile {
    std::string path;
    std::string text;
    bool is_live = false;
    image::FileStatus status{};
};

/// Each menu once, whatever names lead to it; the live one first.
Result<std::vector<MenuFile>> menus_of(const image::SafeRoot& root,
                                       const image::ImageFacts& facts) {
    std::vector<MenuFile> menus;
    for (const auto name : image::kMenuNames) {
        AMILIFT_TRY(auto file, editable_file(root, name, image::kTextLimit));
        if (!file || !image::is_menu_place(file->path)) continue;
        if (std::ranges::find(menus, file->path, &MenuFile::path) != menus.end()) continue;
        AMILIFT_TRY(const auto status, root.status(file->path));
        const bool is_known = std::ranges::any_of(
            menus, [&](const MenuFile& menu) { return menu.status.is_same_file(status); });
        if (is_known) continue;
        const bool is_live = file->path == facts.menu_path;
        menus.insert(is_live ? menus.begin() : menus.end(),
                     {std::move(file->path), std::move(file->text), is_live, status});
    }
    return menus;
}

image::EditedText edited(const MenuFile& menu, image::MenuEdit edit) {
    // The number of the entry that boots means nothing in another menu.
    if (!menu.is_live) edit.default_entry.reset();
    return image::edit_menu(menu.text, edit);
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(const auto edit,
                edit_for(context.options, context.facts, context.filesystem, context.source_root));
    AMILIFT_TRY(auto menus, menus_of(context.source_root, context.facts));
    std::vector<PathEdit> edits;
    for (auto& menu : menus) {
        auto result = edited(menu, edit);
        if (menu.is_live && context.options.layout == job::Layout::in_place) {
            AMILIFT_CHECK(require_in_place_entry(context.facts, result.text));
        }
        add_edit(edits, {menu.path, std::move(menu.text)}, std::move(result));
    }
    return steps_of(kName, std::move(edits));
}

Result<> prove_entries(const MenuFile& file, const image::Menu& menu, const image::BootDisk& disk,
                       job::Layout layout) {
    if (disk.is_partitioned() || layout == job::Layout::in_place) return {};
    for (std::size_t i = 0; i < menu.entries.size(); ++i) {
        const auto& entry = menu.entries[i];
        for (const auto& device : {entry.root, entry.kernel_device, entry.initrd_device}) {
            if (device != "(hd0)") continue;
            return fail(Errc::internal,
                        fmt::format("entry {} '{}' of {} still names (hd0), expected (hd0,0)", i,
                                    image::printable(entry.title, 80), file.path));
        }
    }
    return {};
}

/// What the kernel will be told, for people to read.
Result<std::string> prove_boot_entry(const VerifyContext& context, const MenuFile& file,
                                     const image::Menu& menu, const image::ArgumentEdit& edit) {
    const auto index = context.facts.boot_entry.value_or(menu.entries.size());
    if (index >= menu.entries.size()) {
        return fail(Errc::internal, fmt::format("{} of the target has no entry {}, expected the "
                                                "one that boots",
                                                file.path, index));
    }
    const auto& entry = menu.entries[index];
    const auto console = image::last_value(entry.arguments, "console");
    if (console && image::is_pv_console(*console)) {
        return fail(Errc::internal,
                    fmt::format("entry {} '{}' of {} has console={}, expected one of an HVM "
                                "instance",
                                index, image::printable(entry.title, 80), file.path,
                                image::printable(*console, 80)));
    }
    image::BootEntry told;
    told.kernel = entry.kernel;
    told.arguments = entry.arguments;
    return fmt::format("{}: entry {} has {}", file.path, index, told_of(told, edit));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto edit,
                edit_for(context.options, context.facts, context.filesystem, context.target_root));
    AMILIFT_TRY(const auto menus, menus_of(context.target_root, context.facts));
    if (menus.empty() || !menus.front().is_live) {
        return fail(Errc::internal, fmt::format("the target has no menu {}, which boots the image",
                                                context.facts.menu_path));
    }
    std::vector<std::string> proofs;
    for (const auto& file : menus) {
        const auto again = edited(file, edit);
        if (!again.changes.empty()) {
            const auto& change = again.changes.front();
            return fail(Errc::internal,
                        fmt::format("{} of the target is not converted: line {}: {}", file.path,
                                    change.line, change.text));
        }
        const auto menu = image::parse_menu(file.text);
        AMILIFT_CHECK(prove_entries(file, menu, context.facts.disk, context.options.layout));
        if (file.is_live && context.options.layout == job::Layout::in_place) {
            AMILIFT_CHECK(require_in_place_entry(context.facts, file.text));
        }
        if (file.is_live) {
            AMILIFT_TRY(proofs.emplace_back(), prove_boot_entry(context, file, menu, edit));
        }
        const bool in_place = context.options.layout == job::Layout::in_place;
        proofs.push_back(
            fmt::format("{}: no entry names {}a PV console, editing it again changes nothing",
                        file.path, in_place ? "" : "(hd0) or "));
    }
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

const Module& menu_module() {
    return kModule;
}

}  // namespace amilift::modules
