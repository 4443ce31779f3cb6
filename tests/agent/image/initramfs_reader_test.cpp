// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "initramfs_samples.hpp"

namespace amilift::image {
namespace {

using ::testing::HasSubstr;

class InitramfsReaders : public ::testing::Test {
  protected:
    void put(const std::string& path, const std::string& name) const {
        image_.file(path, packed("gzip", cpio_of({{name, "text"}})));
    }
    [[nodiscard]] std::shared_ptr<const InitramfsRead> read(
        const std::vector<std::string>& initrds) {
        const auto root = image_.open();
        auto found = reader_.read(root, initrds);
        EXPECT_TRUE(found) << (found ? "" : found.error().message());
        return found.value_or(std::make_shared<const InitramfsRead>());
    }
    TemporaryRoot image_;
    InitramfsReader reader_;
};

TEST_F(InitramfsReaders, UnpackAFileOnce) {
    put("/boot/initrd", "first");
    EXPECT_TRUE(read({"/boot/initrd"})->contents.members.contains("first"));
    put("/boot/initrd", "second");
    EXPECT_TRUE(read({"/boot/initrd"})->contents.members.contains("first"));
}

TEST_F(InitramfsReaders, RememberTheLastOnesInBoundedMemory) {
    reader_ = InitramfsReader({.remembered_bytes = 450});
    for (const std::string name : {"a", "b", "c", "d", "e"}) {
        put("/boot/" + name, name);
        (void)read({"/boot/" + name});
    }
    for (const std::string name : {"a", "e"}) put("/boot/" + name, "new");
    EXPECT_TRUE(read({"/boot/e"})->contents.members.contains("e"));
    EXPECT_TRUE(read({"/boot/a"})->contents.members.contains("new"));
}

TEST_F(InitramfsReaders, ReadNoMoreThanIsAllowedToEachThatLooks) {
    reader_ = InitramfsReader({.read_bytes = 100});
    put("/boot/a", "a");
    put("/boot/b", "b");
    EXPECT_EQ(read({"/boot/a"})->contents.problem, "");
    EXPECT_THAT(read({"/boot/b"})->contents.problem, HasSubstr("not looked at"));
    reader_.begin();
    EXPECT_EQ(read({"/boot/b"})->contents.problem, "");
}

TEST_F(InitramfsReaders, TellOfSeveralFilesWhichOneIsWrong) {
    put("/boot/microcode", "kernel/x86");
    put("/boot/initrd", "init");
    const auto both = read({"/boot/microcode", "/boot/initrd"});
    EXPECT_EQ(both->path, "/boot/initrd");
    EXPECT_EQ(both->contents.problem, "");
    EXPECT_TRUE(both->contents.members.contains("kernel/x86"));
    EXPECT_TRUE(both->contents.members.contains("init"));
    const auto missing = read({"/boot/microcode", "/boot/none", "/boot/initrd"});
    EXPECT_EQ(missing->path, "/boot/none");
    EXPECT_THAT(missing->contents.problem, HasSubstr("/boot/none"));
    const auto many = read(std::vector<std::string>(17, "/boot/initrd"));
    EXPECT_THAT(many->contents.problem, HasSubstr("17 files, expected at most 16"));
}

}  // namespace
}  // namespace amilift::image
