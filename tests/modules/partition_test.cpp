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

TEST_F(Partition, WipesNothingThatACutOffCopyHasNoted) {
    constexpr std::uint64_t kBytes = 70U << 20;
    const auto path = tree / "disk";
    test::write_text(path, std::string(kBytes, '\xff'));
    const dev::CopyDisks disks{"vol-1", "vol-2"};
    const auto journal_now = [&] {
        auto file = core::open_file(tree / "journal", O_RDWR | O_CREAT, 0600);
        auto journal = dev::CopyJournal::open(*std::move(file), "journal", disks);
        EXPECT_TRUE(journal);
        return *std::move(journal);
    };
    ASSERT_TRUE(journal_now().begin({.ranges = {{0, 4096}}}, false));
    auto journal = journal_now();
    ASSERT_TRUE(journal.has_begun());
    auto steps = partition_module().plan(context(kBytes));
    ASSERT_TRUE(steps);
    auto source = dev::BlockDevice::open(path, dev::Access::read_only);
    auto target = dev::BlockDevice::open(path, dev::Access::read_write);
    ASSERT_TRUE(source && target);
    ApplyToFile apply(*std::move(source), *std::move(target), root, dev::TargetContent::unknown);
    apply.journal = &journal;
    for (auto& step : *steps) ASSERT_TRUE(step.apply(apply));
    const auto disk = test::read_text(path);
    EXPECT_TRUE(disk.ends_with(std::string(64U << 10U, '\xff')));
    EXPECT_TRUE(disk.substr(510, 2) == "\x55\xaa");
    // Without its notes, it is an ordinary disk again.
    ASSERT_TRUE(journal.clear());
    for (auto& step : *steps) ASSERT_TRUE(step.apply(apply));
    EXPECT_TRUE(test::read_text(path).ends_with(std::string(512, '\0')));
}

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

TEST_F(Partition, GptHasRoomForTheEfiPartitionAndTheBackup) {
    options.layout = job::Layout::gpt;
    filesystem.size_bytes = (64U << 20) + 4096;
    const auto disk = plan_disk(options, filesystem, std::nullopt);
    ASSERT_TRUE(disk) << disk.error().message();
    EXPECT_EQ(disk->root_sectors, 131072U + 8);
    EXPECT_EQ(disk->esp.start_sector, 135168U) << "the next whole MiB";
    EXPECT_EQ(disk->esp.sector_count, 131072U);
    EXPECT_EQ(disk->needed_bytes(), 131U << 20);
    EXPECT_TRUE(plan_disk(options, filesystem, disk->needed_bytes()));
    const auto small = plan_disk(options, filesystem, disk->needed_bytes() - 1);
    ASSERT_FALSE(small);
    EXPECT_TRUE(small.error().is(core::Errc::no_space));
}

TEST_F(Partition, WantedSizeGoesToTheRootPartition) {
    options.size_gib = 2;
    const auto mbr = plan_disk(options, filesystem, std::nullopt);
    ASSERT_TRUE(mbr);
    EXPECT_EQ(mbr->needed_bytes(), 2U << 30);
    EXPECT_EQ(mbr->root_bytes(), (2U << 30) - (1U << 20));
    options.layout = job::Layout::gpt;
    const auto gpt = plan_disk(options, filesystem, std::uint64_t{3} << 30);
    ASSERT_TRUE(gpt);
    EXPECT_EQ(gpt->needed_bytes(), 2U << 30);
    EXPECT_EQ(gpt->disk_sectors, (std::uint64_t{3} << 30) / 512) << "the disk has more";
    EXPECT_EQ(gpt->root_bytes(), (2U << 30) - (66U << 20));
    EXPECT_EQ(gpt->esp.start_sector * 512, (2U << 30) - (65U << 20));
}

TEST_F(Partition, SizeInWhichTheFilesystemDoesNotFitIsRefused) {
    options.size_gib = 1;
    filesystem.size_bytes = (1U << 30) - (1U << 20);
    EXPECT_TRUE(partition_module().plan(context()));
    options.layout = job::Layout::gpt;
    const auto steps = partition_module().plan(context());
    ASSERT_FALSE(steps);
    EXPECT_TRUE(steps.error().is(core::Errc::refused));
    EXPECT_EQ(steps.error().id, "size-too-small");
    EXPECT_EQ(steps.error().hint, "ask for at least 2GiB");
}

TEST_F(Partition, GptIsOneThatOtherProgramsTake) {
    options.layout = job::Layout::gpt;
    const auto path = apply_to_dirty_disk(200U << 20, dev::TargetContent::unknown);
    const auto dumped = commands.run({.argv = {"sfdisk", "--dump", path}});
    ASSERT_TRUE(dumped) << dumped.error().message();
    EXPECT_EQ(dumped->err, "") << "sfdisk complains about a bad backup there";
    for (const char* line : {"label: gpt", "first-lba: 34", "last-lba: 409566",
                             "1 : start=        2048, size=      131072, "
                             "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4",
                             "14 : start=          34, size=        2014, "
                             "type=21686148-6449-6E6F-744E-656564454649",
                             "15 : start=      133120, size=      131072, "
                             "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}) {
        EXPECT_NE(dumped->out.find(line), std::string::npos) << line << "\n" << dumped->out;
    }
    const auto verified = commands.run({.argv = {"sfdisk", "--verify", path}});
    ASSERT_TRUE(verified);
    EXPECT_EQ(verified->exit_code, 0) << verified->out << verified->err;
}

TEST_F(Partition, VerifyFindsAChangedGpt) {
    options.layout = job::Layout::gpt;
    constexpr std::uint64_t kBytes = 140U << 20;
    const auto path = apply_to_dirty_disk(kBytes, dev::TargetContent::unknown);
    Manifest manifest;
    const auto verify = [&] {
        const auto target = dev::BlockDevice::open(path, dev::Access::read_only);
        EXPECT_TRUE(target);
        return partition_module().verify(
            {options, facts, filesystem, *target, root, manifest, commands});
    };
    const auto flip = [&](std::uint64_t offset) {
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekg(static_cast<std::streamoff>(offset));
        const auto old = file.get();
        file.seekp(static_cast<std::streamoff>(offset));
        file.put(static_cast<char>(old ^ 1));
    };
    const auto proofs = verify();
    ASSERT_TRUE(proofs) << proofs.error().message();
    flip(100);
    EXPECT_TRUE(verify()) << "boot code is the boot loader's";
    for (const std::uint64_t offset :
         {std::uint64_t{446}, std::uint64_t{512 + 16}, std::uint64_t{1024}, kBytes - 512,
          kBytes - 512 + 40, kBytes - std::uint64_t{33} * 512}) {
        flip(offset);
        EXPECT_FALSE(verify()) << "byte " << offset;
        flip(offset);
    }
    EXPECT_TRUE(verify());
}

TEST_F(Partition, SignatureComesFromTheUuid) {
    const auto one = disk_signature("5d41402a-bc4b-4a76-b971-9d911017c592").value();
    EXPECT_EQ(one, disk_signature("5d41402a-bc4b-4a76-b971-9d911017c592").value());
    EXPECT_NE(one, disk_signature("5d41402a-bc4b-4a76-b971-9d911017c593").value());
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
