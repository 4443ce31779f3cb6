// SPDX-License-Identifier: Apache-2.0
// What is made of grub-fstest's answers, and what is asked at all.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "worker/efi_partition.hpp"

namespace amilift::worker {
namespace {

using core::CommandOutput;
using testing::Contains;
using testing::HasSubstr;

/// A grub-fstest that answers always the same.
class Answers final : public core::CommandRunner {
  public:
    CommandOutput answer;
    core::Duration takes{};
    std::vector<core::Command> asked;

    core::Result<CommandOutput> run(const core::Command& command) override {
        asked.push_back(command);
        std::this_thread::sleep_for(takes);
        return answer;
    }
    void say(const std::string& name, const std::string& reason) {
        auto message = "file `" + name + "' " + reason;
        message = message.substr(0, 255);  // as GRUB does
        answer = {1, "",
                  "grub-fstest: error: cannot open `(loop0)" + name + "': " + message + ".\n"};
    }
};

class EfiReads : public ::testing::Test {
  protected:
    Answers commands_;
    EfiReadBudget budget_;
    core::Cancel cancel_;
    EfiPartition gpt_{"disk.img", true, 15, commands_, budget_, cancel_};
    EfiPartition mbr_{"/disk.img", false, 1, commands_, budget_, cancel_};
};

TEST_F(EfiReads, AllPartitionsHaveOneNumberOfReads) {
    budget_.reads = 3;
    commands_.answer = {0, "text", ""};
    EXPECT_TRUE(gpt_.read("/a", 10));
    EXPECT_TRUE(gpt_.list("/a"));
    EXPECT_TRUE(mbr_.read("/a", 10));
    for (auto* partition : {&gpt_, &mbr_}) {
        const auto more = partition->read("/a", 10);
        ASSERT_FALSE(more);
        EXPECT_TRUE(more.error().is(core::Errc::io_error));
        EXPECT_THAT(more.error().what, HasSubstr("3 reads"));
        EXPECT_THAT(more.error().what, Not(HasSubstr("too long")));
    }
    EXPECT_EQ(commands_.asked.size(), 3U);
}

TEST_F(EfiReads, AllPartitionsHaveOneTime) {
    budget_.time = std::chrono::milliseconds(150);
    commands_.answer = {0, "text", ""};
    commands_.takes = std::chrono::milliseconds(80);
    EXPECT_TRUE(gpt_.read("/a", 10));
    EXPECT_TRUE(mbr_.read("/a", 10));
    EXPECT_LE(commands_.asked[1].timeout, std::chrono::milliseconds(70));
    const auto more = gpt_.read("/a", 10);
    ASSERT_FALSE(more);
    EXPECT_TRUE(more.error().is(core::Errc::io_error));
    EXPECT_THAT(more.error().what, HasSubstr("too long to read"));
    EXPECT_EQ(commands_.asked[0].cancel, &cancel_);
}

TEST_F(EfiReads, APathIsNeverAnOption) {
    commands_.answer = {0, "text", ""};
    EfiPartition odd("-x.img", true, 1, commands_, budget_, cancel_);
    EXPECT_TRUE(odd.read("/a", 10));
    EXPECT_THAT(commands_.asked.back().argv, Contains("./-x.img"));
    EXPECT_TRUE(mbr_.read("/a", 10));
    EXPECT_THAT(commands_.asked.back().argv, Contains("/disk.img"));
}

TEST_F(EfiReads, OfALongNameThatCannotBeReadIsMissingWhateverTheReason) {
    for (const std::size_t size : {1U, 100U, 200U, 201U, 240U, 255U, 300U, 4000U}) {
        const auto name = "/" + std::string(size - 1, 'n');
        commands_.say(name, "not found");
        const auto file = mbr_.read(name, 10);
        ASSERT_TRUE(file) << size << ": " << file.error().what;
        EXPECT_EQ(file->kind, image::FileKind::missing) << size;
        commands_.answer = {0, "text", ""};
        EXPECT_EQ(mbr_.read(name, 10)->bytes, "text") << size;
    }
    commands_.say("/a\nb", "not found");
    EXPECT_EQ(mbr_.read("/a\nb", 10)->kind, image::FileKind::missing);
    // Escaped for a message it would be longer than what a message shows.
    const auto binary = "/" + std::string(199, '\xff');
    commands_.say(binary, "not found");
    EXPECT_TRUE(mbr_.read(binary, 10));
    const auto asked = commands_.asked.size();
    EXPECT_EQ(mbr_.read("/" + std::string(200000, 'n'), 10)->kind, image::FileKind::missing);
    EXPECT_EQ(mbr_.read(std::string("/a\0b", 4), 10)->kind, image::FileKind::missing);
    EXPECT_EQ(commands_.asked.size(), asked);
}

TEST_F(EfiReads, TellsADirectoryAndAnError) {
    commands_.answer = {1, "", "grub-fstest: error: cannot open `x': not a regular file.\n"};
    EXPECT_EQ(mbr_.read("/a", 10)->kind, image::FileKind::directory);
    commands_.answer = {1, "", "grub-fstest: error: cannot open `x': unknown filesystem.\n"};
    const auto file = mbr_.read("/a", 10);
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error().what, HasSubstr("'(loop0,msdos1)/a': cannot open `x': unknown"));
}

TEST_F(EfiReads, SaysThatGrubReadsOnlyTheFirstCopyOfAGpt) {
    commands_.answer = {1, "", "grub-fstest: error: cannot open `x': no such partition.\n"};
    const auto file = gpt_.read("/a", 10);
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error().what, HasSubstr("first copy of a GPT"));
    EXPECT_THAT(file.error().hint, HasSubstr("write the partition table again"));
    EXPECT_THAT(mbr_.read("/a", 10).error().what, HasSubstr("no such partition"));
}

}  // namespace
}  // namespace amilift::worker
