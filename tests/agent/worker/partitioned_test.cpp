// SPDX-License-Identifier: Apache-2.0
// Disks with partitions: what is found on them, and conversions of them. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "tests/agent/worker/partitioned_disk.hpp"
#include "worker/fstab_volumes.hpp"
#include "worker/target_disk.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using test::describe_tree;
using test::read_text;
using test::TestMount;
using test::write_text;
using testing::HasSubstr;
using testing::Not;

using namespace test::disk;

TEST_F(PartitionedDisk, WithASeparateBootIsSeenAsTheGuestSeesIt) {
    make_usual_disk();
    const auto seen = look();
    ASSERT_TRUE(seen) << seen.error().message();
    const auto& facts = seen->facts;
    EXPECT_EQ(facts.first_refusal(), nullptr) << facts.first_refusal()->seen;
    EXPECT_EQ(seen->filesystem.uuid, kRootUuid);
    ASSERT_EQ(seen->partitions.size(), 4U);
    EXPECT_EQ(seen->partitions[1].number, 2);
    EXPECT_EQ(seen->partitions[1].uuid, "11223344-02");
    EXPECT_EQ(seen->partitions[2].content, dev::PartitionContent::swap);
    EXPECT_EQ(seen->partitions[3].number, 5);
    EXPECT_EQ(facts.disk.code, image::BootCode::grub2) << facts.disk.evidence;
    EXPECT_THAT(facts.disk.evidence, HasSubstr("core image lies at sector 1"));
    EXPECT_EQ(facts.os_pretty_name, "Debian 12");
    EXPECT_EQ(facts.menu_path, "/boot/grub/grub.cfg");
    EXPECT_EQ(facts.menu_kind, image::BootMenuKind::grub2);
    ASSERT_EQ(facts.boot_entries.size(), 1U);
    EXPECT_EQ(facts.boot_entries[0].kernel, "/boot/vmlinuz-6.1");
    EXPECT_EQ(facts.boot_entry, 0U);
}

TEST_F(PartitionedDisk, IsCopiedAsItIsAndEditedInPlace) {
    make_usual_disk();
    const auto before = read_text(source);
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == read_text(source)) << "the source must stay as it is";
    EXPECT_EQ(fs::file_size(output), fs::file_size(source));
    EXPECT_EQ(get(output, 0, kMiB), get(source, 0, kMiB));
    EXPECT_THAT(get(output, 70 * kMiB, 32), HasSubstr("raw bytes of a logical partition"));
    EXPECT_EQ(get(output, 49 * kMiB, 4096), get(source, 49 * kMiB, 4096));
    EXPECT_THAT(get(output, 57 * kMiB, 32), Not(HasSubstr("inside of the swap")));
    for (const auto offset : {1 * kMiB, 17 * kMiB}) {
        const auto fsck =
            commands.run({.argv = {"e2fsck", "-fn", fmt::format("{}?offset={}", output, offset)}});
        ASSERT_TRUE(fsck);
        EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
    }
    {
        const TestMount old_boot(source, kMiB, "ro,sizelimit=16777216");
        const TestMount new_boot(output, kMiB, "ro,sizelimit=16777216");
        auto old_lines = describe_tree(old_boot.path());
        auto new_lines = describe_tree(new_boot.path());
        for (auto* lines : {&old_lines, &new_lines}) {
            std::erase_if(*lines, [](const std::string& line) {
                return line.starts_with("/grub/grub.cfg ");
            });
        }
        EXPECT_EQ(old_lines, new_lines);
        EXPECT_THAT(read_text(new_boot.path() + "/grub/grub.cfg"),
                    HasSubstr(fmt::format("root=UUID={} ro console=tty0", kRootUuid)));
        const TestMount root(output, 17 * kMiB, "ro,sizelimit=33554432");
        EXPECT_THAT(read_text(root.path() + "/etc/fstab"),
                    HasSubstr(fmt::format("UUID={} / ext4", kRootUuid)));
        EXPECT_THAT(read_text(root.path() + "/etc/fstab"), Not(HasSubstr("/dev/sda3")));
        EXPECT_TRUE(fs::exists(root.path() + std::string(modules::kManifestPath)));
    }
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_THAT(proofs, HasSubstr("grub-fstest reads /boot/vmlinuz-6.1"));
    EXPECT_THAT(proofs, HasSubstr("hold the partition table and boot code of the source"));

    // Converting the result again has nothing to do.
    fs::rename(output, source);
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(again->manifest.entries().empty()) << again->manifest.to_json();
}

/// The menu puts the command line together in a way that no editor of lines reaches; what GRUB
/// would make of it is known before the copy.
TEST_F(PartitionedDisk, WhoseResultWouldNotFindItsRootIsNoResult) {
    make_usual_disk();
    for (const auto& [variable, argument] : {std::pair{"/dev/sda2", "root=$where"},
                                             {"LABEL=gone", "root=$where"},
                                             {"/dev/sda3", "root=LABEL=root resume=$where"}}) {
        write_text(work / "boot/grub/grub.cfg",
                   fmt::format("search --no-floppy --fs-uuid --set=root {}\n"
                               "set where={}\n"
                               "menuentry 'Linux' {{\n linux /vmlinuz-6.1 {} ro\n"
                               " initrd /initrd-6.1\n}}\n",
                               kBootUuid, variable, argument));
        add_ext(1 * kMiB, 16, work / "boot", "ext2", kBootUuid, "boot");
        notes.stages.clear();
        const auto result = run();
        ASSERT_FALSE(result) << variable;
        EXPECT_EQ(result.error().id, "not-ready") << variable;
        EXPECT_THAT(result.error().message(), HasSubstr("/boot/grub/grub.cfg:3"));
        EXPECT_EQ(std::ranges::count(notes.stages, "apply"), 0) << "something was copied";
        EXPECT_FALSE(fs::exists(output));
        EXPECT_FALSE(fs::exists(partial_name(output)));
    }
}

TEST_F(PartitionedDisk, MayBeWhatAnEarlierConversionMade) {
    test::write_pv_tree(work / "tree");
    test::write_text(work / "tree/sbin/init", "#!/bin/sh\n");
    test::make_ext_image(source, work / "tree", 48, "ext4", {});
    ASSERT_TRUE(run());
    fs::rename(output, source);
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(again->manifest.entries().empty()) << again->manifest.to_json();
    EXPECT_EQ(again->plan.inspection.facts.menu_kind, image::BootMenuKind::grub_legacy);
    EXPECT_EQ(get(output, 0, kMiB), get(source, 0, kMiB));
}

TEST_F(PartitionedDisk, WithAGptIsReadFromEitherCopy) {
    make_disk(64,
              "label: gpt\n"
              "start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
              "start=2MiB, size=4MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
              "start=8MiB, size=40MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n");
    write_root(work / "root");
    write_text(work / "root/etc/fstab", "LABEL=root / ext4 defaults 0 1\n");
    write_text(work / "root/boot/vmlinuz-6.1", test::bz_image("6.1 (builder@host) #1", 300000));
    write_text(work / "root/boot/initrd-6.1", "i");
    write_text(work / "root/boot/grub2/grub.cfg", "search --label --set=root root\nblscfg\n");
    write_text(work / "root/boot/loader/entries/id-6.1.conf",
               "title Linux\nlinux /boot/vmlinuz-6.1\ninitrd /boot/initrd-6.1\noptions ro\n");
    add_ext(8 * kMiB, 40, work / "root", "ext4", kRootUuid, "root");
    // A boot record as GRUB 2 writes it, and the begin of its core image in the BIOS boot
    // partition.
    put(source, 0, std::string("\xeb\x63\x90", 3));
    put(source, 0x5c, std::string("\x00\x08\x00\x00\x00\x00\x00\x00", 8));
    put(source, 0x180, "GRUB ");
    put(source, 2048 * 512 + 0x100, "loading");
    for (const bool damaged : {false, true}) {
        if (damaged) put(source, 512 + 40, "x");
        const auto seen = look();
        ASSERT_TRUE(seen) << seen.error().message();
        EXPECT_EQ(seen->facts.first_refusal(), nullptr);
        EXPECT_TRUE(seen->facts.disk.is_gpt);
        EXPECT_TRUE(seen->facts.disk.has_system_partition);
        EXPECT_EQ(seen->facts.disk.code, image::BootCode::grub2);
        EXPECT_EQ(seen->facts.menu_kind, image::BootMenuKind::boot_loader_spec);
        EXPECT_EQ(seen->facts.boot_entry, 0U);
    }
    put(source, 64 * kMiB - 512 + 40, "x");
    const auto broken = look();
    ASSERT_FALSE(broken);
    EXPECT_TRUE(broken.error().is(Errc::corrupt)) << broken.error().message();
}

TEST_F(PartitionedDisk, WithoutAReadableRootIsRefusedByName) {
    make_disk(32, "label: dos\nstart=1MiB, size=30MiB, type=83\n");
    EXPECT_EQ(refusal(), "no-root-partition");
    struct Case {
        std::uint64_t offset;
        std::string_view bytes;
        const char* id;
    };
    for (const auto& c : {Case{512, "LABELONE", "lvm-root"}, Case{0, "LUKS\xba\xbe", "luks-root"},
                          Case{4096, "\xfc\x4e\x2b\xa9", "raid-root"},
                          Case{0x10040, "_BHRfS_M", "filesystem-has-errors"}}) {
        put(source, kMiB + c.offset, c.bytes);
        EXPECT_EQ(refusal(), c.id);
        put(source, kMiB + c.offset, std::string(c.bytes.size(), '\0'));
    }
    write_text(work / "data/file", "no system");
    add_ext(kMiB, 30, work / "data", "ext4", kRootUuid, "data");
    EXPECT_EQ(refusal(), "no-root-partition");
}

TEST_F(PartitionedDisk, WithTwoSystemsTakesTheOneThatSaysWhereItLies) {
    make_disk(64,
              "label: dos\nstart=1MiB, size=30MiB, type=83\nstart=32MiB, size=30MiB, type=83\n");
    write_root(work / "root");
    add_ext(kMiB, 30, work / "root", "ext4", kBootUuid, "one");
    write_text(work / "root/etc/fstab", "LABEL=two / ext4 defaults 0 1\n");
    add_ext(32 * kMiB, 30, work / "root", "ext4", kRootUuid, "two");
    // Both may say so: the first one's fstab names partition 2.
    const auto seen = look();
    ASSERT_TRUE(seen) << seen.error().message();
    EXPECT_EQ(seen->filesystem.uuid, kRootUuid);
    EXPECT_EQ(refusal(), "no-boot-loader");
    write_text(work / "root/etc/fstab", "/dev/sdz1 / ext4 defaults 0 1\n");
    add_ext(32 * kMiB, 30, work / "root", "ext4", kRootUuid, "two");
    EXPECT_EQ(refusal(), "several-roots");
}

TEST_F(PartitionedDisk, NothingOfTheImageDecidesWhereAFilesystemIsMounted) {
    make_usual_disk();
    const auto host = work / "host";
    fs::create_directories(host);
    fs::remove(work / "root/boot");
    fs::create_symlink(host, work / "root/boot");
    add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
    EXPECT_EQ(refusal(), "mount-point-missing");
    fs::remove(work / "root/boot");
    write_text(work / "root/etc/fstab",
               fmt::format("UUID={} /boot/../../{} ext2 defaults 0 2\n", kBootUuid, host));
    add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
    EXPECT_EQ(refusal(), "no-menu");
}

TEST_F(PartitionedDisk, WhoseBootIsElsewhereIsRefused) {
    make_usual_disk();
    write_text(work / "root/etc/fstab",
               "/dev/sda2 / ext4 defaults 0 1\nLABEL=gone /boot ext2 defaults 0 2\n");
    add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
    EXPECT_EQ(refusal(), "boot-partition-missing");
}

/// A data volume is not the image's own partition of the same number.
TEST_F(PartitionedDisk, WithDataVolumesKeepsThemApart) {
    make_usual_disk();
    write_text(work / "root/etc/fstab",
               "LABEL=root / ext4 defaults 0 1\nLABEL=boot /boot ext2 defaults 0 2\n"
               "/dev/xvde1 /var ext4 defaults 0 2\n/dev/hda1 /mnt ext4 defaults 0 2\n"
               "/dev/sda3 none swap sw 0 0\n");
    add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
    write_text(work / "boot/grub/grub.cfg",
               fmt::format("search --no-floppy --fs-uuid --set=root {}\n"
                           "menuentry 'Linux' {{\n linux /vmlinuz-6.1 root=LABEL=root ro "
                           "console=tty0\n initrd /initrd-6.1\n}}\n",
                           kBootUuid));
    add_ext(1 * kMiB, 16, work / "boot", "ext2", kBootUuid, "boot");
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    const auto& facts = result->plan.inspection.facts;
    EXPECT_EQ(facts.disk.device_names, std::vector<std::string>{"/dev/sda"});
    const TestMount root(output, 17 * kMiB, "ro,sizelimit=33554432");
    const auto fstab = read_text(root.path() + "/etc/fstab");
    EXPECT_THAT(fstab, HasSubstr("\n/dev/xvde1 /var ext4 defaults 0 0\n"));
    EXPECT_THAT(fstab, HasSubstr("\n/dev/hda1 /mnt ext4 defaults 0 0\n"));
    EXPECT_THAT(fstab, Not(HasSubstr("/dev/sda3")));
    std::string actions;
    for (const auto& finding : facts.findings) {
        if (finding.id == "fstab-device-name") actions += finding.action + "\n";
    }
    EXPECT_THAT(actions, HasSubstr("amilift makes the entry optional"));
    EXPECT_THAT(actions, HasSubstr("amilift names it 'UUID="));
}

/// Without a line for /boot there is no entry that speaks against /dev/xvde1; root= does.
TEST_F(PartitionedDisk, IsCalledAsItsMenuCallsIt) {
    make_disk(96,
              "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=32MiB, type=83\n");
    write_text(work / "data/lib/file", "no system");
    add_ext(1 * kMiB, 16, work / "data", "ext4", kBootUuid, "data");
    write_root(work / "root");
    write_text(work / "root/etc/os-release", "ID=centos\nVERSION_ID=6.10\n");
    write_text(work / "root/boot/vmlinuz-6.1", test::bz_image("6.1 (builder@host) #1", 300000));
    write_text(work / "root/boot/initrd-6.1", "i");
    const auto menu = [](std::string_view name) {
        return fmt::format(
            "menuentry 'Linux' {{\n linux /boot/vmlinuz-6.1 root={}\n"
            " initrd /boot/initrd-6.1\n}}\n",
            name);
    };
    write_text(work / "root/etc/fstab",
               "LABEL=root / ext4 defaults 0 1\n/dev/xvde1 /var ext4 defaults 0 2\n");
    for (const bool by_name : {false, true}) {
        write_text(work / "root/boot/grub/grub.cfg",
                   fmt::format("search --label --set=root root\n{}",
                               menu(by_name ? "/dev/xvda2" : "LABEL=root")));
        add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
        add_grub2();
        const auto seen = look();
        ASSERT_TRUE(seen) << seen.error().message();
        const auto* var = seen->facts.disk.holder_of("/var/lib");
        ASSERT_NE(var, nullptr);
        EXPECT_EQ(var->partition, by_name ? 2 : 1);
        EXPECT_EQ(seen->facts.disk.device_names,
                  std::vector<std::string>{by_name ? "/dev/xvda" : "/dev/xvde"});
    }
}

TEST(FindPartition, KnowsTheNamesOfFstab) {
    std::vector<dev::Partition> partitions(2);
    partitions[0].number = 1;
    partitions[0].uuid = "11223344-01";
    partitions[0].filesystem.label = "a b";
    partitions[1].number = 10;
    partitions[1].content_uuid = kRootUuid;
    const auto number = [&](std::string_view spec) {
        const auto* found = find_partition(
            partitions, {"/dev/sda", "/dev/xvda", "/dev/xvde", "/dev/nvme0n1"}, spec);
        return found == nullptr ? 0 : found->number;
    };
    for (const char* spec :
         {"/dev/sda1", "/dev/xvda1", "/dev/nvme0n1p1", "LABEL=a\\040b", "label=\"a b\"",
          "PARTUUID=11223344-01", "/dev/disk/by-partuuid/11223344-01"}) {
        EXPECT_EQ(number(spec), 1) << spec;
    }
    for (const char* spec :
         {"/dev/sda10", "/dev/xvde10", "UUID=0B5E7A52-6D3C-4F0A-9A35-0D9D3F1A7C11",
          "/dev/disk/by-uuid/0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11"}) {
        EXPECT_EQ(number(spec), 10) << spec;
    }
    for (const char* spec : {"/dev/sdb1", "/dev/sda2", "/dev/sda", "/dev/sda1x",
                             "LABEL=", "UUID=", "tmpfs", "/dev/mapper/x-y"}) {
        EXPECT_EQ(number(spec), 0) << spec;
    }
}

}  // namespace
}  // namespace amilift::worker
