// SPDX-License-Identifier: Apache-2.0
#include "flow/states.hpp"

#include <gtest/gtest.h>

#include <set>

namespace amilift::flow {
namespace {

TEST(States, EveryStateHasANameThatReadsBack) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < kStateCount; ++i) {
        const auto state = static_cast<State>(i);
        const auto name = to_string(state);
        EXPECT_NE(name, "unknown");
        EXPECT_EQ(state_from_string(name), state);
        names.insert(name);
    }
    EXPECT_EQ(names.size(), kStateCount);
    EXPECT_EQ(state_from_string("nonsense"), std::nullopt);
}

TEST(States, AFailureBeforeAnythingExistsNeedsNoCleanUp) {
    EXPECT_EQ(next_state(State::fetch_job, Event::failed), State::finish);
    EXPECT_EQ(next_state(State::preflight, Event::failed), State::finish);
}

TEST(States, EveryLaterFailureCleansUp) {
    for (const auto state : {State::create_volumes, State::attach_volumes, State::convert,
                             State::detach_volumes, State::snapshot, State::register_image}) {
        EXPECT_EQ(next_state(state, Event::failed), State::clean_up) << to_string(state);
    }
}

}  // namespace
}  // namespace amilift::flow
