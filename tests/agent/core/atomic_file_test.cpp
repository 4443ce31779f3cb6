// SPDX-License-Identifier: Apache-2.0
#include "core/atomic_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/fd.hpp"

namespace amilift::core {
namespace {

class AtomicFile : public ::testing::Test {
  protected:
    void SetUp() override {
        auto name = (std::filesystem::temp_directory_path() / "amilift-atomic-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::size_t files() const {
        std::size_t n = 0;
        for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(directory_)) ++n;
        return n;
    }
    std::filesystem::path directory_;
};

TEST_F(AtomicFile, ReplacesAndLeavesNothingElse) {
    const auto path = (directory_ / "f").string();
    ASSERT_TRUE(write_file_atomically(path, "one", 0600));
    ASSERT_TRUE(write_file_atomically(path, "two", 0640));
    EXPECT_EQ(read_file(path, 10).value(), "two");
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0640));
    EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFile, AFailureKeepsTheOldAndRemovesTheTemporaryFile) {
    const auto path = (directory_ / "taken").string();
    std::filesystem::create_directory(path);
    const auto written = write_file_atomically(path, "x");
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().what.find(path), std::string::npos);
    EXPECT_TRUE(std::filesystem::is_directory(path));
    EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFile, AMissingDirectoryIsNamed) {
    const auto path = (directory_ / "no" / "f").string();
    const auto written = write_file_atomically(path, "x");
    ASSERT_FALSE(written);
    EXPECT_TRUE(written.error().is(Errc::not_found));
    EXPECT_NE(written.error().what.find(path), std::string::npos);
}

}  // namespace
}  // namespace amilift::core
