// SPDX-License-Identifier: Apache-2.0
// What UEFI makes of a disk, told from real FAT filesystems and programs of GRUB. Needs root.
#include "worker/efi_partition.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/agent/image/efi_samples.hpp"
#include "tests/agent/worker/partitioned_disk.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using test::read_text;
using test::write_text;
using testing::HasSubstr;

using namespace test::disk;

/// GRUB 2 for BIOS in sector 0, / on partition 2, an EFI system partition as partition 1.
class EfiPartitionTest : public PartitionedDisk {
  protected:
    void make(const std::string& esp_type = "ef") {
        make_disk(128, "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=64MiB, type=" +
                           esp_type + "\nstart=66MiB, size=48MiB, type=83, bootable\n");
        const auto tree = work / "root";
        write_root(tree, "LABEL=root / ext4 defaults 0 1\n");
        write_kernel(tree + "/boot", "CONFIG_EFI=y\n");
        write_text(tree + "/boot/grub/grub.cfg",
                   fmt::format("search --no-floppy --fs-uuid --set=root {0}\n"
                               "menuentry 'Linux' {{\n linux /boot/vmlinuz-6.1 root=UUID={0} ro\n"
                               " initrd /boot/initrd-6.1\n}}\n",
                               kRootUuid));
        add_ext(66 * kMiB, 48, tree, "ext4", kRootUuid, "root");
        add_grub2();
        const auto done =
            commands.run_ok({.argv = {"mkfs.vfat", "-F", "32", "-s", "1", "-i", "abcd1234",
                                      "--offset", "2048", source, "65536"}});
        ASSERT_TRUE(done) << done.error().message();
    }
    void add(const std::string& file, const std::string& text) {
        write_text(work / "file", text);
        std::string directory;
        for (std::size_t at = file.find('/', 1); at != std::string::npos;
             at = file.find('/', at + 1)) {
            directory = file.substr(0, at);
            // It may be there already.
            (void)commands.run(
                {.argv = {"mmd", "-D", "s", "-i", source + "@@1M", "::" + directory}});
        }
        const auto done = commands.run_ok(
            {.argv = {"mcopy", "-D", "o", "-i", source + "@@1M", work / "file", "::" + file}});
        ASSERT_TRUE(done) << done.error().message();
    }
    /// A program as grub-install --removable makes it.
    std::string grub(const std::string& prefix, const std::string& config = {}) {
        write_text(work / "early.cfg", config);
        core::Command make{
            .argv = {"grub-mkimage", "-O", "x86_64-efi", "-p", prefix, "-o", work / "grub.efi"}};
        if (!config.empty()) make.argv.insert(make.argv.end(), {"-c", work / "early.cfg"});
        make.argv.insert(make.argv.end(), {"part_msdos", "fat", "ext2", "normal", "configfile",
                                           "search_fs_uuid", "linux"});
        const auto made = commands.run_ok(make);
        EXPECT_TRUE(made) << made.error().message();
        return read_text(work / "grub.efi");
    }
    image::EfiStart start() {
        const auto before = read_text(source);
        const auto seen = look();
        EXPECT_TRUE(seen) << seen.error().message();
        EXPECT_TRUE(before == read_text(source)) << "the source must stay as it is";
        if (!seen || !seen->facts.efi_start) return {"nothing", "", "", ""};
        // By BIOS it starts whatever lies there.
        const auto readiness = readiness_of(*seen);
        for (const auto& reason : readiness.on(image::Platform::nitro).reasons) {
            EXPECT_FALSE(reason.id.starts_with("efi-")) << reason.id;
        }
        const auto& reasons = readiness.on(image::Platform::nitro_uefi).reasons;
        const auto& id = seen->facts.efi_start->id;
        EXPECT_TRUE(std::ranges::any_of(reasons, [&](const image::Reason& reason) {
            return reason.id == (id.empty() ? "efi-start" : id) &&
                   (reason.verdict == image::Verdict::ready) == id.empty();
        }));
        return *seen->facts.efi_start;
    }
    /// The chain of the root directory of the FAT filesystem at `offset` becomes a ring: it has no
    /// end, nor the name that is looked for.
    void make_ring(std::uint64_t offset) {
        const auto boot = get(source, offset, 512);
        const auto byte = [&boot](std::size_t at) {
            return std::uint64_t{static_cast<unsigned char>(boot[at])};
        };
        put(source, offset + 32 * 512 + 8, std::string("\x02\0\0\x00", 4));
        std::string full;
        for (int i = 0; i < 16; ++i)
            full += std::string("FILE") + char('A' + i) + "      \x20" + std::string(20, '\0');
        const auto tables = 2 * 512 * (byte(36) + 256 * byte(37));
        put(source, offset + 32 * 512 + tables, full);
    }
    static constexpr const char* kProgram = "/EFI/BOOT/BOOTX64.EFI";
};

TEST_F(EfiPartitionTest, EmptyOrWithATextStartsNothing) {
    make();
    auto seen = start();
    EXPECT_EQ(seen.id, "efi-loader-missing");
    EXPECT_EQ(seen.where, "EFI system partition: /EFI/BOOT/BOOTX64.EFI");
    add("/EFI/debian/grubx64.efi", "not for removable media");
    EXPECT_EQ(start().id, "efi-loader-missing");
    add("/efi/boot/bootx64.efi", "a text\n");
    seen = start();
    EXPECT_EQ(seen.id, "efi-loader-invalid");
    EXPECT_THAT(seen.seen, HasSubstr("it is no PE image"));
}

TEST_F(EfiPartitionTest, WithARemovableGrubLeadsToTheMenu) {
    make();
    add("/efi/boot/bootx64.efi", grub("(,msdos2)/boot/grub"));
    auto seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
    add(kProgram, grub("/EFI/x", fmt::format("search.fs_uuid {} root\n"
                                             "set prefix=($root)/boot/grub\n",
                                             kRootUuid)));
    seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
    EXPECT_EQ(seen.seen, "/EFI/BOOT/BOOTX64.EFI, then /boot/grub/grub.cfg");
    add(kProgram, grub("/EFI/debian").substr(0, 100000));
    EXPECT_EQ(start().id, "efi-loader-invalid");
}

TEST_F(EfiPartitionTest, WithAConfigurationOfAnotherDiskLeadsNowhere) {
    make();
    add(kProgram, grub("/EFI/debian"));
    EXPECT_EQ(start().id, "efi-config-missing");
    const std::string config =
        "search.fs_uuid {} root hd0,msdos2\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n";
    add("/EFI/debian/grub.cfg", fmt::format(fmt::runtime(config), kBootUuid));
    auto seen = start();
    EXPECT_EQ(seen.id, "efi-config-missing");
    EXPECT_EQ(seen.where, "EFI system partition: /EFI/debian/grub.cfg:1");
    EXPECT_THAT(seen.seen, HasSubstr(kBootUuid));
    add("/EFI/debian/grub.cfg", fmt::format(fmt::runtime(config), kRootUuid));
    seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
}

TEST_F(EfiPartitionTest, ReadsTheArchiveOfAProgram) {
    make();
    write_text(work / "archive/grub.cfg", "configfile (hd0,msdos2)/boot/grub/grub.cfg\n");
    const auto packed = commands.run_ok(
        {.argv = {"tar", "-C", work / "archive", "-cf", work / "archive.tar", "grub.cfg"}});
    ASSERT_TRUE(packed) << packed.error().message();
    const auto with_archive = [this](const std::string& early) {
        write_text(work / "early.cfg", early);
        const auto made = commands.run_ok(
            {.argv = {"grub-mkimage", "-O", "x86_64-efi", "-m", work / "archive.tar", "-p",
                      "/EFI/x", "-c", work / "early.cfg", "-o", work / "grub.efi", "memdisk", "tar",
                      "part_msdos", "ext2", "normal", "configfile", "search", "linux"}});
        EXPECT_TRUE(made) << made.error().message();
        return read_text(work / "grub.efi");
    };
    add(kProgram, with_archive("normal (memdisk)/grub.cfg\n"));
    // Nothing is written to a directory for temporary files.
    const char* const old = std::getenv("TMPDIR");
    const std::string kept = old != nullptr ? old : "";
    ::setenv("TMPDIR", (work / "no-such-directory").c_str(), 1);
    auto seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
    EXPECT_THAT(seen.seen, HasSubstr("memdisk: /grub.cfg"));
    // What is no archive, GRUB goes on without.
    write_text(work / "archive.tar", std::string(1000, 'x'));
    add(kProgram, with_archive("normal (memdisk)/grub.cfg\n"));
    seen = start();
    EXPECT_EQ(seen.id, "efi-config-missing");
    EXPECT_THAT(seen.seen, HasSubstr("'(memdisk)/grub.cfg' cannot be read"));
    add(kProgram, with_archive("set prefix=(hd0,msdos2)/boot/grub\n"));
    seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
    if (old != nullptr) {
        ::setenv("TMPDIR", kept.c_str(), 1);
    } else {
        ::unsetenv("TMPDIR");
    }
}

TEST_F(EfiPartitionTest, ReadsAGrubWithAllItsModulesInside) {
    make();
    // GRUB loads the code of filesystems by itself, not that of partition tables.
    write_text(work / "grub.cfg",
               "insmod part_msdos\nconfigfile (hd0,msdos2)/boot/grub/grub.cfg\n");
    const auto made =
        commands.run_ok({.argv = {"grub-mkstandalone", "-O", "x86_64-efi", "-o", work / "grub.efi",
                                  "boot/grub/grub.cfg=" + (work / "grub.cfg")}});
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_GT(fs::file_size(work / "grub.efi"), 8 * kMiB);
    add(kProgram, read_text(work / "grub.efi"));
    const auto seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
}

TEST_F(EfiPartitionTest, WithShimAndItsFallbackProgramLeadsToWhatTheListNames) {
    namespace samples = image::samples;
    make();
    add(kProgram, samples::shim_program());
    add("/EFI/BOOT/fbx64.efi", samples::efi_program({{".text", "code"}}));
    EXPECT_EQ(start().where, "EFI system partition: /EFI/BOOT/fbx64.efi");
    add("/EFI/debian/BOOTX64.CSV", samples::utf16("shimx64.efi,debian,,This is debian\n"));
    add("/EFI/vendor/readme", "no boot loader");
    EXPECT_EQ(start().where, "EFI system partition: /EFI/debian/shimx64.efi");
    add("/EFI/debian/shimx64.efi", samples::shim_program());
    add("/EFI/debian/grubx64.efi", grub("(,msdos2)/boot/grub"));
    auto seen = start();
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
    add("/EFI/with blank/BOOTX64.CSV", samples::utf16("shimx64.efi,other\n"));
    EXPECT_EQ(start().id, "efi-loader-unproven");
}

TEST_F(EfiPartitionTest, ThatIsDamagedIsAFindingAndNeverAHang) {
    make();
    add(kProgram, std::string(200000, 'x'));
    const auto clean = read_text(source);
    make_ring(kMiB);
    const auto begin = std::chrono::steady_clock::now();
    const auto seen = start();
    EXPECT_EQ(seen.id, "efi-partition-unreadable") << seen.seen;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    // Other damage.
    put(source, kMiB, clean.substr(kMiB, 65 * kMiB));
    put(source, kMiB + 11, std::string(60, '\xff'));
    EXPECT_EQ(start().id, "efi-partition-unreadable");
    put(source, kMiB, std::string(65 * kMiB, '\0'));
    EXPECT_EQ(start().id, "efi-partition-unreadable");
}

TEST_F(EfiPartitionTest, SeveralThatAreDamagedShareTheTime) {
    make_disk(128,
              "label: dos\nstart=1MiB, size=33MiB, type=ef\nstart=34MiB, size=33MiB, type=ef\n"
              "start=67MiB, size=48MiB, type=83, bootable\n");
    write_root(work / "root");
    add_ext(67 * kMiB, 48, work / "root", "ext4", kRootUuid, "root");
    for (const std::uint64_t at : {1U, 34U}) {
        const auto done =
            commands.run_ok({.argv = {"mkfs.vfat", "-F", "32", "-s", "1", "--offset",
                                      fmt::format("{}", 2048 * at), source, "33792"}});
        ASSERT_TRUE(done) << done.error().message();
        make_ring(at * kMiB);
    }
    const auto look_for = [this](core::Duration time) {
        auto opened = SourceImage::open({source, ""}, commands, notes, JournalReplay::never);
        EXPECT_TRUE(opened) << opened.error().message();
        image::ImageFacts facts;
        EfiReadBudget budget;
        budget.time = time;
        auto start = look_at_efi_start(*opened, facts, commands, cancel, budget);
        EXPECT_TRUE(opened->unmount());
        return start;
    };
    const auto seconds_since = [](std::chrono::steady_clock::time_point begin) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    auto begin = std::chrono::steady_clock::now();
    const auto start = look_for(std::chrono::seconds(3));
    ASSERT_TRUE(start && *start);
    EXPECT_EQ((*start)->id, "efi-partition-unreadable") << (*start)->seen;
    EXPECT_LT(seconds_since(begin), 5.5) << "twice as long: each had a time of its own";

    std::thread stopper([this] {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        cancel.request("stopped by signal 2");
    });
    begin = std::chrono::steady_clock::now();
    const auto stopped = look_for(std::chrono::seconds(60));
    stopper.join();
    ASSERT_FALSE(stopped);
    EXPECT_TRUE(stopped.error().is(core::Errc::cancelled)) << stopped.error().message();
    EXPECT_LT(seconds_since(begin), 8);
}

TEST_F(EfiPartitionTest, OfADiskWithAnOddNameIsRead) {
    make();
    add(kProgram, grub("(,msdos2)/boot/grub"));
    const auto before = fs::current_path();
    fs::rename(source, work / "-x.img");
    fs::current_path(work.path());
    source = "-x.img";
    const auto seen = start();
    fs::current_path(before);
    EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
}

TEST_F(EfiPartitionTest, OfAGptWithoutItsFirstCopyIsNotSeenByGrub) {
    make_disk(128,
              "label: gpt\nstart=1MiB, size=64MiB, type=uefi\n"
              "start=66MiB, size=48MiB, type=linux\n");
    write_root(work / "root");
    add_ext(66 * kMiB, 48, work / "root", "ext4", kRootUuid, "root");
    ASSERT_TRUE(
        commands.run_ok({.argv = {"mkfs.vfat", "-F", "32", "--offset", "2048", source, "65536"}}));
    EXPECT_EQ(start().id, "efi-loader-missing");
    put(source, 512, std::string(33 * 512, '\0'));
    const auto seen = start();
    EXPECT_EQ(seen.id, "efi-partition-unreadable");
    EXPECT_THAT(seen.seen, HasSubstr("first copy of a GPT"));
    EXPECT_THAT(seen.action, HasSubstr("write the partition table again"));
}

TEST_F(EfiPartitionTest, WithoutOneThereIsNothingToLookAt) {
    make("c");
    const auto seen = look();
    ASSERT_TRUE(seen) << seen.error().message();
    EXPECT_FALSE(seen->facts.efi_start.has_value());
}

/// What amilift writes itself, for a kernel that UEFI starts and one that it does not.
TEST_F(EfiPartitionTest, OfAConversionIsProven) {
    for (const bool has_efi : {true, false}) {
        test::write_pv_tree(work / (has_efi ? "tree1" : "tree2"));
        const auto tree = work / (has_efi ? "tree1" : "tree2");
        if (has_efi) write_text(tree + "/boot/config-2.6.32-754.el6.x86_64", "CONFIG_EFI=y\n");
        fs::remove(source);
        fs::remove(output);
        test::make_ext_image(source, tree, 48, "ext4", {});
        ConversionRequest request;
        request.source.path = source;
        request.target.path = output;
        request.options.layout = job::Layout::gpt;
        const auto result = convert(request, commands, notes, cancel);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(result->boots_by_uefi, has_efi);
        fs::rename(output, source);
        const auto seen = start();
        EXPECT_TRUE(seen.is_proven()) << seen.id << ": " << seen.seen;
        EXPECT_EQ(seen.seen, "/EFI/BOOT/BOOTX64.EFI, then /boot/amilift/grub.cfg");
    }
}

/// A disk that keeps its partitions keeps what lies in them, and the AMI its boot mode only if that
/// was seen to start the system.
TEST_F(EfiPartitionTest, ThatIsKeptPromisesUefiOnlyIfItIsProven) {
    make();
    auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_FALSE(result->boots_by_uefi);
    fs::remove(output);
    add(kProgram, grub("(,msdos2)/boot/grub"));
    result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->boots_by_uefi);
}

}  // namespace
}  // namespace amilift::worker
