// SPDX-License-Identifier: Apache-2.0
// Disks and bare filesystems that become images for PV-GRUB. Needs root.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "core/sha256.hpp"
#include "image/compression.hpp"
#include "image/initramfs.hpp"
#include "tests/agent/image/initramfs_samples.hpp"
#include "tests/agent/image/pv_kernel_samples.hpp"
#include "tests/agent/worker/conversion_fixture.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using test::describe_tree;
using test::kMiB;
using test::put;
using test::read_text;
using test::TestMount;
using test::write_text;
using testing::Contains;
using testing::HasSubstr;

constexpr const char* kRootUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11";
constexpr const char* kBootUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c22";
constexpr const char* kVersion = "2.6.32-71.el6.x86_64";

/// All bytes of an image; read_text() takes seconds for that.
std::string disk(const std::string& path) {
    auto bytes = core::read_file(path, std::size_t{256} << 20);
    EXPECT_TRUE(bytes) << path;
    return bytes ? *std::move(bytes) : std::string();
}

/// A directory in which a listed path lies has another time of change.
bool is_parent_of_one(const std::string& path, const std::set<std::string>& touched) {
    if (path == "/") return true;
    const auto next = touched.lower_bound(path + "/");
    return next != touched.end() && next->starts_with(path + "/");
}

class Paravirtual : public test::ConversionFixture {
  protected:
    void SetUp() override {
        ConversionFixture::SetUp();
        options.virtualization = job::Virtualization::paravirtual;
        options.architecture = "x86_64";
    }

    static std::string kernel(const std::string& notes) {
        // What follows the payload would be the unpacking code.
        return image::bz_image_with(image::pack_gzip(image::elf_with_notes(notes)).value(),
                                    kVersion) +
               std::string(200000, 'k');
    }
    /// As dracut makes them on a machine that is no guest of Xen: without its drivers.
    static std::string initramfs() {
        return image::packed(
            "gzip", image::cpio_of(
                        {{"init", "#!/bin/sh\n"},
                         {"usr/lib/dracut/build-parameter.txt", "--no-hostonly"},
                         {"lib/modules/" + std::string(kVersion) + "/modules.dep", "old index"}}));
    }
    /// What anaconda made of a disk: /boot, / and swap on a partition each.
    void write_trees(const std::string& root, const std::string& boot) {
        write_text(boot + "/vmlinuz-" + kVersion, kernel(image::pv_notes()));
        write_text(boot + "/initramfs-" + kVersion + ".img", initramfs());
        write_text(boot + "/config-" + kVersion, "CONFIG_XEN=y\n");
        write_text(boot + "/grub/grub.conf",
                   fmt::format("default=0\ntimeout=5\nsplashimage=(hd0,0)/grub/splash.xpm.gz\n"
                               "title Enterprise\n\troot (hd0,0)\n"
                               "\tkernel /vmlinuz-{0} ro root=/dev/sda2 console=tty0\n"
                               "\tinitrd /initramfs-{0}.img\n",
                               kVersion));
        fs::create_symlink("./grub.conf", boot + "/grub/menu.lst");
        fs::create_hard_link(boot + "/config-" + kVersion, boot + "/config-again");
        ASSERT_EQ(::chmod((boot + "/grub").c_str(), 0700), 0);
        ASSERT_EQ(::setxattr((boot + "/config-again").c_str(), "user.note", "kept", 4, 0), 0);

        write_text(root + "/sbin/init", "#!/bin/sh\n");
        write_text(root + "/sbin/agetty", "#!/bin/sh\n");
        write_text(root + "/etc/redhat-release", "CentOS release 6.0\n");
        write_text(root + "/etc/inittab",
                   "id:3:initdefault:\n1:2345:respawn:/sbin/mingetty tty1\n");
        write_text(root + "/etc/securetty", "console\ntty1\n");
        write_text(root + "/etc/fstab", fmt::format("/dev/sda2 / ext3 defaults 1 1\n"
                                                    "UUID={} /boot ext3 defaults 1 2\n"
                                                    "/dev/sda3 swap swap defaults 0 0\n"
                                                    "proc /proc proc defaults 0 0\n",
                                                    kBootUuid));
        const auto modules = root + "/lib/modules/" + kVersion + "/";
        write_text(modules + "modules.dep",
                   "kernel/drivers/block/xen-blkfront.ko:\nkernel/drivers/net/xen-netfront.ko:\n");
        for (const std::string name : {"block/xen-blkfront", "net/xen-netfront"}) {
            write_text(modules + "kernel/drivers/" + name + ".ko", image::module_file({}));
        }
        fs::create_directories(root + "/var/lib");
        fs::create_directories(root + "/boot");
        for (const auto& tree : {root, boot}) {
            ASSERT_TRUE(commands.run_ok({.argv = {"find", tree, "-depth", "-exec", "touch", "-h",
                                                  "-d", "2012-03-04 05:06:07 UTC", "{}", "+"}}));
        }
    }
    void add_ext3(std::uint64_t offset, unsigned mebibytes, const std::string& tree,
                  const char* uuid, const std::string& label) {
        const auto part = work / "part.img";
        fs::remove(part);
        test::make_ext_image(part, tree, mebibytes, "ext3", {"-U", uuid, "-L", label});
        put(source, offset, disk(part));
    }
    void make_disk() {
        write_trees(work / "root", work / "boot");
        make_disk_of_trees();
    }
    void make_disk_of_trees() {
        modules::test::make_file(source, 96 * kMiB);
        ASSERT_TRUE(commands.run_ok(
            {.argv = {"sfdisk", "-q", "--no-tell-kernel", source},
             .input =
                 "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=16MiB, type=83, bootable\n"
                 "start=17MiB, size=48MiB, type=83\nstart=65MiB, size=16MiB, type=82\n"}));
        put_disk();
        // Code of a loader that amilift does not know.
        put(source, 0, "\xfa\x31\xc0\x8e\xd8");
    }
    void put_disk() {
        add_ext3(1 * kMiB, 16, work / "boot", kBootUuid, "boot");
        add_ext3(17 * kMiB, 48, work / "root", kRootUuid, "root");
        // The root partition had a loader in its first sector, too.
        put(source, 17 * kMiB + 510, "\x55\xaa");
        const auto swap = work / "swap.img";
        modules::test::make_file(swap, 16 * kMiB);
        ASSERT_TRUE(commands.run_ok({.argv = {"mkswap", swap}}));
        put(source, 65 * kMiB, disk(swap));
    }
    core::Result<ConversionResult> run(const std::string& from, const std::string& to) {
        ConversionRequest request;
        request.source.path = from;
        request.target.path = to;
        request.options = options;
        return convert(request, commands, notes, cancel);
    }
    /// A second conversion writes nothing.
    void expect_no_change(const std::string& image) {
        const auto again = work / "again.img";
        const auto result = run(image, again);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_TRUE(result->manifest.entries().empty()) << result->manifest.to_json();
        EXPECT_EQ(fs::file_size(again), fs::file_size(image));
    }
    std::string refusal() {
        const auto before = disk(source);
        const auto result = run(source, output);
        EXPECT_FALSE(result);
        EXPECT_FALSE(fs::exists(output));
        EXPECT_TRUE(before == disk(source)) << "source changed";
        return result ? "" : result.error().id;
    }

    job::ConversionOptions options;
};

TEST_F(Paravirtual, MakesOneFilesystemOfThreePartitions) {
    make_disk();
    const auto before = disk(source);
    const auto result = run(source, output);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == disk(source)) << "source changed";
    EXPECT_EQ(fs::file_size(output), 48 * kMiB);
    const auto fsck = commands.run({.argv = {"e2fsck", "-fn", output}});
    ASSERT_TRUE(fsck);
    EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
    // No loader's sector that looks like a partition table.
    EXPECT_EQ(disk(output).substr(0, 1024), std::string(1024, '\0'));

    const TestMount mounted(output, 0);
    const auto root = mounted.path();
    const auto spec = fmt::format("UUID={}", kRootUuid);
    EXPECT_EQ(read_text(root + "/boot/grub/menu.lst"),
              fmt::format("default=0\ntimeout=5\n#splashimage=(hd0,0)/grub/splash.xpm.gz\n"
                          "title Enterprise\n\troot (hd0)\n"
                          "\tkernel /boot/vmlinuz-{0} ro root={1} noresume console=hvc0\n"
                          "\tinitrd /boot/initramfs-{0}.img\n",
                          kVersion, spec));
    EXPECT_EQ(read_text(root + "/etc/fstab"), fmt::format("{} / ext3 defaults 1 1\n"
                                                          "#UUID={} /boot ext3 defaults 1 2\n"
                                                          "#/dev/sda3 swap swap defaults 0 0\n"
                                                          "proc /proc proc defaults 0 0\n",
                                                          spec, kBootUuid));
    EXPECT_THAT(read_text(root + "/etc/inittab"), HasSubstr("/sbin/agetty hvc0 38400\n"));
    EXPECT_EQ(read_text(root + "/etc/securetty"), "console\ntty1\nhvc0\n");
    // Nothing of /boot but the menu and the initramfs is another than it was.
    auto was = describe_tree(work / "boot");
    auto is = describe_tree(root + "/boot");
    const auto is_other = [](const std::string& line) {
        return line.starts_with("/ ") || line.starts_with("/grub/grub.conf ") ||
               line.starts_with("/initramfs-");
    };
    std::erase_if(was, is_other);
    std::erase_if(is, is_other);
    EXPECT_EQ(is, was);
    const auto repaired = read_text(root + "/boot/initramfs-" + kVersion + ".img");
    EXPECT_TRUE(repaired.starts_with(read_text(work / "boot/initramfs-" + kVersion + ".img")));
    const auto members = image::read_initramfs(repaired).members;
    for (const std::string name : {"block/xen-blkfront", "net/xen-netfront"}) {
        EXPECT_TRUE(members.contains("lib/modules/" + std::string(kVersion) + "/kernel/drivers/" +
                                     name + ".ko"))
            << name;
    }
    // Nor anything else but what the manifest lists.
    std::set<std::string> touched;
    for (const auto& entry : result->manifest.entries()) touched.insert(entry.path);
    const TestMount old(source, 17 * kMiB);
    auto old_tree = describe_tree(old.path());
    auto new_tree = describe_tree(root);
    const auto is_listed = [&](const std::string& line) {
        const auto path = line.substr(0, line.find(' '));
        return path.starts_with("/boot") || touched.contains(path) ||
               path == modules::kManifestPath || is_parent_of_one(path, touched);
    };
    std::erase_if(old_tree, is_listed);
    std::erase_if(new_tree, is_listed);
    EXPECT_EQ(new_tree, old_tree);
    EXPECT_GT(new_tree.size(), 5U);
    EXPECT_THAT(result->proofs, Contains(HasSubstr("grub-fstest reads /boot/vmlinuz-")));
    EXPECT_THAT(result->proofs, Contains(HasSubstr("grub-fstest reads /boot/initramfs-")));
    const auto& entries = result->manifest.entries();
    const auto listed = std::ranges::find(entries, std::string("/boot/vmlinuz-") + kVersion,
                                          &modules::ManifestEntry::path);
    ASSERT_NE(listed, entries.end());
    EXPECT_FALSE(listed->before);
    EXPECT_EQ(listed->after->sha256,
              core::sha256_hex(read_text(work / "boot/vmlinuz-" + kVersion)).value());
}

TEST_F(Paravirtual, ChangesNothingTheSecondTime) {
    make_disk();
    ASSERT_TRUE(run(source, output));
    expect_no_change(output);
}

/// What Debian makes of such a disk: GRUB 2, and a menu with a rescue entry and an older kernel.
TEST_F(Paravirtual, WritesTheMenuOfGrub2) {
    write_trees(work / "root", work / "boot");
    fs::remove_all(work / "boot/grub");
    write_text(work / "boot/vmlinuz-2.6.31", kernel(image::pv_notes()));
    write_text(work / "boot/vmlinuz-2.6.30", kernel(""));
    const auto entry = [](const std::string& title, const std::string& kernel,
                          const std::string& more) {
        return fmt::format(
            "menuentry '{}' {{\n search --fs-uuid --set=root {}\n"
            " linux /vmlinuz-{} root=/dev/sda2 ro{}\n{}}}\n",
            title, kBootUuid, kernel, more,
            kernel == kVersion ? fmt::format(" initrd /initramfs-{}.img\n", kernel)
                               : std::string());
    };
    write_text(work / "boot/grub/grub.cfg", "set default=2\n" + entry("old", "2.6.31", "") +
                                                entry("hvm", "2.6.30", "") +
                                                entry("new", kVersion, " quiet resume=/dev/sda3") +
                                                entry("rescue", kVersion, " single"));
    make_disk_of_trees();
    const auto result = run(source, output);
    ASSERT_TRUE(result) << result.error().message();
    {
        const TestMount mounted(output, 0);
        const auto spec = fmt::format("UUID={}", kRootUuid);
        const auto linux_of = [&](const std::string& title, const std::string& arguments) {
            return fmt::format(
                "\ntitle {0}\n\troot (hd0)\n\tkernel /boot/vmlinuz-{1} root={2} {3}\n"
                "\tinitrd /boot/initramfs-{1}.img\n",
                title, kVersion, spec, arguments);
        };
        EXPECT_EQ(read_text(mounted.path() + "/boot/grub/menu.lst"),
                  "default 0\ntimeout 0\n" + linux_of("new", "ro quiet noresume console=hvc0") +
                      "\ntitle old\n\troot (hd0)\n"
                      "\tkernel /boot/vmlinuz-2.6.31 root=/dev/sda2 ro console=hvc0\n" +
                      linux_of("rescue", "ro single noresume console=hvc0"));
        EXPECT_EQ(read_text(mounted.path() + "/boot/grub/grub.cfg"),
                  read_text(work / "boot/grub/grub.cfg"));
    }
    expect_no_change(output);
}

TEST_F(Paravirtual, RefusesBeforeAnythingIsWritten) {
    make_disk();
    options.architecture = "i386";
    EXPECT_EQ(refusal(), "aki-does-not-fit");
    options.architecture = "";
    write_text(work / "boot/vmlinuz-" + kVersion, kernel(""));
    put_disk();
    EXPECT_EQ(refusal(), "pv-kernel-no-xen");
    write_text(work / "boot/vmlinuz-" + kVersion, kernel(image::pv_notes()));
    fs::remove_all(work / "root/lib/modules");
    put_disk();
    EXPECT_EQ(refusal(), "no-xen-blkfront-driver");
}

/// As `inspect` judges it, and before the copy.
TEST_F(Paravirtual, RefusesARootThatNothingFinds) {
    make_disk();
    const auto menu = work / "boot/grub/grub.conf";
    const auto text = read_text(menu);
    const auto with = [&](const std::string& root, bool has_initrd) {
        auto edited = has_initrd ? text : text.substr(0, text.find("\tinitrd"));
        const std::string old = "root=/dev/sda2";
        edited.replace(edited.find(old), old.size(), "root=" + root);
        write_text(menu, edited);
        put_disk();
    };
    // The kernel looks up no name of a filesystem, unless it has an initramfs inside.
    write_text(work / ("root/lib/modules/" + std::string(kVersion) + "/modules.builtin"),
               "kernel/drivers/block/xen-blkfront.ko\nkernel/drivers/net/xen-netfront.ko\n");
    for (const auto& [root, id] : std::vector<std::pair<std::string, std::string>>{
             {fmt::format("UUID={}", kRootUuid), "label-without-initrd"},
             {"LABEL=root", "label-without-initrd"},
             {"/dev/sda2", "root-device-name"},
             {"/dev/xvda2", "root-device-name"},
             {"/dev/nvme0n1p1", "root-device-name"},
             {"/dev/sdb1", "root-device-name"},
             {"/dev/xvda", "root-device-name"},
             {"/dev/mapper/vg-root", "root-device-name"},
             {"PARTUUID=11223344-02", "root-device-name"},
             {"PARTUUID=11223344-07", "root-other-filesystem"}}) {
        with(root, false);
        EXPECT_EQ(refusal(), id) << root;
    }
    // What somebody may have meant: /boot's.
    with("LABEL=boot", true);
    EXPECT_EQ(refusal(), "root-other-filesystem");
    EXPECT_EQ(std::ranges::count(notes.stages, "apply"), 0) << "something was copied";
    // What is there, and what is replaced.
    for (const auto& [root, has_initrd] :
         std::vector<std::pair<std::string, bool>>{{"/dev/xvda1", false},
                                                   {"/dev/sda1", false},
                                                   {"PARTUUID=11223344-02", true},
                                                   {"/dev/disk/by-partuuid/11223344-02", true}}) {
        with(root, has_initrd);
        const auto result = run(source, output);
        ASSERT_TRUE(result) << root << ": " << result.error().message();
        const auto wanted = has_initrd ? fmt::format("UUID={}", kRootUuid) : root;
        const TestMount mounted(output, 0);
        EXPECT_THAT(read_text(mounted.path() + "/boot/grub/menu.lst"),
                    HasSubstr(" root=" + wanted + " "))
            << root;
        fs::remove(output);
    }
}

TEST_F(Paravirtual, RefusesWhatOneFilesystemDoesNotHold) {
    make_disk();
    write_text(work / "root/boot/menu.lst", "of before /boot was a partition");
    put_disk();
    EXPECT_EQ(refusal(), "hidden-boot-files");
    fs::remove(work / "root/boot/menu.lst");
    const auto fstab = read_text(work / "root/etc/fstab");
    write_text(work / "root/etc/fstab", fstab + "PARTUUID=11223344-03 /srv ext3 noauto 0 0\n");
    put_disk();
    EXPECT_EQ(refusal(), "other-filesystem");
    // A data volume is another disk, whatever the number of its partition.
    write_text(work / "root/etc/fstab", fstab + "/dev/xvde3 /srv ext3 noauto 0 0\n");
    put_disk();
    EXPECT_TRUE(run(source, output));
    fs::remove(output);
    write_text(work / "root/etc/fstab", fstab);
    // More than the root has room for.
    write_text(work / "boot/large", std::string(10 * kMiB, 'x'));
    write_text(work / "root/large", std::string(34 * kMiB, 'x'));
    put_disk();
    EXPECT_EQ(refusal(), "filesystem-full");
}

TEST_F(Paravirtual, RefusesAFilesystemThatPvGrubCannotRead) {
    write_trees(work / "root", work / "root/boot");
    write_text(work / "root/boot/grub/grub.conf",
               fmt::format("title a\nroot (hd0)\nkernel /boot/vmlinuz-{0} root=LABEL=/\n"
                           "initrd /boot/initramfs-{0}.img\n",
                           kVersion));
    test::make_ext_image(source, work / "root", 64, "ext4", {"-O", "64bit"});
    EXPECT_EQ(refusal(), "pv-grub-cannot-read");
    fs::remove(source);
    test::make_ext_image(source, work / "root", 64, "ext4", {"-O", "^64bit,^metadata_csum"});
    const auto result = run(source, output);
    ASSERT_TRUE(result) << result.error().message();
}

}  // namespace
}  // namespace amilift::worker
