// SPDX-License-Identifier: Apache-2.0
#include "modules/fstab.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "image/device_files.hpp"
#include "image/text_lines.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "fstab";
/// No mount program or libmount is larger.
constexpr std::size_t kProgramLimit = 4U << 20;

struct Files {
    std::optional<EditableFile> fstab;
    std::optional<EditableFile> crypttab;
    std::optional<EditableFile> resume;  ///< of initramfs-tools
};

Result<Files> files_of(const image::SafeRoot& root) {
    Files files;
    AMILIFT_TRY(files.fstab, editable_file(root, "/etc/fstab", image::kTextLimit));
    AMILIFT_TRY(files.crypttab, editable_file(root, "/etc/crypttab", image::kTextLimit));
    AMILIFT_TRY(files.resume,
                editable_file(root, "/etc/initramfs-tools/conf.d/resume", image::kTextLimit));
    return files;
}

std::vector<std::string> swap_specs(std::string_view fstab) {
    std::vector<std::string> out;
    for (const auto& entry : image::parse_fstab(fstab)) {
        if (entry.type == "swap") out.push_back(entry.spec);
    }
    return out;
}

Result<std::vector<PathEdit>> edits_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                        const dev::FilesystemInfo& filesystem, Files files) {
    image::FstabEdit edit;
    edit.root_devices = image::old_root_devices(facts);
    edit.root_spec = root_spec(filesystem);
    edit.root_label = filesystem.label;
    edit.root_uuid = filesystem.uuid;
    edit.is_label_shared = !image::shared_root_label(facts).empty();
    edit.keeps_partitions = facts.disk.is_partitioned();
    edit.other_devices = image::other_partition_devices(facts);
    AMILIFT_TRY(edit.missing_device, missing_device_style(root, facts.init));
    if (files.crypttab) edit.missing_mappings = image::unstable_mappings(files.crypttab->text);

    std::vector<PathEdit> edits;
    std::vector<std::string> swaps;
    if (files.fstab) {
        swaps = swap_specs(files.fstab->text);
        add_edit(edits, *files.fstab, image::edit_fstab(files.fstab->text, edit));
    }
    if (files.crypttab && edit.missing_device == image::MissingDevice::nofail) {
        add_edit(edits, *files.crypttab, image::edit_crypttab(files.crypttab->text));
    }
    if (files.resume) {
        add_edit(edits, *files.resume,
                 image::edit_initramfs_resume(files.resume->text, swaps, filesystem.uuid));
    }
    return edits;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto files, files_of(context.source_root));
    AMILIFT_TRY(auto edits, edits_for(context.source_root, context.facts, context.filesystem,
                                      std::move(files)));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    std::vector<std::string> proofs;
    AMILIFT_TRY(auto files, files_of(context.target_root));
    AMILIFT_TRY(const auto again,
                edits_for(context.target_root, context.facts, context.filesystem, files));
    if (!again.empty()) {
        return fail(Errc::internal,
                    fmt::format("{} of the target is not converted: still to do: {}",
                                again.front().path, again.front().text));
    }
    if (!files.fstab) return proofs;
    const auto& path = files.fstab->path;
    for (const auto& entry : image::parse_fstab(files.fstab->text)) {
        if (entry.file != "/") continue;
        const auto wanted = root_spec(context.filesystem);
        if (image::is_unstable_device(entry.spec) && !wanted.empty()) {
            return fail(Errc::internal,
                        fmt::format("line {} of {} mounts '{}' at /, expected {}", entry.line, path,
                                    image::printable(entry.spec, 80), wanted));
        }
        proofs.push_back(fmt::format("{}: '/' is {} (line {})", path,
                                     image::printable(entry.spec, 80), entry.line));
    }
    proofs.push_back(
        fmt::format("{}: no device that may be missing stops the boot, editing it "
                    "again changes nothing",
                    path));
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

Result<image::MissingDevice> missing_device_style(const image::SafeRoot& root,
                                                  image::InitSystem init) {
    using image::MissingDevice;
    if (init == image::InitSystem::systemd) return MissingDevice::nofail;
    AMILIFT_TRY(const auto mountall, file_kind(root, "/sbin/mountall"));
    if (mountall == image::FileKind::regular) return MissingDevice::nobootwait;
    for (const std::string_view path :
         {"/bin/mount", "/lib64/libmount.so.1", "/lib/libmount.so.1", "/usr/lib64/libmount.so.1",
          "/usr/lib/libmount.so.1", "/lib/x86_64-linux-gnu/libmount.so.1",
          "/lib/i386-linux-gnu/libmount.so.1"}) {
        AMILIFT_TRY(const auto file, editable_file(root, path, kProgramLimit));
        if (file && file->text.find("nofail") != std::string::npos) {
            return MissingDevice::nofail_without_check;
        }
    }
    return MissingDevice::without_check;
}

const Module& fstab_module() {
    return kModule;
}

}  // namespace amilift::modules
