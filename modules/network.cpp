// SPDX-License-Identifier: Apache-2.0
#include "modules/network.hpp"

#include <fmt/format.h>

#include <utility>

#include "image/network.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "network";

PathEdit path_edit(image::NetworkFileChange change) {
    auto text = change.before
                    ? image::describe_edit(change.path, change.changes)
                    : fmt::format("add {}: no card is bound to its MAC address again", change.path);
    return {std::move(change.path), std::move(change.before), std::move(change.after),
            std::move(text)};
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto network, image::inspect_network(context.source_root));
    std::vector<PathEdit> edits;
    for (auto& change : network.changes) edits.push_back(path_edit(std::move(change)));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(auto network, image::inspect_network(context.target_root));
    if (!network.changes.empty()) {
        return fail(Errc::internal,
                    fmt::format("the target's network is not converted: still to do: {}",
                                path_edit(std::move(network.changes.front())).text));
    }
    if (network.primary.empty()) return std::vector<std::string>{};
    return std::vector<std::string>{
        fmt::format("the configuration of {} is bound to no MAC and no static IPv4 address",
                    image::printable(network.primary, 40))};
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

const Module& network_module() {
    return kModule;
}

}  // namespace amilift::modules
