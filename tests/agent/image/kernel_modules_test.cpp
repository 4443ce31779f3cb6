// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_modules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "initramfs_samples.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(KernelModules, NamesOfModules) {
    EXPECT_EQ(module_name("kernel/drivers/nvme/host/nvme-core.ko"), "nvme_core");
    EXPECT_EQ(module_name("a/ena.ko.xz"), "ena");
    EXPECT_EQ(module_name("a/ena.ko.zst"), "ena");
    EXPECT_EQ(module_name("ena.ko.gz"), "ena");
    EXPECT_EQ(module_name("a/modules.dep"), "");
    EXPECT_EQ(module_name(""), "");
}

TEST(KernelModules, DependenciesOfNewAndOldIndexes) {
    for (const std::string top : {"", "/lib/modules/2.6.18/"}) {
        ModuleIndex index;
        parse_modules_dep(top + "kernel/nvme.ko: " + top + "kernel/nvme-core.ko " + top +
                              "kernel/t10-pi.ko\n" + top + "kernel/nvme-core.ko: " + top +
                              "kernel/t10-pi.ko\n" + top + "kernel/t10-pi.ko:\n",
                          "/lib/modules/2.6.18", index);
        EXPECT_THAT(with_dependencies(index, "nvme"), ElementsAre("t10_pi", "nvme_core", "nvme"));
        EXPECT_EQ(index.modules.at("nvme").file, "kernel/nvme.ko");
        EXPECT_THAT(with_dependencies(index, "ena"), IsEmpty());
    }
}

TEST(KernelModules, FilesOfElsewhereAreNoModulesOfThisKernel) {
    ModuleIndex index;
    parse_modules_dep(
        "/etc/evil.ko:\n/lib/modules/6.1.0-evil/e.ko:\nkernel/../../../etc/f.ko:\n:\nx\n",
        "/lib/modules/6.1.0", index);
    EXPECT_THAT(index.modules, IsEmpty());
}

TEST(KernelModules, CirclesEnd) {
    ModuleIndex index;
    parse_modules_dep("a.ko: b.ko\nb.ko: a.ko\n", "/lib/modules/1", index);
    EXPECT_THAT(with_dependencies(index, "a"), ElementsAre("b", "a"));
}

TEST(KernelModules, EndlessListsOfDependenciesAreCut) {
    std::string text = "a.ko:";
    for (int i = 0; i < 100000; ++i) text += " m" + std::to_string(i) + ".ko";
    for (int i = 0; i < 100000; ++i) text += "\nm" + std::to_string(i) + ".ko:";
    ModuleIndex index;
    parse_modules_dep(text, "/lib/modules/1", index);
    EXPECT_EQ(with_dependencies(index, "a").size(), 200U);
}

TEST(KernelModules, SoftDependenciesAndBuiltInOnes) {
    ModuleIndex index;
    parse_modules_dep("ena.ko: lib.ko\nsoft.ko:\nlib.ko:\n", "/lib/modules/1", index);
    parse_modules_builtin("kernel/lib/lib.ko\n", index);
    parse_modules_softdep("softdep ena pre: soft crc32c post: other\n# softdep ena pre: x\n",
                          index);
    EXPECT_THAT(with_dependencies(index, "ena"), ElementsAre("soft", "ena"));
}

TEST(KernelModules, FieldsOfModinfo) {
    const std::vector<std::string> texts{"version=2.8.0", "parmtype=io_timeout:uint", "odd"};
    const auto expected =
        ElementsAre(Pair("version", "2.8.0"), Pair("parmtype", "io_timeout:uint"));
    EXPECT_THAT(parse_modinfo(module_file(texts)).value(), expected);
    EXPECT_THAT((parse_modinfo(module_file<Elf32_Ehdr, Elf32_Shdr>(texts)).value()), expected);
    EXPECT_FALSE(parse_modinfo("").has_value());
    EXPECT_FALSE(parse_modinfo("\x7f"
                               "ELF")
                     .has_value());
}

TEST(KernelModules, DamagedModulesDoNotCrash) {
    const auto good = module_file({"version=1", "parmtype=io_timeout:byte"});
    for (std::size_t size = 0; size < good.size(); ++size) {
        EXPECT_FALSE(parse_modinfo(std::string_view(good).substr(0, size)).has_value()) << size;
    }
    for (std::size_t at = 0; at < good.size(); ++at) {
        for (const int value : {0, 1, 0x7f, 0xff}) {
            auto damaged = good;
            damaged[at] = static_cast<char>(value);
            (void)parse_modinfo(damaged);
        }
    }
}

TEST(KernelModules, ReadsPackedModules) {
    const TemporaryRoot image;
    const auto good = module_file({"version=3"});
    image.file("/a.ko", good);
    image.file("/a.ko.xz", packed("xz", good));
    image.file("/a.ko.gz", packed("gzip", good));
    image.file("/a.ko.zst", packed("zstd", good));
    image.file("/b.ko.zst", packed("gzip", good));
    const auto root = image.open();
    for (const std::string path : {"/a.ko", "/a.ko.xz", "/a.ko.gz", "/a.ko.zst"}) {
        EXPECT_THAT(read_modinfo(root, path).value().value(), ElementsAre(Pair("version", "3")));
    }
    EXPECT_FALSE(read_modinfo(root, "/b.ko.zst").value().has_value());
    EXPECT_FALSE(read_modinfo(root, "/missing.ko").value().has_value());
}

TEST(KernelModules, FieldsOfBuiltInModules) {
    const std::string text(
        "nvme_core.parmtype=io_timeout:uint\0nvme.author=x\0nvme_core.version=1\0", 70);
    EXPECT_THAT(parse_builtin_modinfo(text, "nvme_core"),
                ElementsAre(Pair("parmtype", "io_timeout:uint"), Pair("version", "1")));
    EXPECT_THAT(parse_builtin_modinfo(text, "ena"), IsEmpty());
}

TEST(ModuleRules, BlacklistAndInstall) {
    ModuleRules rules;
    rules.add_settings(
        "alias eth0 xennet\nalias scsi_hostadapter xenblk\nblacklist nvme\n"
        "install ena /bin/true\ninstall xen-blkfront /sbin/modprobe --ignore-install xen-blkfront\n"
        "# blacklist xen_netfront\noptions xen_netfront x=1\n",
        "/etc/modprobe.conf");
    EXPECT_EQ(rules.block_of("nvme", {}), "/etc/modprobe.conf:3");
    EXPECT_EQ(rules.block_of("ena", {}), "/etc/modprobe.conf:4");
    EXPECT_EQ(rules.block_of("xen_blkfront", {}), "");
    EXPECT_EQ(rules.block_of("xen_netfront", {}), "");
    // A blacklisted module is loaded as a dependency, a replaced one is not.
    EXPECT_EQ(rules.block_of("other", {"nvme"}), "");
    EXPECT_EQ(rules.block_of("other", {"ena"}), "/etc/modprobe.conf:4");
}

TEST(ModuleRules, DashesAreUnderscores) {
    ModuleRules rules;
    rules.add_settings("blacklist xen-blkfront\nblacklist nvme_core", "x");
    EXPECT_EQ(rules.block_of("xen_blkfront", {}), "x:1");
    EXPECT_EQ(rules.block_of("nvme_core", {}), "x:2");
}

TEST(ModuleRules, CommandLine) {
    ModuleRules rules;
    rules.add_command_line(
        "ro modprobe.blacklist=ena,xen-blkfront rd.driver.blacklist=nvme module_blacklist=crc "
        "quiet");
    EXPECT_EQ(rules.block_of("ena", {}), "kernel argument modprobe.blacklist=ena,xen-blkfront");
    EXPECT_NE(rules.block_of("xen_blkfront", {}), "");
    EXPECT_NE(rules.block_of("nvme", {}), "");
    EXPECT_NE(rules.block_of("xfs", {"crc"}), "");
    EXPECT_EQ(rules.block_of("quiet", {}), "");
}

TEST(ModuleRules, FilesOfTheImage) {
    const TemporaryRoot image;
    image.file("/etc/modprobe.d/a.conf", "blacklist one\n");
    image.file("/etc/modprobe.d/a.bak", "blacklist never\n");
    image.file("/lib/modprobe.d/a.conf", "blacklist hidden\n");
    image.file("/lib/modprobe.d/b.conf", "blacklist two\n");
    image.file("/etc/modprobe.conf", "blacklist three\n");
    image.directory("/usr/lib/modprobe.d/c.conf");
    const auto rules = read_module_rules(image.open()).value();
    EXPECT_EQ(rules.block_of("one", {}), "/etc/modprobe.d/a.conf:1");
    EXPECT_EQ(rules.block_of("two", {}), "/lib/modprobe.d/b.conf:1");
    EXPECT_EQ(rules.block_of("three", {}), "/etc/modprobe.conf:1");
    EXPECT_EQ(rules.block_of("hidden", {}), "");
    EXPECT_EQ(rules.block_of("never", {}), "");
}

TEST(ModuleRules, OldSystemsHaveFilesWithoutEnding) {
    const TemporaryRoot image;
    image.file("/etc/modprobe.d/blacklist", "blacklist one\n");
    EXPECT_NE(read_module_rules(image.open()).value().block_of("one", {}), "");
}

}  // namespace
}  // namespace amilift::image
