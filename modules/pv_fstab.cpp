// SPDX-License-Identifier: Apache-2.0
#include "modules/pv_fstab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

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
constexpr std::string_view kPath = "/etc/fstab";

bool names_a_device(std::string_view spec) {
    return image::is_unstable_device(spec) || spec.starts_with("UUID=") ||
           spec.starts_with("LABEL=") || spec.starts_with("PARTUUID=") ||
           spec.starts_with("PARTLABEL=") || spec.starts_with("/dev/disk/");
}

bool is_boot_directory(std::string_view path) {
    return path == "/boot" || path == "/boot/efi" || path == "/efi";
}

bool is_left_out(const FstabEntry& entry, const LeftOut& left_out) {
    if (!names_a_device(entry.spec)) return false;
    return (left_out.boot && is_boot_directory(entry.file)) ||
           (left_out.swap && entry.type == "swap");
}

LeftOut left_out_of(const image::ImageFacts& facts) {
    const bool partitioned = facts.disk.is_partitioned();
    return {partitioned, partitioned};
}

/// The digits at the end of "/dev/sda5"; 0 for other names.
int partition_of(std::string_view spec) {
    if (!spec.starts_with("/dev/")) return 0;
    spec.remove_prefix(5);
    const auto digits = spec.find_last_not_of("0123456789") + 1;
    const auto disk = spec.substr(0, digits);
    const bool is_first = disk == "sda" || disk == "hda" || disk == "xvda" || disk == "xvde" ||
                          disk == "vda" || disk == "nvme0n1p";
    if (!is_first || spec.size() == digits || spec.size() > digits + 3) return 0;
    int number = 0;
    for (const char c : spec.substr(digits)) number = number * 10 + (c - '0');
    return number;
}

/// A filesystem of the disk that is mounted somewhere else than at "/" and /boot would be lost.
Result<> require_no_other_filesystem(const image::ImageFacts& facts) {
    if (!facts.disk.is_partitioned()) return {};
    for (const auto& entry : image::parse_fstab(facts.fstab_text)) {
        if (entry.file == "/" || is_boot_directory(entry.file)) continue;
        const auto is_meant = [&](const image::BootVolume& volume) {
            return (!volume.uuid.empty() && entry.spec == "UUID=" + volume.uuid) ||
                   (!volume.label.empty() && entry.spec == "LABEL=" + volume.label) ||
                   partition_of(entry.spec) == volume.partition;
        };
        const auto volume = std::ranges::find_if(facts.disk.volumes, is_meant);
        if (volume == facts.disk.volumes.end() || volume->mount_point == "/") continue;
        return fail(Errc::refused,
                    fmt::format("line {} of /etc/fstab mounts partition {} of the disk at '{}': a "
                                "paravirtual image is one filesystem",
                                entry.line, volume->partition, image::printable(entry.file, 80)),
                    "move its files into the root filesystem, or make an HVM image",
                    "other-filesystem");
    }
    return {};
}

Result<image::FstabEdit> edit_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                  const dev::FilesystemInfo& filesystem) {
    image::FstabEdit edit;
    edit.root_devices = image::old_root_devices(facts);
    edit.root_spec = root_spec(filesystem);
    edit.root_label = filesystem.label;
    edit.root_uuid = filesystem.uuid;
    AMILIFT_TRY(edit.missing_device, missing_device_style(root, facts.init));
    return edit;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    if (!context.facts.has_fstab) return std::vector<Step>{};
    AMILIFT_CHECK(require_no_other_filesystem(context.facts));
    AMILIFT_TRY(const auto edit, edit_for(context.source_root, context.facts, context.filesystem));
    AMILIFT_TRY(auto path, context.source_root.resolve(kPath));
    auto result = edit_pv_fstab(context.facts.fstab_text, edit, left_out_of(context.facts));
    std::vector<PathEdit> edits;
    if (!result.changes.empty()) {
        auto text = image::describe_edit(path, result.changes);
        edits.push_back(
            {std::move(path), context.facts.fstab_text, std::move(result.text), std::move(text)});
    }
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (!context.facts.has_fstab) return std::vector<std::string>{};
    AMILIFT_TRY(const auto edit, edit_for(context.target_root, context.facts, context.filesystem));
    AMILIFT_TRY(const auto text, context.target_root.read(kPath, image::kTextLimit));
    const auto again = edit_pv_fstab(text, edit, left_out_of(context.facts));
    if (!again.changes.empty()) {
        const auto& change = again.changes.front();
        return fail(Errc::internal, fmt::format("{} of the target is not converted: line {}: {}",
                                                kPath, change.line, change.text));
    }
    std::vector<std::string> proofs;
    for (const auto& entry : image::parse_fstab(text)) {
        if (entry.file != "/") continue;
        proofs.push_back(fmt::format("{}: '/' is {} (line {})", kPath,
                                     image::printable(entry.spec, 80), entry.line));
    }
    proofs.push_back(fmt::format("{}: editing it again changes nothing", kPath));
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

image::FstabResult edit_pv_fstab(std::string_view text, const image::FstabEdit& edit,
                                 const LeftOut& left_out) {
    std::vector<FstabEntry> gone;
    for (auto& entry : image::parse_fstab(text)) {
        if (is_left_out(entry, left_out)) gone.push_back(std::move(entry));
    }
    std::string without;
    std::vector<image::TextChange> changes;
    for (const auto& line : image::split_lines(text)) {
        const auto entry = std::ranges::find(gone, line.number, &FstabEntry::line);
        if (entry != gone.end()) {
            without += '#';
            changes.push_back(
                {line.number, fmt::format("comment out '{}' at '{}': this partition is not there "
                                          "any more",
                                          image::printable(entry->spec, 80),
                                          image::printable(entry->file, 80))});
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
