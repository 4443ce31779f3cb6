// SPDX-License-Identifier: Apache-2.0
#include "image/drivers.hpp"

#include <gtest/gtest.h>

#include "image/initramfs_reader.hpp"
#include "image/kernel.hpp"
#include "initramfs_samples.hpp"

namespace amilift::image {
namespace {

const std::string kVersion = "6.1.0-56-amd64";
const std::string kTop = "/lib/modules/6.1.0-56-amd64/";

class Drivers : public ::testing::Test {
  protected:
    void put(std::string_view path, std::string_view text) const { image_.file(path, text); }
    void have_modules(const std::string& timeout_type = "uint") const {
        put(kTop + "kernel/nvme.ko", module_file({"version=1.0"}));
        put(kTop + "kernel/nvme-core.ko", module_file({"parmtype=io_timeout:" + timeout_type}));
        put(kTop + "kernel/ena.ko.xz", packed("xz", module_file({"version=2.8.0"})));
        put(kTop + "kernel/xen-blkfront.ko", "no ELF file");
        put(kTop + "modules.dep",
            "kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\nkernel/ena.ko.xz:\n"
            "kernel/xen-blkfront.ko:\nkernel/xen-netfront.ko:\n");
    }
    void have_initramfs(const Sample& sample) const {
        put("/boot/initrd", packed("gzip", cpio_of(sample)));
    }
    [[nodiscard]] Kernel look(std::string_view arguments = "",
                              const std::string& version = kVersion,
                              std::vector<std::string> initrds = {"/boot/initrd"}) const {
        Kernel kernel;
        kernel.version = version;
        const auto root = image_.open();
        InitramfsReader reader;
        DriverFinder finder(root, reader);
        const auto looked = finder.look(kernel, initrds, arguments);
        EXPECT_TRUE(looked.has_value()) << (looked ? "" : looked.error().message());
        return kernel;
    }
    TemporaryRoot image_;
};

TEST_F(Drivers, ModulesThatTheIndexNamesAndThatExist) {
    EXPECT_FALSE(look().ena.exists());
    have_modules();
    const auto kernel = look();
    EXPECT_EQ(kernel.nvme.place, kTop + "kernel/nvme.ko");
    EXPECT_EQ(kernel.nvme.version, "1.0");
    EXPECT_EQ(kernel.ena.place, kTop + "kernel/ena.ko.xz");
    EXPECT_EQ(kernel.ena.version, "2.8.0");
    EXPECT_EQ(kernel.xen_blkfront.place, kTop + "kernel/xen-blkfront.ko");
    EXPECT_EQ(kernel.xen_blkfront.version, "");
    // The index names it, the file is not there.
    EXPECT_FALSE(kernel.xen_netfront.exists());
}

TEST_F(Drivers, BuiltInOnesAreThereForRoot) {
    put(kTop + "modules.builtin", "kernel/nvme-core.ko\nkernel/nvme.ko\n");
    put("/etc/modprobe.d/x.conf", "blacklist nvme\n");
    const auto kernel = look("", kVersion, {});
    EXPECT_TRUE(kernel.nvme.is_built_in());
    EXPECT_TRUE(kernel.nvme.is_there_for_root());
    EXPECT_EQ(kernel.nvme.blocked_by, "");
    EXPECT_FALSE(kernel.ena.exists());
}

TEST_F(Drivers, InTheInitramfsWithAllThatItNeeds) {
    have_modules();
    const std::string top = kTop.substr(1);
    Sample sample{{top + "kernel/nvme.ko", "x"}};
    have_initramfs(sample);
    EXPECT_FALSE(look().nvme.in_initramfs);
    sample[top + "kernel/nvme-core.ko"] = "x";
    have_initramfs(sample);
    // modprobe finds nothing without an index.
    EXPECT_FALSE(look().nvme.in_initramfs);
    // It finds no file whose name ends otherwise.
    sample[top + "modules.dep"] =
        "kernel/nvme.ko: kernel/nvme-core.ko.xz\nkernel/nvme-core.ko.xz:\n";
    have_initramfs(sample);
    EXPECT_FALSE(look().nvme.in_initramfs);
    sample[top + "modules.dep"] = "kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\n";
    have_initramfs(sample);
    const auto kernel = look();
    EXPECT_TRUE(kernel.nvme.in_initramfs);
    EXPECT_TRUE(kernel.nvme.is_there_for_root());
    EXPECT_FALSE(kernel.ena.in_initramfs);
    EXPECT_EQ(kernel.initramfs.path, "/boot/initrd");
    EXPECT_EQ(kernel.initramfs.problem, "");
    // Modules of another kernel do not count.
    EXPECT_FALSE(look("", "6.1.0").nvme.in_initramfs);
}

TEST_F(Drivers, F40_NashHasModulesAtTheTopAndNoIndex) {
    have_modules();
    have_initramfs({{"init", "#!/bin/nash\n"}, {"lib/nvme.ko", "x"}, {"lib/nvme-core.ko", "x"}});
    EXPECT_TRUE(look().nvme.in_initramfs);
    EXPECT_EQ(look().initramfs.builder, InitramfsBuilder::mkinitrd_nash);
}

TEST_F(Drivers, F40_FollowsALinkToTheInitramfsAndSaysWhatIsWrongWithIt) {
    have_modules();
    image_.link("/boot/initrd", "real-initrd");
    put("/boot/real-initrd", packed("gzip", cpio_of({{"init", "x"}})).substr(0, 60));
    EXPECT_NE(look().initramfs.problem, "");
    EXPECT_FALSE(look().nvme.in_initramfs);
    std::filesystem::remove(image_.on_host("/boot/real-initrd"));
    EXPECT_NE(look().initramfs.problem, "");
}

TEST_F(Drivers, TwoFilesAreOneInitramfs) {
    have_modules();
    put("/boot/microcode", cpio_of({{"kernel/x86/microcode/x", "x"}}));
    const std::string top = kTop.substr(1);
    have_initramfs({{top + "kernel/ena.ko.xz", "x"}, {top + "modules.dep", "kernel/ena.ko.xz:\n"}});
    EXPECT_TRUE(look("", kVersion, {"/boot/microcode", "/boot/initrd"}).ena.in_initramfs);
}

TEST_F(Drivers, BlocksOfTheImageTheInitramfsAndTheCommandLine) {
    have_modules();
    have_initramfs({{"etc/modprobe.d/y.conf", "\nblacklist xen_blkfront\n"}});
    put("/etc/modprobe.d/no-ena.conf", "install ena /bin/true\n");
    const auto kernel = look("ro rd.driver.blacklist=nvme");
    EXPECT_EQ(kernel.ena.blocked_by, "/etc/modprobe.d/no-ena.conf:1");
    EXPECT_EQ(kernel.xen_blkfront.blocked_by, "/boot/initrd:/etc/modprobe.d/y.conf:2");
    EXPECT_EQ(kernel.nvme.blocked_by, "kernel argument rd.driver.blacklist=nvme");
    EXPECT_TRUE(kernel.nvme.exists());
    EXPECT_FALSE(kernel.nvme.is_there_for_root());
}

TEST_F(Drivers, AVersionNamesOneDirectoryOnly) {
    have_modules();
    for (const auto* version : {"", "..", "../../etc", "a/b"}) {
        EXPECT_FALSE(look("", version).ena.exists()) << version;
    }
}

TEST_F(Drivers, NvmeTimeoutByTheModulesOwnWord) {
    EXPECT_FALSE(look().nvme_timeout.has_value());
    have_modules("byte");
    EXPECT_EQ(look().nvme_timeout->parameter, "nvme_core.io_timeout");
    EXPECT_EQ(look().nvme_timeout->largest, 255U);
    have_modules("uint");
    EXPECT_EQ(look().nvme_timeout->largest, 4294967295U);
    // Before the driver was cut in two.
    put(kTop + "modules.dep", "kernel/nvme.ko:\n");
    put(kTop + "kernel/nvme.ko", module_file({"parmtype=io_timeout:byte"}));
    EXPECT_EQ(look().nvme_timeout->parameter, "nvme.io_timeout");
    EXPECT_EQ(look().nvme_timeout->largest, 255U);
    put(kTop + "kernel/nvme.ko", module_file({"version=0.9"}));
    EXPECT_FALSE(look().nvme_timeout.has_value());
}

TEST_F(Drivers, NvmeTimeoutOfBuiltInDrivers) {
    const auto timeout_of = [this](const std::string& version) {
        put("/lib/modules/" + version + "/modules.builtin", "kernel/nvme.ko\n");
        return look("", version, {}).nvme_timeout;
    };
    EXPECT_EQ(timeout_of("4.14.9-aws")->largest, 255U);
    EXPECT_EQ(timeout_of("4.14.9-aws")->parameter, "nvme.io_timeout");
    EXPECT_EQ(timeout_of("4.15.0")->largest, 4294967295U);
    EXPECT_FALSE(timeout_of("3.10.0").has_value());
    put(kTop + "modules.builtin", "kernel/nvme-core.ko\nkernel/nvme.ko\n");
    put(kTop + "modules.builtin.modinfo", std::string("nvme_core.parmtype=io_timeout:byte\0", 35));
    EXPECT_EQ(look("", kVersion, {}).nvme_timeout->parameter, "nvme_core.io_timeout");
    EXPECT_EQ(look("", kVersion, {}).nvme_timeout->largest, 255U);
}

}  // namespace
}  // namespace amilift::image
