// SPDX-License-Identifier: Apache-2.0
#include "modules/copy.hpp"

#include <fmt/format.h>

#include "modules/partition.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using test::ApplyToFile;
using test::PlanFixture;

TEST_F(PlanFixture, CopyPlanSaysHowMuchAndWhatStays) {
    const auto steps = copy_module().plan(context());
    ASSERT_TRUE(steps);
    ASSERT_EQ(steps->size(), 1U);
    EXPECT_EQ(steps->front().text,
              "copy 3.0 MiB in use of 64.0 MiB (ext3, ext2fs) to 1 MiB of the target; UUID "
              "5d41402a-bc4b-4a76-b971-9d911017c592 and label '/' stay");
}

/// A real filesystem in a file, copied by the step to a file that was full of 0xff.
class CopyOfAFilesystem : public PlanFixture {
  protected:
    void SetUp() override {
        source_path = tree / "source.img";
        target_path = tree / "target.img";
        test::make_file(source_path, 24U << 20);
        ASSERT_TRUE(commands.run_ok({.argv = {"mke2fs", "-q", "-F", "-t", "ext3", "-L", "/", "-d",
                                              tree / "boot", source_path}}));
        auto opened = dev::BlockDevice::open(source_path, dev::Access::read_only);
        ASSERT_TRUE(opened);
        source.emplace(*std::move(opened));
        auto info = dev::read_filesystem_info(*source, 0);
        ASSERT_TRUE(info);
        filesystem = *info;
        auto map = dev::map_used_extents(*source, filesystem, nullptr);
        ASSERT_TRUE(map) << map.error().message();
        used = *map;
        test::write_text(target_path, std::string(kRootOffset + filesystem.size_bytes, '\xff'));
    }
    core::Result<> copy() {
        auto steps = copy_module().plan(context());
        EXPECT_TRUE(steps);
        auto target = dev::BlockDevice::open(target_path, dev::Access::read_write);
        auto again = dev::BlockDevice::open(source_path, dev::Access::read_only);
        EXPECT_TRUE(target && again);
        ApplyToFile apply(*std::move(again), *std::move(target), root, dev::TargetContent::unknown);
        auto done = steps->front().apply(apply);
        stats = apply.last_stats;
        return done;
    }
    core::Result<std::vector<std::string>> verify() {
        const auto target = dev::BlockDevice::open(target_path, dev::Access::read_only);
        EXPECT_TRUE(target);
        Manifest manifest;
        return copy_module().verify(
            {options, facts, filesystem, *target, root, manifest, commands});
    }
    std::string source_path;
    std::string target_path;
    std::optional<dev::BlockDevice> source;
    dev::CopyStats stats;
};

TEST_F(CopyOfAFilesystem, UsedBytesArriveBehindTheGapAndNothingElseIsTouched) {
    const auto done = copy();
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_GT(stats.read_bytes, 0U);
    const auto from = test::read_text(source_path);
    const auto to = test::read_text(target_path);
    EXPECT_EQ(to.find_first_not_of('\xff'), kRootOffset) << "the gap belongs to the boot loader";
    for (const auto& extent : used.used) {
        EXPECT_EQ(from.substr(extent.offset, extent.length),
                  to.substr(extent.offset + kRootOffset, extent.length))
            << extent.offset;
    }
}

TEST_F(CopyOfAFilesystem, VerifyNamesWhatDiffers) {
    ASSERT_TRUE(copy());
    const auto proofs = verify();
    ASSERT_TRUE(proofs) << proofs.error().message();
    EXPECT_EQ(proofs->front(),
              fmt::format("ext3 on partition 1 is clean, UUID {}, label '/'", filesystem.uuid));

    filesystem.label = "other";
    auto wrong = verify();
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().what.find("has label '/', the source has 'other'"), std::string::npos)
        << wrong.error().what;
    filesystem.label = "/";
    filesystem.uuid = "00000000-0000-0000-0000-000000000000";
    EXPECT_FALSE(verify());
}

TEST_F(CopyOfAFilesystem, VerifyFindsADestroyedSuperblock) {
    ASSERT_TRUE(copy());
    auto text = test::read_text(target_path);
    text.replace(kRootOffset + 1024, 1024, std::string(1024, '\0'));
    test::write_text(target_path, text);
    EXPECT_FALSE(verify());
}

}  // namespace
}  // namespace amilift::modules
