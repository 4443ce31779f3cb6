// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace amilift::flow {

/// Where a job is. The name is what the `amilift:state` tag shows.
enum class State {
    fetch_job,
    preflight,
    create_volumes,
    attach_volumes,
    convert,
    detach_volumes,
    snapshot,
    register_image,
    delete_volumes,
    clean_up,  ///< after a failure: nothing that the job made is left
    finish,    ///< the outcome is told, the helper is ended
    ended
};
inline constexpr std::size_t kStateCount = 12;

/// How a state's work came out.
enum class Event { done, failed };
inline constexpr std::size_t kEventCount = 2;

struct Transition {
    State state;
    Event event;
    State next;
};

// clang-format off
/// The whole order of a job. States do work; only this table knows what comes next.
inline constexpr std::array kTransitions{
    Transition{State::fetch_job,      Event::done,   State::preflight},
    Transition{State::fetch_job,      Event::failed, State::finish},
    Transition{State::preflight,      Event::done,   State::create_volumes},
    Transition{State::preflight,      Event::failed, State::finish},
    Transition{State::create_volumes, Event::done,   State::attach_volumes},
    Transition{State::create_volumes, Event::failed, State::clean_up},
    Transition{State::attach_volumes, Event::done,   State::convert},
    Transition{State::attach_volumes, Event::failed, State::clean_up},
    Transition{State::convert,        Event::done,   State::detach_volumes},
    Transition{State::convert,        Event::failed, State::clean_up},
    Transition{State::detach_volumes, Event::done,   State::snapshot},
    Transition{State::detach_volumes, Event::failed, State::clean_up},
    Transition{State::snapshot,       Event::done,   State::register_image},
    Transition{State::snapshot,       Event::failed, State::clean_up},
    Transition{State::register_image, Event::done,   State::delete_volumes},
    Transition{State::register_image, Event::failed, State::clean_up},
    Transition{State::delete_volumes, Event::done,   State::finish},
    // The AMI is whole: a volume that could not be deleted is reported, the AMI stays.
    Transition{State::delete_volumes, Event::failed, State::finish},
    Transition{State::clean_up,       Event::done,   State::finish},
    Transition{State::clean_up,       Event::failed, State::finish},
    Transition{State::finish,         Event::done,   State::ended},
    Transition{State::finish,         Event::failed, State::ended},
    Transition{State::ended,          Event::done,   State::ended},
    Transition{State::ended,          Event::failed, State::ended},
};
// clang-format on

/// The state that follows.
[[nodiscard]] constexpr State next_state(State state, Event event) {
    for (const auto& row : kTransitions) {
        if (row.state == state && row.event == event) return row.next;
    }
    return State::ended;  // not reached: the table is total, see below
}

namespace detail {

[[nodiscard]] constexpr bool table_is_total() {
    for (std::size_t s = 0; s < kStateCount; ++s) {
        for (std::size_t e = 0; e < kEventCount; ++e) {
            int rows = 0;
            for (const auto& row : kTransitions) {
                if (static_cast<std::size_t>(row.state) == s &&
                    static_cast<std::size_t>(row.event) == e) {
                    ++rows;
                }
            }
            if (rows != 1) return false;
        }
    }
    return true;
}

/// Whatever happens in whatever order, the job ends: no path is longer than the number of states.
[[nodiscard]] constexpr bool every_path_ends(State from, std::size_t steps_left) {
    if (from == State::ended) return true;
    if (steps_left == 0) return false;
    return every_path_ends(next_state(from, Event::done), steps_left - 1) &&
           every_path_ends(next_state(from, Event::failed), steps_left - 1);
}

}  // namespace detail

static_assert(kTransitions.size() == kStateCount * kEventCount);
static_assert(detail::table_is_total(), "each (state, event) needs exactly one row");
static_assert(detail::every_path_ends(State::fetch_job, kStateCount), "the table has a loop");

[[nodiscard]] std::string_view to_string(State state) noexcept;
[[nodiscard]] std::optional<State> state_from_string(std::string_view name) noexcept;

}  // namespace amilift::flow
