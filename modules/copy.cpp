// SPDX-License-Identifier: Apache-2.0
#include "modules/copy.hpp"

#include <fmt/format.h>

#include "modules/partition.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

double mebibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(1U << 20);
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    if (context.target_has_content) return std::vector<Step>{};
    const auto offset = root_offset(context.options.layout);
    Step step;
    step.module = "copy";
    step.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB ({}, {}) to {} MiB of the target; UUID {} and label "
        "'{}' stay",
        mebibytes(context.used.used_bytes), mebibytes(filesystem.size_bytes),
        dev::to_string(filesystem.type), context.used.method, offset >> 20, filesystem.uuid,
        filesystem.label);
    step.apply = [offset, extents = context.used.used](ApplyContext& apply_context) -> Result<> {
        dev::CopyPlan copy;
        copy.extents = extents;
        copy.target_offset = offset;
        copy.target_content = apply_context.target_content();
        AMILIFT_TRY(const auto stats,
                    dev::copy_extents(
                        apply_context.source(), apply_context.target(), copy,
                        [&](const dev::CopyProgress& p) { apply_context.progress(p); },
                        apply_context.cancel()));
        apply_context.copied(stats);
        return {};
    };
    return std::vector<Step>{std::move(step)};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    const auto layout = context.options.layout;
    AMILIFT_TRY(const auto copied, dev::read_filesystem_info(context.target, root_offset(layout)));
    const auto& source = context.filesystem;
    const auto differs = [&](std::string_view what, const auto& seen, const auto& wanted) {
        return fail(Errc::corrupt,
                    fmt::format("filesystem on '{}' has {} '{}', the source has '{}'",
                                context.target.path(), what, seen, wanted),
                    "the target does not keep what is written to it; use another volume");
    };
    if (copied.type != source.type) {
        return differs("type", dev::to_string(copied.type), dev::to_string(source.type));
    }
    if (copied.uuid != source.uuid) return differs("UUID", copied.uuid, source.uuid);
    if (copied.label != source.label) return differs("label", copied.label, source.label);
    if (copied.size_bytes != source.size_bytes) {
        return differs("size", copied.size_bytes, source.size_bytes);
    }
    if (copied.needs_recovery) {
        return fail(Errc::corrupt, fmt::format("filesystem on '{}' was not unmounted cleanly",
                                               context.target.path()));
    }
    return std::vector<std::string>{
        fmt::format("{} on {} is clean, UUID {}, label '{}'", dev::to_string(copied.type),
                    layout == job::Layout::in_place ? "the whole disk" : "partition 1", copied.uuid,
                    copied.label)};
}

constexpr Module kModule{"copy", plan, verify};

}  // namespace

const Module& copy_module() {
    return kModule;
}

}  // namespace amilift::modules
