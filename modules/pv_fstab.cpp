// SPDX-License-Identifier: Apache-2.0
#include "modules/pv_fstab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "image/device_files.hpp"
#include "image/root_name.hpp"
#include "image/text_lines.hpp"
#include "modules/fstab.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::FstabEntry;

constexpr std::string_view kName = "pv-fstab";
constexpr std::string_view kByUuid = "/dev/disk/by-uuid/";

bool names_a_device(std::string_view spec) {
    return image::is_unstable_device(spec) || image::names_partition(spec) ||
           spec.starts_with("UUID=") || spec.starts_with("LABEL=") ||
           spec.starts_with("/dev/disk/");
}

bool is_boot_directory(std::string_view path) {
    return path == "/boot" || path == "/boot/efi" || path == "/efi";
}

bool is_left_out(const FstabEntry& entry, const LeftOut& left_out) {
    if (is_boot_directory(entry.file)) return names_a_device(entry.spec);
    if (entry.type != "swap") return false;
    return image::names_partition(entry.spec) || left_out.specs.contains(entry.spec) ||
           entry.spec.starts_with("LABEL=");
}

/// Absent for a bare filesystem: all that it had stays.
std::optional<LeftOut> left_out_of(const image::ImageFacts& facts) {
    if (!facts.disk.is_partitioned()) return std::nullopt;
    LeftOut out;
    for (const auto& name : facts.disk.names) {
        out.specs.insert(name.spec);
        constexpr std::string_view kUuid = "UUID=";
        if (name.spec.starts_with(kUuid)) {
            out.specs.insert(std::string(kByUuid) + name.spec.substr(kUuid.size()));
        }
    }
    for (const auto& [device, spec] : image::other_partition_devices(facts)) {
        out.specs.insert(device);
    }
    return out;
}

Result<std::vector<PathEdit>> edits_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                        const dev::FilesystemInfo& filesystem) {
    std::vector<PathEdit> edits;
    image::FstabEdit edit;
    edit.root_devices = image::old_root_devices(facts);
    edit.root_spec = root_spec(filesystem);
    edit.root_label = filesystem.label;
    edit.root_uuid = filesystem.uuid;
    AMILIFT_TRY(edit.missing_device, missing_device_style(root, facts.init));
    AMILIFT_TRY(auto crypttab, editable_file(root, "/etc/crypttab", image::kTextLimit));
    if (crypttab) edit.missing_mappings = image::unstable_mappings(crypttab->text);
    const auto left_out = left_out_of(facts);

    std::vector<std::string> swaps;
    AMILIFT_TRY(auto fstab, editable_file(root, "/etc/fstab", image::kTextLimit));
    if (fstab) {
        auto result = left_out ? edit_pv_fstab(fstab->text, edit, *left_out)
                               : image::edit_fstab(fstab->text, edit);
        for (auto& entry : image::parse_fstab(result.text)) {
            if (entry.type == "swap") swaps.push_back(std::move(entry.spec));
        }
        add_edit(edits, *std::move(fstab), std::move(result));
    }
    if (crypttab && edit.missing_device == image::MissingDevice::nofail) {
        auto result = image::edit_crypttab(crypttab->text);
        add_edit(edits, *std::move(crypttab), std::move(result));
    }
    AMILIFT_TRY(auto resume,
                editable_file(root, "/etc/initramfs-tools/conf.d/resume", image::kTextLimit));
    if (resume && left_out) {
        auto result = image::edit_initramfs_resume(resume->text, swaps, filesystem.uuid);
        add_edit(edits, *std::move(resume), std::move(result));
    }
    return edits;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto edits, edits_for(context.source_root, context.facts, context.filesystem));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto again,
                edits_for(context.target_root, context.facts, context.filesystem));
    if (!again.empty()) {
        return fail(Errc::internal,
                    fmt::format("{} of the target is not converted: still to do: {}",
                                again.front().path, again.front().text));
    }
    std::vector<std::string> proofs;
    AMILIFT_TRY(const auto fstab,
                editable_file(context.target_root, "/etc/fstab", image::kTextLimit));
    if (!fstab) return proofs;
    for (const auto& entry : image::parse_fstab(fstab->text)) {
        if (entry.file != "/") continue;
        proofs.push_back(fmt::format("{}: '/' is {} (line {})", fstab->path,
                                     image::printable(entry.spec, 80), entry.line));
    }
    proofs.push_back(fmt::format("{}: editing it again changes nothing", fstab->path));
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

image::EditedText edit_pv_fstab(std::string_view text, const image::FstabEdit& edit,
                                const LeftOut& left_out) {
    std::vector<FstabEntry> gone;
    for (auto& entry : image::parse_fstab(text)) {
        if (is_left_out(entry, left_out)) gone.push_back(std::move(entry));
    }
    std::string without;
    std::vector<image::TextChange> changes;
    auto next = gone.cbegin();
    for (const auto& line : image::split_lines(text)) {
        if (next != gone.cend() && next->line == line.number) {
            without += '#';
            changes.push_back(
                {line.number,
                 fmt::format("comment out '{}' at '{}': this partition is not there "
                             "any more",
                             image::printable(next->spec, 80), image::printable(next->file, 80))});
            ++next;
        }
        without += line.body;
        without += line.ending;
    }
    auto result = image::edit_fstab(without, edit);
    std::vector<image::TextChange> all;
    std::ranges::merge(result.changes, changes, std::back_inserter(all), {},
                       &image::TextChange::line, &image::TextChange::line);
    result.changes = std::move(all);
    return result;
}

const Module& pv_fstab_module() {
    return kModule;
}

}  // namespace amilift::modules
