// SPDX-License-Identifier: Apache-2.0
#include "modules/leftovers.hpp"

#include <fmt/format.h>

#include <utility>

#include "image/device_files.hpp"
#include "image/guest_findings.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "leftovers";

Result<std::vector<PathEdit>> edits_for(const image::SafeRoot& root, job::Virtualization target) {
    std::vector<PathEdit> edits;
    std::vector<std::string> paths;
    // A paravirtual kernel may be a XenLinux one, whose drivers the aliases name.
    if (target == job::Virtualization::hvm) {
        AMILIFT_TRY(paths, image::modprobe_files(root));
    }
    for (const auto& path : paths) {
        AMILIFT_CHECK(edit_file(root, path, image::edit_modprobe, edits));
    }
    AMILIFT_TRY(const auto links, image::kudzu_links(root));
    for (const auto& link : links) {
        edits.push_back({link, std::nullopt, std::nullopt,
                         fmt::format("remove {}: kudzu would move the configuration of the old "
                                     "network card away",
                                     link)});
    }
    return edits;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto edits, edits_for(context.source_root, context.options.virtualization));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto edits, edits_for(context.target_root, context.options.virtualization));
    if (!edits.empty()) {
        return fail(Errc::internal,
                    fmt::format("the target has leftovers: still to do: {}", edits.front().text));
    }
    return std::vector<std::string>{};
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

const Module& leftovers_module() {
    return kModule;
}

}  // namespace amilift::modules
