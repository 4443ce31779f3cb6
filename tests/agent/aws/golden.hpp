// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

namespace amilift::aws::tests {

inline constexpr auto kGoldenDirectory = "tests/data/aws/";

/// The text of a golden file; empty if there is none (tests run from the root of the source tree).
inline std::string golden_text(const std::string& name) {
    std::ifstream file(kGoldenDirectory + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The golden JSON file `name`; throws if it is absent or no JSON, which fails the test.
inline nlohmann::ordered_json golden_json(const std::string& name) {
    return nlohmann::ordered_json::parse(golden_text(name));
}

}  // namespace amilift::aws::tests
