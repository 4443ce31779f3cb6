// SPDX-License-Identifier: Apache-2.0
#include "modules/fstab.hpp"

#include <fmt/format.h>

#include <utility>

#include "image/text_lines.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "fstab";
constexpr std::string_view kPath = "/etc/fstab";
/// No mount program or libmount is larger.
constexpr std::size_t kProgramLimit = 4U << 20;

Result<image::FstabEdit> edit_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                  const dev::FilesystemInfo& filesystem) {
    image::FstabEdit edit;
    edit.root_devices = image::old_root_devices(facts);
    edit.root_spec = root_spec(filesystem);
    edit.root_label = filesystem.label;
    edit.root_uuid = filesystem.uuid;
    edit.keeps_partitions = facts.disk.is_partitioned();
    edit.other_devices = image::other_partition_devices(facts);
    AMILIFT_TRY(edit.missing_device, missing_device_style(root, facts.init));
    return edit;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    if (!context.facts.has_fstab) return std::vector<Step>{};
    AMILIFT_TRY(const auto edit, edit_for(context.source_root, context.facts, context.filesystem));
    AMILIFT_TRY(auto path, context.source_root.resolve(kPath));
    auto result = image::edit_fstab(context.facts.fstab_text, edit);
    std::vector<PathEdit> edits;
    if (!result.changes.empty()) {
        auto text = image::describe_edit(path, result.changes);
        edits.push_back(
            {std::move(path), context.facts.fstab_text, std::move(result.text), std::move(text)});
    }
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    std::vector<std::string> proofs;
    if (!context.facts.has_fstab) return proofs;
    AMILIFT_TRY(const auto edit, edit_for(context.target_root, context.facts, context.filesystem));
    AMILIFT_TRY(const auto path, context.target_root.resolve(kPath));
    AMILIFT_TRY(const auto text, context.target_root.read(path, image::kTextLimit));
    const auto again = image::edit_fstab(text, edit);
    if (!again.changes.empty()) {
        const auto& change = again.changes.front();
        return fail(Errc::internal, fmt::format("{} of the target is not converted: line {}: {}",
                                                path, change.line, change.text));
    }
    for (const auto& entry : image::parse_fstab(text)) {
        if (entry.file != "/") continue;
        if (image::is_unstable_device(entry.spec) && !edit.root_spec.empty()) {
            return fail(Errc::internal,
                        fmt::format("line {} of {} mounts '{}' at /, expected {}", entry.line, path,
                                    image::printable(entry.spec, 80), edit.root_spec));
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
