// SPDX-License-Identifier: Apache-2.0
// Conversions of a disk with partitions where it lies: what the agent does with a volume that it
// made from an HVM source's snapshot. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>

#include "dev/partitions.hpp"
#include "tests/agent/worker/interrupted.hpp"
#include "tests/agent/worker/lacking_initramfs.hpp"
#include "tests/agent/worker/partitioned_disk.hpp"

namespace amilift::worker {
namespace {

using namespace test::disk;
using test::read_text;
using test::TestMount;
using test::write_text;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kBootAt = 1 * kMiB;
constexpr std::uint64_t kRootAt = 17 * kMiB;
constexpr const char* kHomeUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c33";

/// What the kernel wants of who grows a mounted ext filesystem; containers often lack it.
bool may_grow_mounted_ext() {
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
    return (sets[0].effective & (1U << CAP_SYS_RESOURCE)) != 0;
}

class OwnVolume : public PartitionedDisk {
  protected:
    static ConversionRequest on(const std::string& disk) {
        ConversionRequest r;
        r.target.path = disk;
        r.options.platform = std::nullopt;
        return r;
    }
    core::Result<ConversionResult> run(const ConversionRequest& r) {
        return convert(r, commands, notes, cancel);
    }
    core::Error failure(const ConversionRequest& r) {
        const auto before = get(source, 0, 64 * kMiB);
        const auto result = run(r);
        EXPECT_FALSE(result);
        EXPECT_TRUE(before == get(source, 0, 64 * kMiB)) << "refused after the first write";
        return result ? core::Error{} : result.error();
    }
    /// /boot (ext2) and the root behind it, which may grow; 64 MiB.
    void make_growing_disk(const std::string& table, const std::string& type = "ext4") {
        make_disk(64, table);
        write_trees(work / "root", work / "boot");
        add_ext(kBootAt, 16, work / "boot", "ext2", kBootUuid, "boot");
        add_ext(kRootAt, 46, work / "root", type, kRootUuid, "root");
        if (table.find("gpt") == std::string::npos) add_grub2();
    }
    static bool knows_xfs() {
        std::ifstream filesystems("/proc/filesystems");
        const std::string known{std::istreambuf_iterator<char>(filesystems), {}};
        return known.find("xfs") != std::string::npos;
    }
    /// The same with an XFS root; 384 MiB.
    void make_xfs_disk() {
        make_disk(384,
                  "label: dos\nstart=1MiB, size=16MiB, type=83, bootable\n"
                  "start=17MiB, size=360MiB, type=83\n");
        write_trees(work / "root", work / "boot");
        add_ext(kBootAt, 16, work / "boot", "ext2", kBootUuid, "boot");
        const auto part = work / "xfs.img";
        modules::test::make_file(part, 360 * kMiB);
        ASSERT_TRUE(commands.run_ok(
            {.argv = {"mkfs.xfs", "-q", "-m", fmt::format("uuid={}", kRootUuid), part}}));
        {
            const TestMount filled(part, 0, "rw");
            ASSERT_TRUE(commands.run_ok({.argv = {"cp", "-a", work / "root/.", filled.path()}}));
        }
        put(source, kRootAt, read_text(part));
        add_grub2();
    }
    void expect_clean(std::uint64_t offset) {
        const auto fsck =
            commands.run({.argv = {"e2fsck", "-fn", fmt::format("{}?offset={}", source, offset)}});
        ASSERT_TRUE(fsck);
        EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
    }
    /// Path -> description, of both filesystems.
    std::map<std::string, std::string> trees() const {
        auto all = test::tree_of(source, kRootAt);
        for (auto& [path, line] : test::tree_of(source, kBootAt)) all["/boot" + path] = line;
        return all;
    }
    std::vector<dev::Partition> partitions() const {
        const auto disk = dev::BlockDevice::open(source, dev::Access::read_only);
        if (!disk) return {};
        const auto contents = dev::read_disk_contents(*disk);
        if (!contents) return {};
        return dev::read_partitions(*disk, contents->layout)
            .value_or(std::vector<dev::Partition>{});
    }
};

constexpr const char* kGrowingMbr =
    "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=16MiB, type=83, bootable\n"
    "start=17MiB, size=46MiB, type=83\n";
constexpr const char* kGrowingGpt =
    "label: gpt\nfirst-lba: 34\nlabel-id: 6f0ab1c4-4a7b-4d7e-9c58-1f3b1f2e5d10\n"
    "start=34, size=2014, type=21686148-6449-6E6F-744E-656564454649\n"
    "start=17MiB, size=46MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n"
    "start=1MiB, size=16MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n";

/// A /boot without a journal, as it is on a machine that runs.
TEST_F(OwnVolume, BootThatWasInUseIsCheckedBeforeItIsEdited) {
    make_usual_disk();
    write_text(work / "boot/newest", test::noise(9 * kMiB, 7));
    add_ext(kBootAt, 16, work / "boot", "ext2", kBootUuid, "boot");
    const auto wanted = trees();
    test::make_older_maps(source, kBootAt, "/newest");
    fs::copy_file(source, work / "copy.img");
    for (const bool own : {true, false}) {
        SCOPED_TRACE(own);
        auto r = on(source);
        if (!own) {
            fs::rename(work / "copy.img", work / "from.img");
            r.source.path = work / "from.img";
            r.target.path = source;
            fs::remove(source);
        }
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(test::differing_paths(wanted, trees()), test::listed_paths(result->manifest));
        expect_clean(kBootAt);
        expect_clean(kRootAt);
    }
}

/// Whoever opens it next finds it clean, be it the same conversion: what was mended is told once,
/// at once.
TEST_F(OwnVolume, WhatWasMendedIsToldByWhoeverHasOpenedItFirst) {
    make_usual_disk();
    write_text(work / "boot/newest", test::noise(9 * kMiB, 7));
    add_ext(kBootAt, 16, work / "boot", "ext2", kBootUuid, "boot");
    test::make_older_maps(source, kBootAt, "/newest");
    fs::copy_file(source, work / "pristine.img");
    for (const bool is_interrupted : {false, true}) {
        SCOPED_TRACE(is_interrupted);
        fs::copy_file(work / "pristine.img", source, fs::copy_options::overwrite_existing);
        notes.findings.clear();
        auto r = on(source);
        r.is_interrupted = is_interrupted;
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(std::ranges::count(notes.findings, "filesystem-not-clean"), 1);
        EXPECT_EQ(std::ranges::count(result->plan.inspection.facts.findings, "filesystem-not-clean",
                                     &image::Finding::id),
                  is_interrupted ? 0 : 1)
            << "the second look found it clean";
    }
}

/// What the guest mounts, and no conversion edits, is replayed by the guest: a live snapshot.
TEST_F(OwnVolume, PartitionThatIsNotEditedMayBeDirty) {
    make_usual_disk();
    const auto home = work / "home.img";
    write_text(work / "home/old", std::string(100000, 'o'));
    test::make_ext_image(home, work / "home", 16, "ext4", {"-U", kHomeUuid, "-b", "1024"});
    const auto crashed = work / "crashed.img";
    {
        const TestMount mounted(home, 0, "rw");
        write_text(mounted.path() + "/new", test::noise(3 * kMiB, 7));
        ::sync();
        fs::copy_file(home, crashed);
    }
    put(source, 49 * kMiB, read_text(crashed));
    write_text(work / "root/etc/fstab",
               fmt::format("/dev/sda2 / ext4 defaults 0 1\nUUID={} /boot ext2 defaults 0 2\n"
                           "UUID={} /home ext4 defaults 0 2\n",
                           kBootUuid, kHomeUuid));
    add_ext(kRootAt, 32, work / "root", "ext4", kRootUuid, "root");
    fs::copy_file(source, work / "from.img");
    for (const bool own : {true, false}) {
        SCOPED_TRACE(own);
        auto r = on(source);
        if (!own) {
            fs::remove(source);
            r.source.path = work / "from.img";
        }
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_TRUE(get(source, 49 * kMiB, 16 * kMiB) == read_text(crashed))
            << "it is copied as it is, with what its bitmap calls free";
        expect_clean(kBootAt);
        expect_clean(kRootAt);
        // As the guest does.
        const TestMount mounted(source, 49 * kMiB, "rw,sizelimit=16777216");
        EXPECT_TRUE(read_text(mounted.path() + "/new") == test::noise(3 * kMiB, 7));
    }
}

/// What is out of order on the disk may be whole in the journal.
TEST_F(OwnVolume, RootThatOnlyItsJournalMakesReadableIsFound) {
    make_usual_disk();
    const auto root = work / "root.img";
    const auto crashed = work / "crashed.img";
    test::make_ext_image(root, work / "root", 32, "ext4", {"-U", kRootUuid});
    {
        const TestMount mounted(root, 0, "rw");
        write_text(mounted.path() + "/etc/new", "n");
        ::sync();
        fs::copy_file(root, crashed);
    }
    const auto place = commands.run_ok({.argv = {"debugfs", "-R", "imap /etc", crashed}});
    ASSERT_TRUE(place) << place.error().message();
    // "Inode 13 is part of block group 0\n\tlocated at block 42, offset 0x0c00"
    const std::string field = "located at block ";
    const auto block = std::stoul(place->out.substr(place->out.find(field) + field.size()));
    const auto offset = std::stoul(place->out.substr(place->out.find("0x")), nullptr, 16);
    const auto header = commands.run_ok({.argv = {"dumpe2fs", "-h", crashed}});
    ASSERT_TRUE(header);
    const std::string size_field = "Block size:";
    const auto block_bytes =
        std::stoul(header->out.substr(header->out.find(size_field) + size_field.size()));
    put(crashed, block * block_bytes + offset, std::string(128, '\xee'));
    put(source, kRootAt, read_text(crashed));
    const auto result = run(on(source));
    ASSERT_TRUE(result) << result.error().message();
    expect_clean(kRootAt);
    EXPECT_TRUE(test::tree_of(source, kRootAt).contains("/etc/new"));
}

TEST_F(OwnVolume, IsEditedWhereItLies) {
    make_usual_disk();
    const auto before = trees();
    const auto area = get(source, 0, kMiB);
    const auto result = run(on(source));
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->copy.written_bytes, 0U);
    EXPECT_TRUE(area == get(source, 0, kMiB));
    EXPECT_THAT(get(source, 57 * kMiB, 32), HasSubstr("inside of the swap area"));
    EXPECT_THAT(get(source, 70 * kMiB, 32), HasSubstr("raw bytes of a logical partition"));
    expect_clean(kBootAt);
    expect_clean(kRootAt);
    const auto after = trees();
    EXPECT_EQ(test::differing_paths(before, after), test::listed_paths(result->manifest));
    EXPECT_FALSE(after.contains(std::string(modules::kPendingPath)));
    const TestMount boot(source, kBootAt);
    EXPECT_THAT(read_text(boot.path() + "/grub/grub.cfg"),
                HasSubstr(fmt::format("root=UUID={} ro console=tty0", kRootUuid)));
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_THAT(proofs, HasSubstr("grub-fstest reads /boot/vmlinuz-6.1"));
    EXPECT_THAT(proofs, HasSubstr("hold the partition table and boot code of the source"));
}

TEST_F(OwnVolume, ConvertedAgainHasNothingToDo) {
    make_growing_disk(kGrowingMbr);
    ASSERT_TRUE(run(on(source)));
    auto in_place = on(source);
    in_place.options.layout = job::Layout::in_place;
    const auto again = run(in_place);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_THAT(again->manifest.entries(), IsEmpty()) << again->manifest.to_json();
}

TEST_F(OwnVolume, DirtyJournalIsReplayed) {
    make_growing_disk(kGrowingMbr);
    {
        const TestMount mounted(source, kRootAt, "rw,sizelimit=48234496");
        write_text(mounted.path() + "/written", "before the crash");
        ::sync();
        fs::copy_file(source, work / "crashed.img");
    }
    fs::rename(work / "crashed.img", source);
    const auto result = run(on(source));
    ASSERT_TRUE(result) << result.error().message();
    const TestMount after(source, kRootAt);
    EXPECT_EQ(read_text(after.path() + "/written"), "before the crash");
}

TEST_F(OwnVolume, AnInitramfsOfABootPartitionIsAppendedToWhereItLies) {
    make_disk(160,
              "label: dos\nstart=1MiB, size=96MiB, type=83, bootable\n"
              "start=97MiB, size=32MiB, type=83\n");
    write_trees(work / "root", work / "boot");
    const auto file = work / "boot/initrd-6.1";
    test::write_lacking_initramfs(work / "root", file, "6.1", 48 * kMiB);
    // A step behind that which appends: the conversion is killed before it says that it is done.
    write_text(work / "root/etc/initramfs-tools/modules", "");
    const auto old_bytes = fs::file_size(file);
    add_ext(kMiB, 96, work / "boot", "ext2", kBootUuid, "boot");
    add_ext(97 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
    add_grub2();
    fs::copy_file(source, work / "pristine.img");
    core::Result<ConversionResult> whole = core::fail(core::Errc::internal, "not run");
    {
        const test::CountingLoop loop(commands, source);
        whole = run(on(loop.path()));
        EXPECT_LT(loop.written_bytes(), 16 * kMiB);
    }
    ASSERT_TRUE(whole) << whole.error().message();
    EXPECT_THAT(whole->proofs, testing::Contains(HasSubstr("/boot/initrd-6.1 serves 6.1: nvme")));
    const auto wanted = test::tree_of(source, kMiB);

    fs::rename(work / "pristine.img", source);
    const auto append = std::ranges::find_if(
        notes.steps, [](const std::string& step) { return step.starts_with("initramfs: append"); });
    ASSERT_NE(append, notes.steps.end());
    ASSERT_TRUE(test::convert_and_die(on(source),
                                      static_cast<std::size_t>(append - notes.steps.begin()) + 1));
    {
        const TestMount mounted(source, kMiB, "rw,sizelimit=100663296");
        test::spoil_addition(mounted.path() + "/initrd-6.1", old_bytes, true);
    }
    auto again = on(source);
    again.is_interrupted = true;
    const auto result = run(again);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_THAT(test::differing_paths(wanted, test::tree_of(source, kMiB)), IsEmpty());
    EXPECT_EQ(test::entries_of(result->manifest), test::entries_of(whole->manifest));
    expect_clean(kMiB);
    expect_clean(97 * kMiB);
}

/// The helper dies at each step; another one ends in what a conversion without a crash gives.
class Interrupted : public OwnVolume {
  protected:
    /// `request` is for a volume that is larger than the disk, the snapshot.
    /// Killed at the first `rounds` steps.
    void expect_the_same(const ConversionRequest& request,
                         std::size_t rounds = std::numeric_limits<std::size_t>::max()) {
        fs::rename(source, work / "pristine.img");
        const auto renew = [&] {
            fs::remove(source);
            ASSERT_TRUE(commands.run_ok(
                {.argv = {"cp", "--sparse=always", work / "pristine.img", source}}));
            if (request.options.size_gib != 0) fs::resize_file(source, 1024 * kMiB);
        };
        renew();
        const auto whole = run(request);
        ASSERT_TRUE(whole) << whole.error().message();
        const auto wanted = trees();
        const auto wanted_partitions = partitions();
        whole_steps = notes.steps;
        const auto steps = whole_steps.size();
        ASSERT_GE(steps, 2U);
        for (std::size_t at = 0; at <= std::min(steps, rounds); ++at) {
            SCOPED_TRACE(fmt::format("killed at step {} of {}", at, steps));
            renew();
            ASSERT_TRUE(test::convert_and_die(request, at));
            auto again = request;
            again.is_interrupted = true;
            const auto result = run(again);
            ASSERT_TRUE(result) << result.error().message();
            auto differing = test::differing_paths(wanted, trees());
            std::erase(differing, modules::kManifestPath);
            EXPECT_THAT(differing, IsEmpty());
            EXPECT_EQ(test::entries_of(result->manifest), test::entries_of(whole->manifest));
            const auto seen = partitions();
            ASSERT_EQ(seen.size(), wanted_partitions.size());
            EXPECT_EQ(seen.back().size_bytes, wanted_partitions.back().size_bytes);
            EXPECT_EQ(seen.back().filesystem.size_bytes,
                      wanted_partitions.back().filesystem.size_bytes);
            expect_clean(kBootAt);
            if (dev::is_ext(seen.back().filesystem.type)) expect_clean(kRootAt);
        }
    }

    std::vector<std::string> whole_steps;  ///< of the conversion that nothing interrupted
};

TEST_F(Interrupted, AtAnyStepEndsInTheSame) {
    make_growing_disk(kGrowingMbr);
    expect_the_same(on(source));
}

TEST_F(Interrupted, AtAnyStepWhileAnExt4GrowsEndsInTheSame) {
    if (!may_grow_mounted_ext()) GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
    make_growing_disk(kGrowingMbr);
    auto request = on(source);
    request.options.size_gib = 1;
    expect_the_same(request);
    EXPECT_THAT(whole_steps.at(0), HasSubstr("lengthen partition 2 from 0.04 to 0.98 GiB"));
    EXPECT_THAT(whole_steps.at(1), HasSubstr("grow ext4"));
}

TEST_F(Interrupted, AtAnyStepWhileAnXfsGrowsEndsInTheSame) {
    if (!knows_xfs()) GTEST_SKIP() << "this kernel cannot mount XFS";
    make_xfs_disk();
    auto request = on(source);
    request.options.size_gib = 1;
    // Before, between and after the two that grow it; the others are those of the other tests.
    expect_the_same(request, 2);
    EXPECT_THAT(whole_steps.at(1), HasSubstr("grow xfs"));
    EXPECT_GT(partitions().back().filesystem.size_bytes, 900 * kMiB);
}

TEST_F(OwnVolume, ACopyGrowsBehindABootPartitionOfAGpt) {
    make_growing_disk(kGrowingGpt);
    // A boot record as GRUB 2 writes it, and the begin of its core image.
    put(source, 0, std::string("\xeb\x63\x90", 3));
    put(source, 0x5c, std::string("\x22\x00\x00\x00\x00\x00\x00\x00", 8));
    put(source, 0x180, "GRUB ");
    put(source, 34 * 512 + 0x100, "loading");
    const auto before = partitions();
    ASSERT_EQ(before.size(), 3U);
    auto request = on(output);
    request.source.path = source;
    request.options.size_gib = 1;
    const auto result = run(request);
    ASSERT_TRUE(result) << result.error().message();
    fs::rename(output, source);
    const auto after = partitions();
    ASSERT_EQ(after.size(), 3U);
    EXPECT_EQ(after[2].number, 2);
    EXPECT_EQ(after[2].uuid, before[2].uuid);
    EXPECT_EQ(after[2].size_bytes, (1024 - 17 - 1) * kMiB);
    EXPECT_GT(after[2].filesystem.size_bytes, 900 * kMiB);
    EXPECT_EQ(after[2].filesystem.uuid, kRootUuid);
    expect_clean(kRootAt);
    const auto checked = commands.run_ok({.argv = {"sfdisk", "--verify", source}});
    ASSERT_TRUE(checked) << checked.error().message();
    EXPECT_THAT(checked->out + checked->err, HasSubstr("No errors detected"));
}

TEST_F(OwnVolume, WhatCannotGrowIsRefusedBeforeTheFirstWrite) {
    make_usual_disk();
    auto request = on(source);
    request.options.size_gib = 1;
    fs::resize_file(source, 1024 * kMiB);
    const auto not_last = failure(request);
    EXPECT_EQ(not_last.id, "root-cannot-grow") << not_last.message();
    EXPECT_THAT(not_last.what, HasSubstr("partition 3 lies behind it"));

    fs::remove(source);
    make_growing_disk(kGrowingMbr, "ext2");
    const auto no_journal = failure(request);
    EXPECT_EQ(no_journal.id, "root-cannot-grow") << no_journal.message();
    EXPECT_THAT(no_journal.what, HasSubstr("no journal"));

    fs::remove(source);
    make_growing_disk(kGrowingMbr);
    fs::resize_file(source, 2048 * kMiB);
    EXPECT_EQ(failure(request).id, "size-too-small");
    auto gpt = on(source);
    gpt.options.layout = job::Layout::gpt;
    EXPECT_EQ(failure(gpt).id, "layout-of-partitions");
}

TEST_F(OwnVolume, ALocalConversionGrowsTheCopy) {
    make_growing_disk(kGrowingMbr, "ext2");
    const auto before = read_text(source);
    auto request = on(output);
    request.source.path = source;
    request.options.size_gib = 1;
    const auto result = run(request);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == read_text(source));
    EXPECT_EQ(fs::file_size(output), 1024 * kMiB);
    fs::rename(output, source);
    EXPECT_EQ(partitions().back().size_bytes, (1024 - 17) * kMiB);
    EXPECT_GT(partitions().back().filesystem.size_bytes, 900 * kMiB);
    expect_clean(kRootAt);
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_THAT(proofs, HasSubstr("GiB of partition 2's 0.98 GiB"));
}

}  // namespace
}  // namespace amilift::worker
