// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/agent/worker/conversion_fixture.hpp"

namespace amilift::worker::test {

/// Conversions of an image that is one filesystem.
class Conversion : public ConversionFixture {
  protected:
    void make_source(const std::string& type = "ext3",
                     const std::vector<std::string>& options = {"-b", "4096", "-I", "128"}) {
        if (!std::filesystem::exists(work / "tree")) write_pv_tree(work / "tree");
        make_ext_image(source, work / "tree", 48, type, options);
    }
    ConversionRequest request() {
        ConversionRequest r;
        r.source.path = source;
        r.target.path = output;
        return r;
    }
    core::Result<ConversionResult> run() { return run(request()); }
    core::Result<ConversionResult> run(const ConversionRequest& r) {
        return convert(r, commands, notes, cancel);
    }
    /// Runs a conversion that must fail, and checks that it left nothing behind.
    core::Error failure(const ConversionRequest& r) {
        const bool had_output = std::filesystem::exists(r.target.path);
        const auto before = std::filesystem::exists(source) ? read_text(source) : "";
        const auto result = run(r);
        EXPECT_FALSE(result);
        EXPECT_EQ(std::filesystem::exists(r.target.path), had_output);
        if (std::filesystem::exists(source)) {
            EXPECT_TRUE(before == read_text(source)) << "source changed";
        }
        EXPECT_EQ(loops_on(work.path()), std::vector<std::string>{});
        return result ? core::Error{} : result.error();
    }
    core::Error failure() { return failure(request()); }
};

}  // namespace amilift::worker::test
