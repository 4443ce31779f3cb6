// SPDX-License-Identifier: Apache-2.0
#include "modules/partition.hpp"

#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using test::ApplyToFile;
using test::make_file;
using test::PlanFixture;

class Partition : public PlanFixture {
  protected:
    /// Applies the plan to a file of `target_bytes` that is filled with 0xff.
    std::string apply_to_dirty_disk(std::uint64_t target_bytes, dev::TargetContent content) {
        const auto path = tree / "disk";
        test::write_text(path, std::string(target_bytes, '\xff'));
        auto steps = partition_module().plan(context(target_bytes));
        EXPECT_TRUE(steps);
        auto source = dev::BlockDevice::open(path, dev::Access::read_only);
        auto target = dev::BlockDevice::open(path, dev::Access::read_write);
        EXPECT_TRUE(source && target);
        ApplyToFile apply(*std::move(source), *std::move(target), root, content);
        for (auto& step : *steps) EXPECT_TRUE(step.apply(apply));
        return path;
    }
};

TEST_F(Partition, PlanSaysWhereThePartitionWillBe) {
    const auto steps = partition_module().plan(context());
    ASSERT_TRUE(steps);
    ASSERT_EQ(steps->size(), 1U);
    EXPECT_TRUE(steps->front().text.starts_with(
        "write partition table: one active 0x83 partition, 2048..133119, disk signature "))
        << steps->front().text;
}

TEST_F(Partition, TargetMustHoldTheFilesystemAndTheGap) {
    constexpr std::uint64_t needed = 65U << 20;
    EXPECT_TRUE(partition_module().plan(context(needed)));
    const auto small = partition_module().plan(context(needed - 1));
    ASSERT_FALSE(small);
    EXPECT_TRUE(small.error().is(core::Errc::no_space));
    EXPECT_NE(small.error().what.find(std::to_string(needed)), std::string::npos);
    EXPECT_EQ(small.error().hint, "use a target of at least 1 GiB");
}

TEST_F(Partition, SizeIsRoundedUpToSectors) {
    for (const auto& [bytes, sectors] :
         {std::pair{512U, 2049U}, std::pair{513U, 2050U}, std::pair{1024U, 2050U}}) {
        filesystem.size_bytes = bytes;
        const auto disk = plan_disk(options, filesystem, std::nullopt);
        ASSERT_TRUE(disk);
        EXPECT_EQ(disk->needed_sectors, sectors) << bytes;
    }
}

TEST_F(Partition, FilesystemAbove2TiBIsRefusedByThePlan) {
    filesystem.size_bytes = std::uint64_t{3} << 40;
    const auto steps = partition_module().plan(context());
    ASSERT_FALSE(steps);
    EXPECT_TRUE(steps.error().is(core::Errc::invalid_input)) << steps.error().message();
}

TEST_F(Partition, SignatureComesFromTheUuid) {
    const auto one = disk_signature("5d41402a-bc4b-4a76-b971-9d911017c592");
    EXPECT_EQ(one, disk_signature("5d41402a-bc4b-4a76-b971-9d911017c592"));
    EXPECT_NE(one, disk_signature("5d41402a-bc4b-4a76-b971-9d911017c593"));
    EXPECT_NE(one, 0U);
}

TEST_F(Partition, ReusedDiskLosesWhatItsOldTablesWouldSay) {
    const std::uint64_t size = 70U << 20;
    const auto text = test::read_text(apply_to_dirty_disk(size, dev::TargetContent::unknown));
    EXPECT_EQ(text.find_first_not_of('\0', 512), std::size_t{1U << 20}) << "gap must be zeros";
    EXPECT_EQ(text.find_last_not_of('\0'), size - 33 * 512 - 1) << "a GPT's second copy";
    EXPECT_EQ(text.substr(510, 2), "\x55\xaa");
}

TEST_F(Partition, EmptyDiskIsWrittenInSectorZeroOnly) {
    const auto text = test::read_text(apply_to_dirty_disk(70U << 20, dev::TargetContent::zeros));
    EXPECT_EQ(text.find_first_not_of('\xff', 512), std::string::npos);
}

TEST_F(Partition, VerifyFindsAChangedTable) {
    const auto path = apply_to_dirty_disk(70U << 20, dev::TargetContent::unknown);
    Manifest manifest;
    const auto verify = [&] {
        const auto target = dev::BlockDevice::open(path, dev::Access::read_only);
        EXPECT_TRUE(target);
        return partition_module().verify(
            {options, facts, filesystem, *target, root, manifest, commands});
    };
    const auto proofs = verify();
    ASSERT_TRUE(proofs) << proofs.error().message();
    EXPECT_EQ(proofs->front(), "partition table has one active 0x83 partition, 2048..133119");
    for (const std::size_t offset : {0x1beU, 0x1c2U, 0x1c6U, 0x1caU}) {
        auto text = test::read_text(path);
        const char old = text[offset];
        text[offset] = static_cast<char>(old ^ 0x01);
        test::write_text(path, text);
        EXPECT_FALSE(verify()) << "byte " << offset;
        text[offset] = old;
        test::write_text(path, text);
    }
    EXPECT_TRUE(verify());
}

}  // namespace
}  // namespace amilift::modules
