// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "modules/boot_area.hpp"
#include "modules/grub2_image.hpp"
#include "tests/agent/worker/conversion_fixture.hpp"

/// A disk with partitions, made in a file.
namespace amilift::worker::test::disk {

namespace fs = std::filesystem;

using test::get;
using test::kMiB;
using test::put;

inline constexpr const char* kRootUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11";
inline constexpr const char* kBootUuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c22";

class PartitionedDisk : public ConversionFixture {
  protected:
    void make_disk(unsigned mebibytes, const std::string& table) {
        modules::test::make_file(source, mebibytes * kMiB);
        const auto done =
            commands.run_ok({.argv = {"sfdisk", "-q", "--no-tell-kernel", source}, .input = table});
        ASSERT_TRUE(done) << done.error().message();
    }
    /// Makes a filesystem of `tree` of that size and puts it at `offset` of the disk.
    void add_ext(std::uint64_t offset, unsigned mebibytes, const std::string& tree,
                 const std::string& type, const char* uuid, const std::string& label) {
        const auto part = work / "part.img";
        fs::remove(part);
        test::make_ext_image(part, tree, mebibytes, type, {"-U", uuid, "-L", label});
        put(source, offset, read_text(part));
    }
    /// GRUB 2 in sector 0 and behind it, as on a disk with a DOS table.
    void add_grub2() {
        const auto image = modules::build_grub2_image(commands);
        ASSERT_TRUE(image) << image.error().message();
        modules::Sector old{};
        const auto bytes = get(source, 0, old.size());
        std::ranges::transform(bytes, old.begin(),
                               [](char c) { return static_cast<std::byte>(c); });
        const auto area = modules::make_grub2_boot_area(*image, old);
        ASSERT_TRUE(area) << area.error().message();
        std::string text(area->size(), '\0');
        std::ranges::transform(*area, text.begin(),
                               [](std::byte b) { return static_cast<char>(b); });
        put(source, 0, text);
    }
    /// A kernel, its initrd and what `config` says of it.
    static void write_kernel(const std::string& boot, const std::string& config) {
        write_text(boot + "/vmlinuz-6.1", test::bz_image("6.1 (builder@host) #1", 300000));
        write_text(boot + "/initrd-6.1", std::string(100000, 'i'));
        write_text(boot + "/config-6.1", config);
    }
    /// A root with its kernels apart: `boot` gets them, `root` the rest.
    void write_trees(const std::string& root, const std::string& boot) {
        write_kernel(boot, "CONFIG_XEN=y\n");
        write_text(boot + "/grub/grub.cfg",
                   fmt::format("search --no-floppy --fs-uuid --set=root {}\n"
                               "menuentry 'Linux' {{\n linux /vmlinuz-6.1 root=/dev/sda2 ro "
                               "console=tty0\n initrd /initrd-6.1\n}}\n",
                               kBootUuid));
        write_root(root);
        fs::create_directories(root + "/boot");
    }
    static void write_root(const std::string& root) {
        write_root(root, fmt::format("/dev/sda2 / ext4 errors=remount-ro 0 1\n"
                                     "UUID={} /boot ext2 defaults 0 2\n"
                                     "/dev/sda3 none swap sw 0 0\n",
                                     kBootUuid));
    }
    static void write_root(const std::string& root, const std::string& fstab) {
        write_text(root + "/sbin/init", "#!/bin/sh\n");
        write_text(root + "/etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian 12\"\n");
        write_text(root + "/etc/fstab", fstab);
        fs::create_directories(root + "/var/lib");
    }
    /// MBR: /boot (ext2), / (ext4), swap, an extended one with a logical partition of raw bytes.
    void make_usual_disk() {
        make_disk(96,
                  "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=16MiB, type=83, bootable\n"
                  "start=17MiB, size=32MiB, type=83\nstart=49MiB, size=16MiB, type=82\n"
                  "start=65MiB, size=30MiB, type=5\nstart=66MiB, size=8MiB, type=83\n");
        write_trees(work / "root", work / "boot");
        add_ext(1 * kMiB, 16, work / "boot", "ext2", kBootUuid, "boot");
        add_ext(17 * kMiB, 32, work / "root", "ext4", kRootUuid, "root");
        const auto swap = work / "swap.img";
        modules::test::make_file(swap, 16 * kMiB);
        ASSERT_TRUE(commands.run_ok({.argv = {"mkswap", swap}}));
        put(source, 49 * kMiB, read_text(swap));
        put(source, 57 * kMiB, "inside of the swap area");
        put(source, 70 * kMiB, "raw bytes of a logical partition");
        add_grub2();
    }
    core::Result<Inspection> look() { return inspect({source, ""}, commands, notes); }
    core::Result<ConversionResult> run() {
        ConversionRequest request;
        request.source.path = source;
        request.target.path = output;
        return convert(request, commands, notes, cancel);
    }
    std::string refusal() {
        const auto before = read_text(source);
        const auto result = run();
        EXPECT_FALSE(result);
        EXPECT_FALSE(fs::exists(output));
        EXPECT_TRUE(before == read_text(source)) << "source changed";
        return result ? "" : result.error().id;
    }
};

}  // namespace amilift::worker::test::disk
