// SPDX-License-Identifier: Apache-2.0
// A disk that is handed over open to an enclosed worker, which cannot find it by its name. Needs
// root.
#include <gmock/gmock.h>

#include "tests/agent/worker/partitioned_disk.hpp"
#include "worker/client.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using test::kMiB;
using test::disk::kRootUuid;
using test::disk::PartitionedDisk;
using testing::HasSubstr;

class OpenDisk : public PartitionedDisk {
  protected:
    /// It is shown no directory of the host.
    static WorkerClient client() {
        WorkerProgram worker;
        worker.argv = {fs::read_symlink("/proc/self/exe").parent_path() / "disk_worker_for_test",
                       "disk-worker"};
        return WorkerClient(worker);
    }
    /// The disk at `path`, open as the command line opens it.
    const DiskRef& hand_over(const std::string& path) {
        auto opened = core::open_file(path, O_RDONLY | O_NONBLOCK);
        EXPECT_TRUE(opened) << opened.error().message();
        held_ = *std::move(opened);
        ref_ = {.path = path, .descriptor = held_.get()};
        return ref_;
    }
    core::Result<Inspection> enclosed(const std::string& path) {
        return client().inspect({hand_over(path), false}, notes, cancel);
    }
    /// The worker tells of it what is told in this process.
    void expect_the_same(const std::string& path) {
        const auto seen = enclosed(path);
        ASSERT_TRUE(seen) << seen.error().message();
        const auto direct = inspect({.path = path}, commands, notes);
        ASSERT_TRUE(direct) << direct.error().message();
        EXPECT_EQ(encode(*seen), encode(*direct));
    }
    void expect_the_same_plan(const std::string& path, std::uint32_t size_gib) {
        ConversionRequest request;
        request.source = hand_over(path);
        request.options.size_gib = size_gib;
        const auto told = client().plan(request, notes, cancel);
        ASSERT_TRUE(told) << told.error().message();
        request.source = {.path = path};
        const auto direct = plan(request, commands, notes);
        ASSERT_TRUE(direct) << direct.error().message();
        EXPECT_EQ(encode(*told), encode(*direct));
        EXPECT_FALSE(told->steps.empty());
    }
    void expect_the_same_error(const std::string& path, const std::string& said) {
        const auto seen = enclosed(path);
        const auto direct = inspect({.path = path}, commands, notes);
        ASSERT_FALSE(seen);
        ASSERT_FALSE(direct);
        EXPECT_EQ(seen.error().code, direct.error().code);
        EXPECT_EQ(seen.error().message(), direct.error().message());
        EXPECT_EQ(seen.error().id, direct.error().id);
        EXPECT_THAT(seen.error().what, HasSubstr(said));
        EXPECT_THAT(seen.error().what, HasSubstr(path));
    }
    void let_go() { held_.reset(); }
    void make_bare() {
        test::write_pv_tree(work / "tree");
        test::make_ext_image(source, work / "tree", 48, "ext4");
    }

  private:
    core::Fd held_;
    DiskRef ref_;
};

TEST_F(OpenDisk, IsNotThereByName) {
    make_bare();
    const auto seen = client().inspect({{.path = source}, false}, notes, cancel);
    ASSERT_FALSE(seen);
    EXPECT_TRUE(seen.error().is(Errc::not_found)) << seen.error().message();
}

TEST_F(OpenDisk, WithAFilesystemIsInspectedAndPlanned) {
    make_bare();
    expect_the_same(source);
    // GRUB reads the kernel for that.
    expect_the_same_plan(source, 0);
}

TEST_F(OpenDisk, WithPartitionsIsInspectedAndPlanned) {
    make_disk(128,
              "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=64MiB, type=ef\n"
              "start=66MiB, size=48MiB, type=83, bootable\n");
    const auto tree = work / "root";
    write_root(tree);
    test::write_text(tree + "/etc/fstab", "LABEL=root / ext4 defaults 0 1\n");
    test::write_text(tree + "/boot/vmlinuz-6.1", test::bz_image("6.1 (builder@host) #1", 300000));
    test::write_text(tree + "/boot/config-6.1", "CONFIG_EFI=y\n");
    test::write_text(tree + "/boot/initrd-6.1", std::string(100000, 'i'));
    test::write_text(tree + "/boot/grub/grub.cfg",
                     fmt::format("search --no-floppy --fs-uuid --set=root {0}\n"
                                 "menuentry 'caf\xe9' {{\n linux /boot/vmlinuz-6.1 "
                                 "root=UUID={0} ro\n initrd /boot/initrd-6.1\n}}\n",
                                 kRootUuid));
    add_ext(66 * kMiB, 48, tree, "ext4", kRootUuid, "root");
    add_grub2();
    ASSERT_TRUE(commands.run_ok(
        {.argv = {"mkfs.vfat", "-F", "32", "-s", "1", "--offset", "2048", source, "65536"}}));
    expect_the_same(source);
    const auto seen = enclosed(source);
    ASSERT_TRUE(seen) << seen.error().message();
    // GRUB has read the EFI system partition: else that would be the reason.
    ASSERT_TRUE(seen->facts.efi_start.has_value());
    EXPECT_EQ(seen->facts.efi_start->id, "efi-loader-missing");
    ASSERT_EQ(seen->facts.boot_entries.size(), 1U);
    EXPECT_EQ(seen->facts.boot_entries[0].title, "caf\xe9") << "no UTF-8, and as it is";
    expect_the_same_plan(source, 1);
}

TEST_F(OpenDisk, ThatIsABlockDeviceNeedsNoNameInDev) {
    make_bare();
    auto device = dev::LoopDevice::attach(source, 0, 0, dev::Access::read_only);
    ASSERT_TRUE(device) << device.error().message();
    expect_the_same(device->path());
    const auto link = work / "link";
    fs::create_symlink(device->path(), link);
    expect_the_same(link);
    expect_the_same_plan(link, 0);
    let_go();
    EXPECT_TRUE(device->detach());
}

TEST_F(OpenDisk, IsRefusedByTheNameThatTheUserGave) {
    modules::test::make_file(source, 2 * kMiB);
    expect_the_same_error(source, "is empty");
    test::put(source, 0, std::string(4096, 'x'));
    expect_the_same_error(source, "neither a partition table nor a filesystem");
}

TEST_F(OpenDisk, ThatSomebodyMayWriteToIsLeftAlone) {
    make_bare();
    auto writer = dev::LoopDevice::attach(source, 0, 0, dev::Access::read_write);
    ASSERT_TRUE(writer) << writer.error().message();
    expect_the_same_error(source, writer->path());
    EXPECT_TRUE(writer->detach());
}

TEST_F(OpenDisk, ThatIsMountedIsLeftAlone) {
    make_bare();
    // From here on this thread has a mount namespace of its own.
    ASSERT_TRUE(inspect({.path = source}, commands, notes));
    auto device = dev::LoopDevice::attach(source, 0, 0, dev::Access::read_only);
    ASSERT_TRUE(device) << device.error().message();
    const auto link = work / "link";
    fs::create_symlink(device->path(), link);
    {
        auto mounted =
            dev::Mount::mount(device->path(), dev::Filesystem::ext4, dev::Access::read_only);
        ASSERT_TRUE(mounted) << mounted.error().message();
        expect_the_same_error(device->path(), "is mounted or otherwise in use");
        expect_the_same_error(link, "is mounted or otherwise in use");
        EXPECT_TRUE(mounted->unmount());
    }
    let_go();
    EXPECT_TRUE(device->detach());
}

}  // namespace
}  // namespace amilift::worker
