// SPDX-License-Identifier: Apache-2.0
#include "core/fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

namespace amilift::core {
namespace {

bool is_open(int raw) {
    return ::fcntl(raw, F_GETFD) != -1;
}

class FdTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto name = (std::filesystem::temp_directory_path() / "amilift-fd-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string path() const { return (directory_ / "f").string(); }
    std::filesystem::path directory_;
};

TEST_F(FdTest, ClosesOnceAndMovingEmptiesTheSource) {
    int raw = -1;
    {
        Fd a(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        raw = a.get();
        Fd b(std::move(a));
        EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
        EXPECT_TRUE(is_open(raw));
        Fd c;
        c = std::move(b);
        EXPECT_FALSE(b.valid());  // NOLINT(bugprone-use-after-move)
        EXPECT_EQ(c.get(), raw);
        auto& self = c;
        c = std::move(self);
        EXPECT_EQ(c.get(), raw);
    }
    EXPECT_FALSE(is_open(raw));
}

TEST_F(FdTest, AssigningClosesWhatWasHeld) {
    Fd a(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int old = a.get();
    a = Fd();
    EXPECT_FALSE(is_open(old));
}

TEST_F(FdTest, OpensCloseOnExec) {
    const auto fd = open_file("/dev/null", O_RDONLY);
    ASSERT_TRUE(fd);
    EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(FdTest, AMissingFileIsNamed) {
    const auto fd = open_file(path(), O_RDONLY);
    ASSERT_FALSE(fd);
    EXPECT_TRUE(fd.error().is(Errc::not_found));
    EXPECT_NE(fd.error().what.find(path()), std::string::npos);
}

TEST_F(FdTest, AShortReadNamesTheOffset) {
    const auto fd = open_file(path(), O_RDWR | O_CREAT);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(write_all(*fd, "0123456789", path()));
    std::array<std::byte, 8> buffer{};
    EXPECT_TRUE(read_exactly_at(*fd, buffer, 2, path()));
    EXPECT_EQ(static_cast<char>(buffer[0]), '2');
    const auto failed = read_exactly_at(*fd, buffer, 6, path());
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().what.find("ends at byte 10"), std::string::npos)
        << failed.error().what;
}

TEST_F(FdTest, AFileLargerThanTheLimitIsRefused) {
    const auto fd = open_file(path(), O_RDWR | O_CREAT);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(write_all(*fd, std::string(100, 'x'), path()));
    EXPECT_EQ(read_file(path(), 100).value().size(), 100U);
    const auto failed = read_file(path(), 99);
    ASSERT_FALSE(failed);
    EXPECT_TRUE(failed.error().is(Errc::corrupt));
}

TEST_F(FdTest, AFullDeviceIsNoSpace) {
    const auto full = open_file("/dev/full", O_WRONLY);
    ASSERT_TRUE(full);
    const auto failed = write_all(*full, "x", "/dev/full");
    ASSERT_FALSE(failed);
    EXPECT_TRUE(failed.error().is(Errc::no_space));
}

}  // namespace
}  // namespace amilift::core
