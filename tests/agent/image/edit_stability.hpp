// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

#include "image/text_lines.hpp"

namespace amilift::image {

/// A text with a few bytes exchanged (for ones of `bytes`), cut and doubled at random.
inline std::string damaged(std::string_view sample, std::string_view bytes, std::mt19937& random) {
    std::string text(sample);
    const auto changes = 1 + random() % 6;
    for (std::size_t i = 0; i < changes && !text.empty(); ++i) {
        const auto at = random() % text.size();
        switch (random() % 3) {
            case 0:
                text[at] = bytes[random() % bytes.size()];
                break;
            case 1:
                text.erase(at, 1 + random() % 5);
                break;
            default:
                text.insert(at, text.substr(random() % text.size(), 1 + random() % 20));
                break;
        }
    }
    return text;
}

/// Edits each sample, and copies of it damaged in `rounds` ways, with each editor, a function from
/// text to EditedText: a second edit finds nothing to do, and what an edit tells is what it did.
template <class Samples, class Editors>
void expect_stable(const Samples& samples, const Editors& editors, std::string_view bytes,
                   int rounds) {
    std::mt19937 random(20261121);
    for (const std::string_view sample : samples) {
        for (int round = 0; round < rounds; ++round) {
            const auto text = round == 0 ? std::string(sample) : damaged(sample, bytes, random);
            std::size_t number = 0;
            for (const auto& edit : editors) {
                const EditedText once = edit(text);
                const EditedText twice = edit(once.text);
                ASSERT_EQ(twice.text, once.text) << "editor " << number << "\n" << text;
                ASSERT_TRUE(twice.changes.empty()) << "editor " << number << "\n" << text;
                ASSERT_EQ(once.changes.empty(), once.text == text) << "editor " << number << "\n"
                                                                   << text;
                ++number;
            }
        }
    }
}

}  // namespace amilift::image
