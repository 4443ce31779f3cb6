// SPDX-License-Identifier: Apache-2.0
#include "flow/states.hpp"

#include <utility>

namespace amilift::flow {
namespace {

constexpr std::array<std::pair<State, std::string_view>, kStateCount> kNames{{
    {State::fetch_job, "fetch-job"},
    {State::preflight, "preflight"},
    {State::create_volumes, "create-volumes"},
    {State::attach_volumes, "attach-volumes"},
    {State::convert, "convert"},
    {State::detach_volumes, "detach-volumes"},
    {State::snapshot, "snapshot"},
    {State::register_image, "register-image"},
    {State::delete_volumes, "delete-volumes"},
    {State::clean_up, "clean-up"},
    {State::finish, "finish"},
    {State::ended, "ended"},
}};

}  // namespace

std::string_view to_string(State state) noexcept {
    for (const auto& [value, name] : kNames) {
        if (value == state) return name;
    }
    return "unknown";
}

std::optional<State> state_from_string(std::string_view name) noexcept {
    for (const auto& [value, known] : kNames) {
        if (known == name) return value;
    }
    return std::nullopt;
}

}  // namespace amilift::flow
