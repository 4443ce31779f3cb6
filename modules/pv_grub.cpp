// SPDX-License-Identifier: Apache-2.0
#include "modules/pv_grub.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "image/kernel_arguments.hpp"
#include "image/network.hpp"
#include "image/pv_menu.hpp"
#include "image/root_name.hpp"
#include "modules/bootloader.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "pv-grub";
/// Where PV-GRUB looks on a bare filesystem. Source: EC2 User Guide, "User provided kernels".
constexpr std::string_view kMenu = "/boot/grub/menu.lst";

/// Incompatible features of ext4 that its reader in GRUB 0.97 knows: filetype, recover (the journal
/// is clean), extents, mmp and flex_bg. Source of the bits: Linux, fs/ext4/ext4.h.
constexpr std::uint32_t kKnownIncompat = 0x0002 | 0x0004 | 0x0040 | 0x0100 | 0x0200;

struct Feature {
    std::uint32_t bit;
    std::string_view name;
};
constexpr std::array<Feature, 10> kOtherIncompat{{{0x0001, "compression"},
                                                  {0x0008, "journal_dev"},
                                                  {0x0010, "meta_bg"},
                                                  {0x0080, "64bit"},
                                                  {0x0400, "ea_inode"},
                                                  {0x2000, "csum_seed"},
                                                  {0x4000, "large_dir"},
                                                  {0x8000, "inline_data"},
                                                  {0x10000, "encrypt"},
                                                  {0x20000, "casefold"}}};

/// The volume of /boot, if that is a partition of its own.
const image::BootVolume* boot_volume(const image::ImageFacts& facts) {
    if (!facts.disk.is_partitioned()) return nullptr;
    const auto& volumes = facts.disk.volumes;
    const auto found = std::ranges::find(volumes, "/boot", &image::BootVolume::mount_point);
    return found == volumes.end() ? nullptr : &*found;
}

Result<image::PvMenuEdit> edit_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                   const dev::FilesystemInfo& filesystem) {
    image::PvMenuEdit edit;
    // Names of cards that the image's own network files need: see the network module.
    AMILIFT_TRY(auto network, image::inspect_network(root));
    edit.wanted = std::move(network.naming);
    if (const auto* boot = boot_volume(facts); boot != nullptr) {
        edit.boot_device = fmt::format("(hd0,{})", boot->partition - 1);
    }
    edit.swap_is_gone = facts.disk.is_partitioned();
    if (!facts.pv_console.empty()) edit.console = facts.pv_console;
    if (auto spec = root_spec(filesystem); !spec.empty()) edit.root_argument = std::move(spec);
    edit.old_root_devices = image::old_root_devices(facts);
    for (auto& name : image::lost_root_names(facts)) {
        edit.old_root_devices.push_back(std::move(name));
    }
    // The partition that these name is gone.
    for (const auto& entry : facts.boot_entries) {
        const auto device = image::last_value(entry.arguments, "root").value_or("");
        if (image::names_partition(device)) edit.old_root_devices.push_back(device);
    }
    edit.default_entry = facts.boot_entry;
    return edit;
}

/// GRUB 0.97 does not read holes in files with extents.
Result<> require_no_holes(const image::SafeRoot& root, const std::string& path) {
    if (path.empty()) return {};
    AMILIFT_TRY(const auto file, root.open_regular(path));
    const auto end = ::lseek(file.get(), 0, SEEK_END);
    if (end <= 0) return {};
    const auto hole = ::lseek(file.get(), 0, SEEK_HOLE);
    if (hole < 0 || hole >= end) return {};
    return fail(
        Errc::refused,
        fmt::format("'{}' has a hole at its byte {}, which PV-GRUB does not read", path, hole),
        "copy the file (cp --sparse=never) and put the copy in its place", "pv-grub-cannot-read");
}

Result<const image::Kernel*> require_boot_kernel(const image::ImageFacts& facts) {
    if (const auto* kernel = facts.boot_kernel(); kernel != nullptr) return kernel;
    return fail(Errc::refused, "the image has no menu entry that can boot",
                "add an entry with a kernel for Xen PV guests to its menu", "no-bootable-entry");
}

/// The step that makes kMenu hold `text`, whatever is there.
Result<std::vector<PathEdit>> put_menu(const image::SafeRoot& root, std::string text,
                                       std::string why) {
    AMILIFT_TRY(auto there, editable_file(root, kMenu, image::kTextLimit));
    if (there && there->text == text) return std::vector<PathEdit>{};
    PathEdit edit;
    edit.path = kMenu;
    edit.after = std::move(text);
    edit.text = fmt::format("write {}: {}", kMenu, why);
    if (there) {
        edit.path = std::move(there->path);
        edit.before = std::move(there->text);
    } else {
        AMILIFT_CHECK(Manifest::require_place(root, kMenu));
    }
    return std::vector<PathEdit>{std::move(edit)};
}

Result<std::vector<Step>> plan_menu(const PlanContext& context) {
    const auto& facts = context.facts;
    const auto& root = context.source_root;
    AMILIFT_TRY(const auto edit, edit_for(root, facts, context.filesystem));
    if (facts.menu_kind != image::BootMenuKind::grub_legacy) {
        std::vector<image::BootEntry> entries;
        for (const auto index : facts.pv_entries) entries.push_back(facts.boot_entries.at(index));
        AMILIFT_TRY(
            auto edits,
            put_menu(root, image::make_pv_menu(entries, edit),
                     fmt::format("{} of {}, the default first",
                                 entries.size() == 1 ? std::string("the entry")
                                                     : fmt::format("{} entries", entries.size()),
                                 facts.menu_path)));
        return steps_of(kName, std::move(edits));
    }
    auto result = image::edit_pv_menu(facts.menu_text, edit);
    std::vector<PathEdit> edits;
    if (!result.changes.empty()) {
        edits.push_back({facts.menu_path, facts.menu_text, result.text,
                         image::describe_edit(facts.menu_path, result.changes)});
    }
    const auto named = root.resolve(kMenu);
    if (named && *named == facts.menu_path) return steps_of(kName, std::move(edits));
    AMILIFT_TRY(auto more, put_menu(root, std::move(result.text),
                                    fmt::format("PV-GRUB does not look for {}", facts.menu_path)));
    for (auto& one : more) edits.push_back(std::move(one));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_CHECK(require_pv_grub_reads(context.filesystem));
    AMILIFT_TRY(const auto* kernel, require_boot_kernel(context.facts));
    if (boot_volume(context.facts) == nullptr) {
        AMILIFT_CHECK(require_no_holes(context.source_root, kernel->path));
        AMILIFT_CHECK(require_no_holes(context.source_root, kernel->initrd));
    }
    return plan_menu(context);
}

/// The entry that PV-GRUB boots by itself, as the target has it.
Result<image::MenuEntry> live_entry(const image::Menu& menu, const std::string& wanted_console) {
    const auto index = image::default_entry(menu);
    if (!index) {
        return fail(Errc::internal, fmt::format("{} of the target has no entry", kMenu));
    }
    const auto& entry = menu.entries.at(*index);
    for (const auto& device : {entry.root, entry.kernel_device, entry.initrd_device}) {
        if (device.empty() || device == "(hd0)") continue;
        return fail(Errc::internal, fmt::format("entry {} of {} names {}, expected (hd0)", *index,
                                                kMenu, image::printable(device, 40)));
    }
    const auto console = image::last_value(entry.arguments, "console").value_or("(none)");
    if (console != wanted_console) {
        return fail(Errc::internal,
                    fmt::format("entry {} of {} has console={}, expected {}", *index, kMenu,
                                image::printable(console, 40), wanted_console));
    }
    return entry;
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto* kernel, require_boot_kernel(context.facts));
    AMILIFT_TRY(const auto text, context.target_root.read(kMenu, image::kTextLimit));
    const auto menu = image::parse_menu(text);
    AMILIFT_TRY(auto edit, edit_for(context.target_root, context.facts, context.filesystem));
    AMILIFT_TRY(const auto entry, live_entry(menu, edit.console));
    std::vector<std::string> proofs;
    if (context.facts.menu_kind != image::BootMenuKind::grub_legacy) {
        edit.default_entry = 0;
        edit.boot_device.clear();
    }
    if (!image::edit_pv_menu(text, edit).changes.empty()) {
        return fail(Errc::internal, fmt::format("{} of the target is not converted", kMenu));
    }
    AMILIFT_TRY(const auto wanted, context.target_root.resolve(kernel->path));
    AMILIFT_TRY(const auto named, context.target_root.resolve(entry.kernel));
    if (named != wanted) {
        return fail(Errc::internal,
                    fmt::format("{} of the target boots '{}', expected '{}'", kMenu,
                                image::printable(entry.kernel), image::printable(kernel->path)));
    }
    proofs.push_back(fmt::format("{} boots '{}' with {}", kMenu, image::printable(entry.title, 80),
                                 image::printable(image::trim(entry.arguments), 400)));
    AMILIFT_TRY(proofs.emplace_back(),
                prove_boot_file(context, entry.kernel, "(loop0)" + entry.kernel));
    if (!entry.initrd.empty()) {
        AMILIFT_TRY(proofs.emplace_back(),
                    prove_boot_file(context, entry.initrd, "(loop0)" + entry.initrd));
    }
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

Result<> require_pv_grub_reads(const dev::FilesystemInfo& filesystem) {
    std::string why;
    if (!dev::is_ext(filesystem.type)) {
        why = fmt::format("is {}", dev::to_string(filesystem.type));
    } else if (const auto unknown = filesystem.feature_incompat & ~kKnownIncompat; unknown != 0) {
        for (const auto& feature : kOtherIncompat) {
            if ((unknown & feature.bit) == 0) continue;
            why += fmt::format("{}{}", why.empty() ? "has the ext4 features " : ", ", feature.name);
        }
        if (why.empty()) why = fmt::format("has unknown ext4 features ({:#x})", unknown);
    }
    if (why.empty()) return {};
    return fail(Errc::refused,
                fmt::format("the root filesystem {}, which PV-GRUB cannot read", why),
                "copy the files to an ext3 filesystem; 64bit alone is taken off by 'resize2fs -s'",
                "pv-grub-cannot-read");
}

const Module& pv_grub_module() {
    return kModule;
}

}  // namespace amilift::modules
