// SPDX-License-Identifier: Apache-2.0
#include "dev/block_device.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>

#include "dev/device_match.hpp"
#include "disk_fixture.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using testing::make_sparse;
using testing::open_disk;
using testing::TemporaryDirectory;

TEST(BlockDevice, OpensARegularFileAsDisk) {
    const TemporaryDirectory directory;
    const auto disk = open_disk(make_sparse(directory, "disk", 1 << 20), Access::read_write);
    EXPECT_EQ(disk.size_bytes(), 1U << 20);
    EXPECT_EQ(disk.logical_sector_bytes(), 512U);
    EXPECT_FALSE(disk.is_block_device());
    EXPECT_EQ(disk.access(), Access::read_write);
    EXPECT_TRUE(disk.flush());
    const auto serial = disk.nvme_serial();
    ASSERT_TRUE(serial);
    EXPECT_EQ(*serial, "");
}

TEST(BlockDevice, RefusesWhatIsNoDisk) {
    const TemporaryDirectory directory;
    const auto pipe = directory.file("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    for (const std::string& path : {directory.path(), pipe, std::string("/dev/null")}) {
        const auto disk = BlockDevice::open(path, Access::read_only);
        ASSERT_FALSE(disk) << path;
        EXPECT_TRUE(disk.error().is(Errc::invalid_input)) << disk.error().message();
        EXPECT_NE(disk.error().what.find(path), std::string::npos);
    }
    const auto missing = BlockDevice::open(directory.file("none"), Access::read_only);
    ASSERT_FALSE(missing);
    EXPECT_TRUE(missing.error().is(Errc::not_found));
}

TEST(BlockDevice, IsTakenOverOpenAndCalledByItsName) {
    const TemporaryDirectory directory;
    const auto path = make_sparse(directory, "disk", 8192);
    const auto owner = open_disk(path);
    const auto named = BlockDevice::duplicate(owner.fd().get(), path);
    ASSERT_TRUE(named) << named.error().message();
    EXPECT_TRUE(named->is_at_path());
    EXPECT_EQ(named->size_bytes(), 8192U);
    EXPECT_NE(named->fd().get(), owner.fd().get());
    EXPECT_EQ(named->access(), Access::read_only);

    // Not there, there as something else, or something else by now.
    const auto other = make_sparse(directory, "other", 4096);
    for (const auto& name : {std::string("disk"), other, directory.path()}) {
        const auto disk = BlockDevice::duplicate(owner.fd().get(), name);
        ASSERT_TRUE(disk) << disk.error().message();
        EXPECT_FALSE(disk->is_at_path()) << name;
        EXPECT_EQ(disk->path(), name);
        EXPECT_EQ(disk->size_bytes(), 8192U);
        EXPECT_TRUE(disk->reopen(O_RDONLY));
    }
}

TEST(BlockDevice, TakesOverNothingButDisks) {
    const TemporaryDirectory directory;
    const core::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const auto device = BlockDevice::duplicate(null.get(), "x.img");
    ASSERT_FALSE(device);
    EXPECT_TRUE(device.error().is(Errc::invalid_input));
    EXPECT_NE(device.error().what.find("'x.img'"), std::string::npos) << device.error().what;
    const auto closed = BlockDevice::duplicate(-1, "x.img");
    ASSERT_FALSE(closed);
    EXPECT_EQ(closed.error().sys_errno, EBADF);
}

TEST(BlockDevice, IsNoVolumeWithoutASerial) {
    const TemporaryDirectory directory;
    const auto disk = open_disk(make_sparse(directory, "disk", 4096));
    const auto same = disk.require_volume("vol-0123456789abcdef0", "/dev/sdf");
    ASSERT_FALSE(same);
    EXPECT_TRUE(same.error().is(Errc::conflict));
    EXPECT_NE(same.error().what.find("vol-0123456789abcdef0"), std::string::npos);
}

TEST(BlockDevice, ReopensTheSameFileAfterARename) {
    const TemporaryDirectory directory;
    const auto path = make_sparse(directory, "disk", 8192);
    const auto disk = open_disk(path);
    std::filesystem::rename(path, directory.file("other"));
    make_sparse(directory, "disk", 512);
    const auto again = disk.reopen(O_RDONLY);
    ASSERT_TRUE(again) << again.error().message();
    struct stat st{};
    ASSERT_EQ(::fstat(again->get(), &st), 0);
    EXPECT_EQ(st.st_size, 8192);
}

/// A sysfs of our own: dev/block/<major>:<minor> links to the device's directory.
class FakeSysfs : public ::testing::Test {
  protected:
    void add(const std::string& number, const std::string& device, const std::string& serial) {
        namespace fs = std::filesystem;
        const fs::path node = fs::path(directory_.path()) / "devices" / device;
        fs::create_directories(node);
        fs::create_directories(fs::path(directory_.path()) / "dev/block");
        fs::create_symlink(node, fs::path(directory_.path()) / "dev/block" / number);
        if (!serial.empty()) {
            fs::create_directories(node / "device");
            std::ofstream(node / "device/serial") << serial;
        }
    }
    TemporaryDirectory directory_;
};

TEST_F(FakeSysfs, GivesTheSerialWithoutPadding) {
    add("259:1", "nvme1n1", "vol0123456789abcdef0  \n");
    const auto serial = read_nvme_serial(directory_.path(), 259, 1);
    ASSERT_TRUE(serial) << serial.error().message();
    EXPECT_EQ(*serial, "vol0123456789abcdef0");
}

TEST_F(FakeSysfs, GivesThePartitionsDisk) {
    add("259:1", "nvme1n1", "vol0123456789abcdef0\n");
    add("259:2", "nvme1n1/nvme1n1p1", "");
    std::ofstream(directory_.file("devices/nvme1n1/nvme1n1p1/partition")) << "1\n";
    const auto serial = read_nvme_serial(directory_.path(), 259, 2);
    ASSERT_TRUE(serial) << serial.error().message();
    EXPECT_EQ(*serial, "vol0123456789abcdef0");
}

/// What the worker asks of the descriptor's number: the same as the agent of udev.
TEST_F(FakeSysfs, TellsWhichVolumeADeviceIs) {
    add("259:1", "nvme1n1", "vol0123456789abcdef0\n");
    add("259:2", "nvme1n1/nvme1n1p1", "");
    std::ofstream(directory_.file("devices/nvme1n1/nvme1n1p1/partition")) << "1\n";
    add("202:80", "xvdf", "");
    add("202:81", "xvdf/xvdf1", "");
    std::ofstream(directory_.file("devices/xvdf/xvdf1/partition")) << "1\n";
    add("7:0", "loop0", "");
    const auto is = [&](unsigned major, unsigned minor, const std::string& requested) {
        const auto facts = read_device_facts(directory_.path(), major, minor);
        EXPECT_TRUE(facts) << facts.error().message();
        return facts && is_device_of_volume(*facts, "vol-0123456789abcdef0", requested);
    };
    EXPECT_TRUE(is(259, 1, "/dev/sdf"));
    EXPECT_FALSE(is(259, 2, "/dev/sdf")) << "a partition";
    EXPECT_TRUE(is(202, 80, "/dev/sdf"));
    EXPECT_FALSE(is(202, 80, "/dev/sdg"));
    EXPECT_FALSE(is(202, 80, "")) << "nobody asked for a name";
    EXPECT_FALSE(is(202, 81, "/dev/sdf1")) << "a partition";
    EXPECT_FALSE(is(7, 0, "/dev/sdf"));
    EXPECT_FALSE(read_device_facts(directory_.path(), 202, 96));
}

TEST_F(FakeSysfs, GivesNothingForOtherDisksAndFailsForMissingOnes) {
    add("202:80", "xvdf", "");
    const auto serial = read_nvme_serial(directory_.path(), 202, 80);
    ASSERT_TRUE(serial) << serial.error().message();
    EXPECT_EQ(*serial, "");
    const auto missing = read_nvme_serial(directory_.path(), 202, 81);
    ASSERT_FALSE(missing);
    EXPECT_TRUE(missing.error().is(Errc::not_found));
}

}  // namespace
}  // namespace amilift::dev
