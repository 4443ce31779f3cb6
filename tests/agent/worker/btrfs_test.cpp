// SPDX-License-Identifier: Apache-2.0
// Systems on btrfs: on a partition with their own GRUB 2, and bare, as PV-GRUB boots them. Needs
// root and mkfs.btrfs.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>

#include "modules/partition.hpp"
#include "tests/agent/worker/partitioned_disk.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using test::describe_tree;
using test::kMiB;
using test::read_text;
using test::TestMount;
using test::write_text;
using testing::HasSubstr;

constexpr unsigned kFilesystemMib = 192;
constexpr const char* kUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c31";

class BtrfsSystem : public test::disk::PartitionedDisk {
  protected:
    void run_program(const std::vector<std::string>& argv) {
        const auto done = commands.run_ok({.argv = argv});
        ASSERT_TRUE(done) << done.error().message();
    }
    void make_bare() {
        modules::test::make_file(source, kFilesystemMib * kMiB);
        run_program({"mkfs.btrfs", "-q", "-U", kUuid, source});
    }
    /// An MBR disk of one partition at 1 MiB, started by GRUB 2.
    void make_partitioned() {
        const auto part = work / "part.img";
        modules::test::make_file(part, kFilesystemMib * kMiB);
        run_program({"mkfs.btrfs", "-q", "-f", "-U", kUuid, part});
        make_disk(1 + kFilesystemMib,
                  "label: dos\nlabel-id: 0x11223344\nstart=1MiB, type=83, bootable\n");
        run_program({"dd", "if=" + part, "of=" + source, "bs=1M", "seek=1", "conv=notrunc,sparse",
                     "status=none"});
        fs::remove(part);
        add_grub2();
    }
    /// Calls `change` with the top level mounted.
    template <class Change>
    void fill(std::uint64_t offset, const Change& change) {
        const TestMount top(source, offset, "subvolid=5");
        change(top.path());
    }
    void subvolume(const std::string& path) {
        fs::create_directories(fs::path(path).parent_path());
        run_program({"btrfs", "-q", "subvolume", "create", path});
    }
    /// A system whose fstab begins with `fstab`; its kernel lies below `boot` for GRUB.
    static void write_system(const std::string& root, const std::string& fstab,
                             const std::string& boot, const std::string& arguments,
                             const std::string& head = {}) {
        write_root(root, fstab);
        write_kernel(root + "/boot", "CONFIG_XEN=y\n");
        write_text(root + "/boot/grub/grub.cfg",
                   fmt::format("{}search --no-floppy --fs-uuid --set=root {}\n"
                               "menuentry 'Linux' {{\n linux {}/vmlinuz-6.1 root=/dev/sda1 {} "
                               "console=tty0\n initrd {}/initrd-6.1\n}}\n",
                               head, kUuid, boot, arguments, boot));
        fs::create_directories(root + "/home");
    }
    core::Result<ConversionResult> run(job::ConversionOptions options = {}) {
        ConversionRequest request;
        request.source.path = source;
        request.target.path = output;
        request.options = std::move(options);
        return convert(request, commands, notes, cancel);
    }
    std::string refusal(job::ConversionOptions options = {}) {
        const auto result = run(std::move(options));
        EXPECT_FALSE(result);
        EXPECT_FALSE(fs::exists(output));
        return result ? "" : result.error().id;
    }
    void expect_sound(std::uint64_t offset) {
        const auto part = work / "check.img";
        run_program({"dd", "if=" + output, "of=" + part, "bs=1M",
                     fmt::format("skip={}", offset / kMiB), "conv=sparse", "status=none"});
        run_program({"btrfs", "check", "--check-data-csum", part});
        fs::remove(part);
    }
    /// All of both trees but what the manifest lists, and the times of what it lists files in.
    void expect_same_trees(std::uint64_t source_offset, std::uint64_t offset,
                           const ConversionResult& result, const std::string& subvolume_path) {
        const TestMount before(source, source_offset, "ro,subvolid=5");
        auto old_lines = describe_tree(before.path());
        std::vector<std::string> new_lines;
        {
            // One filesystem UUID is mounted once.
            const auto copy = work / "again.img";
            fs::copy_file(output, copy);
            const TestMount after(copy, offset, "ro,subvolid=5");
            new_lines = describe_tree(after.path());
        }
        fs::remove(work / "again.img");
        for (auto* lines : {&old_lines, &new_lines}) {
            std::erase_if(*lines, [&](const std::string& line) {
                return std::ranges::any_of(result.manifest.entries(), [&](const auto& entry) {
                    const auto path = subvolume_path + entry.path;
                    const auto parent = path.substr(0, path.rfind('/'));
                    return line.starts_with(path + " ") || line.starts_with(parent + " ") ||
                           line.starts_with(subvolume_path + "/var/lib/amilift");
                });
            });
        }
        std::vector<std::string> differing;
        std::ranges::set_symmetric_difference(old_lines, new_lines, std::back_inserter(differing));
        EXPECT_THAT(differing, testing::IsEmpty());
        EXPECT_GT(old_lines.size(), 5U);
    }
};

TEST_F(BtrfsSystem, InASubvolumeThatFstabNames) {
    make_partitioned();
    fill(kMiB, [&](const std::string& top) {
        subvolume(top + "/@");
        subvolume(top + "/@home");
        write_system(top + "/@",
                     "/dev/sda1 / btrfs subvol=@ 0 0\n/dev/sda1 /home btrfs subvol=@home 0 0\n",
                     "/@/boot", "ro rootflags=subvol=@");
        write_text(top + "/@home/user/file", "mine");
        // What a snapshot tool keeps looks like the system, and says that it is.
        fs::create_directories(top + "/timeshift/1");
        run_program(
            {"btrfs", "-q", "subvolume", "snapshot", "-r", top + "/@", top + "/timeshift/1/@"});
    });
    const auto before = test::read_text(source);
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == test::read_text(source)) << "the source must stay as it is";
    const auto& facts = result->plan.inspection.facts;
    ASSERT_EQ(facts.boot_entries.size(), 1U);
    EXPECT_EQ(facts.boot_entries[0].kernel, "/boot/vmlinuz-6.1");
    EXPECT_EQ(facts.menu_kind, image::BootMenuKind::grub2);
    EXPECT_EQ(result->plan.inspection.filesystem.type, dev::Filesystem::btrfs);
    EXPECT_LT(result->plan.used_bytes, 64 * kMiB);
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_THAT(proofs, HasSubstr("grub-fstest reads /boot/vmlinuz-6.1"));
    expect_sound(kMiB);
    expect_same_trees(kMiB, kMiB, *result, "/@");
    {
        const TestMount top(output, kMiB, "ro,subvolid=5");
        EXPECT_THAT(read_text(top.path() + "/@/etc/fstab"),
                    HasSubstr(fmt::format("UUID={0} / btrfs subvol=@ 0 0\nUUID={0} /home btrfs "
                                          "subvol=@home",
                                          kUuid)));
        EXPECT_THAT(read_text(top.path() + "/@/boot/grub/grub.cfg"),
                    HasSubstr(fmt::format("linux /@/boot/vmlinuz-6.1 root=UUID={} ro "
                                          "rootflags=subvol=@",
                                          kUuid)));
        EXPECT_TRUE(fs::exists(top.path() + "/@" + std::string(modules::kManifestPath)));
        EXPECT_FALSE(
            fs::exists(top.path() + "/timeshift/1/@" + std::string(modules::kManifestPath)));
    }
    fs::rename(output, source);
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(again->manifest.entries().empty()) << again->manifest.to_json();
}

/// As openSUSE lays it out: the default subvolume is a snapshot, the names of GRUB begin there, and
/// /var is a subvolume of its own.
TEST_F(BtrfsSystem, InTheDefaultSubvolumeWithOthersBelowIt) {
    make_partitioned();
    fill(kMiB, [&](const std::string& top) {
        subvolume(top + "/@");
        subvolume(top + "/@/var");
        subvolume(top + "/@/.snapshots");
        subvolume(top + "/@/.snapshots/1/snapshot");
        const auto root = top + "/@/.snapshots/1/snapshot";
        write_system(root,
                     fmt::format("UUID={0} / btrfs defaults 0 0\n"
                                 "UUID={0} /.snapshots btrfs subvol=/@/.snapshots 0 0\n"
                                 "UUID={0} /var btrfs subvol=/@/var 0 0\n",
                                 kUuid),
                     "/boot", "splash=silent",
                     "set btrfs_relative_path=\"yes\"\nexport btrfs_relative_path\n");
        fs::create_directories(top + "/@/var/lib");
        run_program({"btrfs", "-q", "subvolume", "set-default", root});
        subvolume(top + "/@/.snapshots/2/other");
        run_program(
            {"btrfs", "-q", "subvolume", "snapshot", "-r", root, top + "/@/.snapshots/2/snapshot"});
    });
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    const auto& facts = result->plan.inspection.facts;
    ASSERT_EQ(facts.disk.volumes.size(), 1U);
    EXPECT_EQ(facts.disk.volumes[0].default_subvolume, "@/.snapshots/1/snapshot");
    EXPECT_EQ(facts.boot_entries.at(0).kernel, "/boot/vmlinuz-6.1");
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_THAT(proofs, HasSubstr("grub-fstest reads /boot/initrd-6.1"));
    expect_sound(kMiB);
    const TestMount top(output, kMiB, "ro,subvolid=5");
    EXPECT_TRUE(fs::exists(top.path() + "/@" + std::string(modules::kManifestPath)));
    EXPECT_THAT(read_text(top.path() + "/@/.snapshots/1/snapshot/boot/grub/grub.cfg"),
                HasSubstr(fmt::format("linux /boot/vmlinuz-6.1 root=UUID={}", kUuid)));
    EXPECT_THAT(read_text(top.path() + "/@/.snapshots/2/snapshot/boot/grub/grub.cfg"),
                HasSubstr("root=/dev/sda1"));
}

TEST_F(BtrfsSystem, OnTheWholeDiskBecomesAPartition) {
    make_bare();
    fill(0, [&](const std::string& top) {
        test::write_pv_tree(top);
        write_text(top + "/sbin/init", "#!/bin/sh\n");
    });
    for (const auto layout : {job::Layout::mbr, job::Layout::gpt}) {
        job::ConversionOptions options;
        options.layout = layout;
        options.size_gib = layout == job::Layout::gpt ? 1 : 0;
        const auto result = run(options);
        ASSERT_TRUE(result) << result.error().message();
        const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
        EXPECT_THAT(proofs, HasSubstr("grub-fstest reads /boot/vmlinuz-2.6.32"));
        EXPECT_THAT(fmt::format("{}", fmt::join(result->plan.steps, "\n")),
                    HasSubstr("btrfs, btrfs trees"));
        if (layout == job::Layout::gpt) {
            EXPECT_THAT(proofs, HasSubstr("btrfs has 0.9"));
        }
        expect_sound(kMiB);
        expect_same_trees(0, kMiB, *result, "");
        if (layout == job::Layout::mbr) {
            fs::rename(output, source + ".done");
        } else {
            fs::remove(output);
        }
    }
    fs::rename(source + ".done", source);
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(again->manifest.entries().empty()) << again->manifest.to_json();
}

TEST_F(BtrfsSystem, OnTheWholeDiskInASubvolume) {
    make_bare();
    fill(0, [&](const std::string& top) {
        subvolume(top + "/@");
        test::write_pv_tree(top + "/@");
        write_text(top + "/@/sbin/init", "#!/bin/sh\n");
        const auto menu = top + "/@/boot/grub/grub.conf";
        auto text = read_text(menu);
        for (const std::string_view word : {"kernel /boot", "initrd /boot"}) {
            text.replace(text.find(word) + word.find('/'), 5, "/@/boot");
        }
        text.replace(text.find("ro root"), 2, "ro rootflags=subvol=@");
        write_text(menu, text);
    });
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    const TestMount top(output, kMiB, "ro,subvolid=5");
    EXPECT_THAT(read_text(top.path() + "/@/boot/amilift/grub.cfg"),
                HasSubstr("legacy_configfile '/@/boot/grub/grub.conf'"));
    EXPECT_THAT(read_text(top.path() + "/@/boot/grub/grub.conf"),
                HasSubstr("kernel /@/boot/vmlinuz"));
}

TEST_F(BtrfsSystem, WithoutASystemIsRefused) {
    make_bare();
    fill(0, [&](const std::string& top) { test::write_pv_tree(top + "/@"); });
    EXPECT_EQ(refusal(), "no-root-partition");
}

TEST_F(BtrfsSystem, WhoseMenuBeginsAtTheDefaultSubvolumeGetsALink) {
    make_bare();
    fill(0, [&](const std::string& top) {
        subvolume(top + "/@");
        test::write_pv_tree(top + "/@");
        write_text(top + "/@/sbin/init", "#!/bin/sh\n");
    });
    // Nothing says yet that the names begin there.
    EXPECT_EQ(refusal(), "no-bootable-entry");
    fill(0, [&](const std::string& top) {
        run_program({"btrfs", "-q", "subvolume", "set-default", top + "/@"});
    });
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_THAT(fmt::format("{}", fmt::join(result->proofs, "\n")),
                HasSubstr("/boot at the top level of the btrfs leads to /@/boot"));
    {
        const TestMount top(output, kMiB, "ro,subvolid=5");
        EXPECT_EQ(fs::read_symlink(top.path() + "/boot"), "@/boot");
        EXPECT_THAT(read_text(top.path() + "/@/boot/grub/grub.conf"),
                    HasSubstr("kernel /boot/vmlinuz"));
    }
    fs::rename(output, source);
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(again->manifest.entries().empty()) << again->manifest.to_json();
}

TEST_F(BtrfsSystem, IsRefusedByName) {
    make_partitioned();
    fill(kMiB, [&](const std::string& top) {
        subvolume(top + "/one");
        write_system(top + "/one", "/dev/sda1 / btrfs subvol=one 0 0\n", "/one/boot", "ro");
    });
    // The default subvolume is the top level, where there is no system.
    EXPECT_EQ(refusal(), "btrfs-other-subvolume");
    fill(kMiB, [&](const std::string& top) {
        subvolume(top + "/two");
        write_system(top + "/two", "/dev/sda1 / btrfs subvol=two 0 0\n", "/two/boot",
                     "rootflags=subvol=two");
    });
    EXPECT_EQ(refusal(), "several-roots");
    fill(kMiB, [&](const std::string& top) {
        run_program({"btrfs", "-q", "subvolume", "delete", top + "/one"});
        run_program({"btrfs", "property", "set", top + "/two", "ro", "true"});
    });
    EXPECT_EQ(refusal(), "btrfs-read-only");
    fill(kMiB, [&](const std::string& top) {
        run_program({"btrfs", "property", "set", top + "/two", "ro", "false"});
    });
    EXPECT_TRUE(run());
}

}  // namespace
}  // namespace amilift::worker
