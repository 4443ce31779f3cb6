// SPDX-License-Identifier: Apache-2.0
#include "image/readiness.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kUuid = "0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";

/// A kernel that starts everywhere, with every driver built in.
Kernel good_kernel() {
    Kernel kernel;
    kernel.path = "/boot/vmlinuz-6.1.0";
    kernel.version = "6.1.0";
    kernel.format = KernelFormat::bz_image;
    kernel.compression = "xz";
    kernel.starts_on_xen_pv = true;
    kernel.starts_on_efi = true;
    kernel.config_path = "/boot/config-6.1.0";
    kernel.initrd = "/boot/initrd-6.1.0";
    kernel.initramfs.path = "/boot/initrd-6.1.0";
    kernel.initramfs.builder = InitramfsBuilder::dracut;
    for (auto* driver : {&kernel.nvme, &kernel.ena, &kernel.xen_blkfront, &kernel.xen_netfront}) {
        driver->place = "built in";
    }
    kernel.nvme_timeout = NvmeTimeout{"nvme_core.io_timeout", 4294967295U};
    return kernel;
}

class ReadinessTest : public ::testing::Test {
  protected:
    ReadinessTest() {
        disk.has_partition_table = true;
        disk.has_efi_partition = true;
        facts.efi_start = EfiStart{"", "EFI system partition: /EFI/BOOT/BOOTX64.EFI", "it", ""};
        facts.disk.volumes.front().uuid = kUuid;
        facts.disk.volumes.front().label = "/";
        facts.menu_kind = BootMenuKind::grub_legacy;
        facts.menu_path = "/boot/grub/menu.lst";
        add_entry("first", good_kernel());
        facts.boot_entry = 0;
    }

    void add_entry(const std::string& title, const Kernel& kernel) {
        const auto where = "/boot/grub/menu.lst:" + std::to_string(facts.boot_entries.size() + 1);
        facts.boot_entries.push_back({.title = title,
                                      .where = where,
                                      .kernel = kernel.path,
                                      .initrds = {kernel.initrd},
                                      .arguments = "ro root=LABEL=/"});
        MenuEntry entry;
        entry.title = title;
        entry.kernel = kernel.path;
        facts.menu.entries.push_back(entry);
        facts.kernel_of_entry.emplace_back(facts.kernels.size());
        facts.kernels.push_back(kernel);
    }
    Kernel& kernel() { return facts.kernels.front(); }
    BootEntry& entry() { return facts.boot_entries.front(); }

    [[nodiscard]] Verdict verdict(Platform platform) const {
        return assess(facts, disk).on(platform).verdict;
    }
    [[nodiscard]] std::vector<Verdict> verdicts() const {
        std::vector<Verdict> out;
        for (const auto platform : kPlatforms) out.push_back(verdict(platform));
        return out;
    }
    /// Ids of what is wrong on a platform, remarks left out.
    [[nodiscard]] std::vector<std::string> ids(Platform platform) const {
        std::vector<std::string> out;
        const auto readiness = assess(facts, disk);
        for (const auto& reason : readiness.on(platform).reasons) {
            if (reason.verdict != Verdict::ready) out.push_back(reason.id);
        }
        return out;
    }

    ImageFacts facts;
    DiskForm disk;
};

constexpr auto kReady = Verdict::ready;
constexpr auto kRepairable = Verdict::repairable;
constexpr auto kRefused = Verdict::refused;

TEST_F(ReadinessTest, IsReadyEverywhereWhenNothingIsMissing) {
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kReady));
}

TEST_F(ReadinessTest, NeedsADiskWithABootLoader) {
    disk = {};
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRepairable, kRepairable, kRepairable));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-boot-loader"));
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("no-efi-partition"));
    disk.has_partition_table = true;
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kRefused));
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("no-efi-partition"));
}

TEST_F(ReadinessTest, IsReadyForUefiOnlyIfTheWayToTheMenuIsProven) {
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kReady));
    facts.efi_start = EfiStart{"efi-loader-missing", "EFI system partition: /x", "no file", "make"};
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kRefused));
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("efi-loader-missing"));
    EXPECT_THAT(ids(Platform::nitro), IsEmpty());
    facts.efi_start.reset();
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kRefused));
}

TEST_F(ReadinessTest, NeedsNvmeAtTheRootMount) {
    kernel().nvme.place = "/lib/modules/6.1.0/kernel/nvme.ko";
    kernel().nvme.in_initramfs = true;
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    kernel().nvme.in_initramfs = false;
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRepairable, kRepairable));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("nvme-not-in-initramfs"));
    kernel().nvme.place = "";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-nvme-driver"));
}

/// CONFIG_INITRAMFS_SOURCE: the driver may be in there, and nothing can be appended.
TEST_F(ReadinessTest, LeavesTheDriverToAnInitramfsInTheKernel) {
    kernel().nvme.place = "/lib/modules/6.1.0/kernel/nvme.ko";
    kernel().initrd = kernel().initramfs.path = "";
    entry().arguments = "root=/dev/nvme0n1p1";
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("initramfs-not-repairable"));
    kernel().has_initramfs_inside = true;
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    EXPECT_THAT(assess(facts, disk).on(Platform::nitro).reasons,
                testing::Contains(testing::Field(&Reason::id, "nvme-not-in-initramfs")));
    // A file besides it is what the driver is looked for in, and appended to.
    kernel().initrd = kernel().initramfs.path = "/boot/initrd-6.1.0";
    EXPECT_EQ(verdict(Platform::nitro), kRepairable);
    kernel().nvme.place = "";
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-nvme-driver"));
}

TEST_F(ReadinessTest, SaysWhyAnInitramfsCannotBeRepaired) {
    kernel().nvme.place = "/lib/modules/6.1.0/kernel/nvme.ko";
    const auto why = [this] {
        const auto readiness = assess(facts, disk);
        const auto& worst = readiness.on(Platform::nitro).reasons.front();
        EXPECT_EQ(worst.id, "initramfs-not-repairable");
        EXPECT_EQ(worst.verdict, Verdict::refused);
        return worst.seen;
    };
    kernel().initramfs.obstacle = "ends with something odd";
    EXPECT_THAT(why(), HasSubstr("initrd-6.1.0 ends with something odd"));
    kernel().initramfs.problem = "cut off";
    EXPECT_THAT(why(), HasSubstr("cut off"));
    kernel().initramfs = {};
    kernel().initrd = "";
    entry().arguments = "ro";
    EXPECT_THAT(why(), HasSubstr("no initramfs"));
}

TEST_F(ReadinessTest, TellsWhatKeepsADriverFromLoading) {
    for (auto* driver : {&kernel().nvme, &kernel().ena}) {
        *driver = {"/lib/modules/6.1.0/kernel/x.ko", true, "/etc/modprobe.d/x.conf:3", ""};
    }
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-nvme-driver", "no-ena-driver"));
    const auto readiness = assess(facts, disk);
    EXPECT_EQ(readiness.on(Platform::nitro).reasons.front().where, "/etc/modprobe.d/x.conf:3");
    kernel().nvme.place = "built in";  // nothing keeps it from loading
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-ena-driver"));
}

TEST_F(ReadinessTest, NeedsTheXenDiskOnXenOnly) {
    kernel().xen_blkfront.place = "";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRefused, kReady, kReady));
    EXPECT_THAT(ids(Platform::xen), ElementsAre("no-xen-blkfront-driver"));
}

TEST_F(ReadinessTest, NeedsTheXenNetworkOnXen) {
    kernel().xen_netfront.place = "";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kReady, kReady));
    EXPECT_THAT(ids(Platform::xen), ElementsAre("no-xen-netfront-driver"));
}

TEST_F(ReadinessTest, IsNotReadyForNitroWithoutTheTimeOut) {
    for (const char* id : {"nvme-timeout-missing", "nvme-timeout-out-of-range"}) {
        facts.findings = {{Severity::info, id, "/boot/grub/menu.lst:1", "a", "b", "c"}};
        EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRepairable, kRepairable));
        EXPECT_THAT(ids(Platform::nitro), ElementsAre(id));
    }
}

TEST_F(ReadinessTest, NeedsANetworkOnNitro) {
    kernel().ena.place = "/lib/modules/6.1.0/kernel/ena.ko";  // loaded from the root filesystem
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    kernel().ena = {};
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("no-ena-driver"));
    EXPECT_EQ(verdict(Platform::xen), kReady);
}

TEST_F(ReadinessTest, RemarksAnOldNetworkDriver) {
    const auto remarks = [this](const std::string& version) {
        kernel().ena.version = version;
        const auto readiness = assess(facts, disk);
        return std::ranges::count(readiness.on(Platform::nitro).reasons, "old-ena-driver",
                                  &Reason::id);
    };
    EXPECT_EQ(remarks("1.1.3"), 1);
    EXPECT_EQ(remarks("0.6.6g"), 1);
    EXPECT_EQ(remarks("1.2.0k"), 0);
    EXPECT_EQ(remarks("2.1.0K"), 0);
    EXPECT_EQ(remarks("10.0"), 0);
    EXPECT_EQ(remarks(""), 0);
    EXPECT_EQ(verdict(Platform::nitro), kReady);
}

TEST_F(ReadinessTest, TakesXenOnlyKernelsForPvOnly) {
    kernel().format = KernelFormat::gzip;
    kernel().cannot_boot_hvm = "gzip data";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::xen), ElementsAre("xen-only-kernel"));
    // As inspect_image() has it: no entry boots on HVM.
    facts.boot_entry.reset();
    facts.findings.push_back(
        {Severity::refusal, "xen-only-kernel", "/boot/grub/menu.lst", "no entry", "", ""});
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("xen-only-kernel"));
}

TEST_F(ReadinessTest, NeedsTheInitrdThatAnEntryNames) {
    kernel().initramfs = {};
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("initrd-missing"));
    EXPECT_FALSE(assess(facts, disk).entries.front().knows_drivers);
}

TEST_F(ReadinessTest, KnowsWhatPvGrubUnpacks) {
    for (const std::string packed : {"gzip", "bzip2", "lzo", "xz", ""}) {
        kernel().compression = packed;
        EXPECT_EQ(verdict(Platform::pv), kReady) << packed;
    }
    for (const std::string packed : {"lz4", "zstd", "lzma"}) {
        kernel().compression = packed;
        EXPECT_THAT(ids(Platform::pv), ElementsAre("pv-grub-cannot-unpack"));
    }
    EXPECT_EQ(verdict(Platform::xen), kReady);
}

TEST_F(ReadinessTest, NeedsXenPvInTheKernel) {
    kernel().starts_on_xen_pv = false;
    EXPECT_THAT(ids(Platform::pv), ElementsAre("no-xen-pv"));
    kernel().starts_on_xen_pv.reset();
    EXPECT_EQ(verdict(Platform::pv), kReady);
}

TEST_F(ReadinessTest, NeedsAMenuForPvGrub) {
    facts.menu_kind = BootMenuKind::grub2;
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kReady, kReady, kReady));
    EXPECT_THAT(ids(Platform::pv), ElementsAre("no-menu"));
    facts.menu_kind = BootMenuKind::grub_legacy;
    facts.menu.entries.clear();
    EXPECT_THAT(ids(Platform::pv), ElementsAre("no-bootable-entry"));
}

TEST_F(ReadinessTest, JudgesWhatPvGrubWouldStartAndNotWhatHvmStarts) {
    add_entry("second", good_kernel());
    kernel().compression = "lz4";
    facts.boot_entry = 1;
    EXPECT_THAT(ids(Platform::pv), ElementsAre("pv-grub-cannot-unpack"));
    facts.menu.default_entry = 1;
    EXPECT_EQ(verdict(Platform::pv), kReady);
    facts.kernel_of_entry[1].reset();
    EXPECT_THAT(ids(Platform::pv), ElementsAre("kernel-missing"));
}

TEST_F(ReadinessTest, NeedsEfiInTheKernelForUefi) {
    kernel().starts_on_efi = false;
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kRefused));
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("kernel-without-efi"));
    kernel().starts_on_efi.reset();
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("kernel-without-efi"));
}

TEST_F(ReadinessTest, Needs64BitsOnNitro) {
    kernel().is_64_bit = false;
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("not-64-bit"));
}

TEST_F(ReadinessTest, FindsTheRoot) {
    entry().arguments = "root=/dev/xvda1 ro";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRepairable, kRepairable));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("root-device-name"));
    kernel().initrd = "";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRefused, kRefused));
    entry().arguments = "root=/dev/nvme0n1p1";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kReady, kReady));
    entry().arguments = "root=LABEL=/";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::pv), ElementsAre("label-without-initrd"));
    // The kernel itself finds a partition by its UUID.
    facts.disk.volumes.front().partition = 1;
    facts.disk.volumes.front().partition_uuid = "12345678-01";
    entry().arguments = "root=PARTUUID=12345678-01";
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    entry().arguments = "root=PARTUUID=12345678-02";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::xen), ElementsAre("root-other-filesystem"));
}

/// Nothing but the kernel looks for it, and the name is the one that its driver gives.
TEST_F(ReadinessTest, FindsADeviceWithoutInitrdByItsNameOnly) {
    kernel().initrd = "";
    const auto on_xen = [&](const std::string& root) {
        entry().arguments = "ro root=" + root;
        return verdict(Platform::xen);
    };
    EXPECT_EQ(on_xen("/dev/xvda1"), kReady);
    for (const char* root : {"/dev/sda1", "/dev/hda1", "/dev/vda1", "/dev/xvda", "/dev/xvda2",
                             "/dev/xvdb1", "/dev/xvde1", "/dev/nvme0n1p1"}) {
        EXPECT_EQ(on_xen(root), kRefused) << root;
        EXPECT_THAT(ids(Platform::xen), ElementsAre("root-device-name")) << root;
    }
    EXPECT_EQ(on_xen("/dev/md0"), kReady);
    facts.disk.volumes.front().partition = 2;
    EXPECT_EQ(on_xen("/dev/xvda2"), kReady);
    EXPECT_EQ(on_xen("/dev/xvda1"), kRefused);
    entry().arguments = "root=/dev/nvme0n1p2";
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    entry().arguments = "root=/dev/nvme0n1p1";
    EXPECT_EQ(verdict(Platform::nitro), kRefused);
    // Linux 2.6.32 of RHEL 6 calls /dev/sda1 of an AMI so, and /dev/xvda by its name.
    facts.os_id = "centos";
    facts.os_version = "6.10";
    EXPECT_EQ(on_xen("/dev/xvde2"), kReady);
    EXPECT_EQ(on_xen("/dev/xvda2"), kReady);
    EXPECT_EQ(on_xen("/dev/xvde1"), kRefused);
    EXPECT_EQ(on_xen("/dev/sda2"), kRefused);
    kernel().xen_blkfront = {};
    EXPECT_EQ(on_xen("/dev/sda2"), kRefused);
    EXPECT_THAT(ids(Platform::xen), ElementsAre("no-xen-blkfront-driver"));
}

/// CONFIG_INITRAMFS_SOURCE: what is in there is not looked at.
TEST_F(ReadinessTest, LeavesTheRootToAnInitramfsInTheKernel) {
    kernel().initrd = "";
    kernel().has_initramfs_inside = true;
    for (const std::string_view root :
         {"LABEL=/", "UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11", "/dev/disk/by-label/\\x2f"}) {
        entry().arguments = fmt::format("ro root={}", root);
        EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kReady)) << root;
        const auto readiness = assess(facts, disk);
        EXPECT_THAT(readiness.on(Platform::nitro).reasons,
                    testing::Contains(testing::Field(&Reason::id, "label-without-initrd")));
    }
    entry().arguments = "ro root=LABEL=gone";
    EXPECT_THAT(ids(Platform::xen), ElementsAre("root-other-filesystem"));
    entry().arguments = "ro root=/dev/sda1";
    EXPECT_THAT(ids(Platform::xen), ElementsAre("root-device-name"));
}

TEST_F(ReadinessTest, SeesARootThatIsAnother) {
    for (const std::string_view root : {"LABEL=gone", "UUID=11111111-2222-3333-4444-555555555555",
                                        "/dev/disk/by-label/gone", "PARTUUID=12345678-01"}) {
        entry().arguments = fmt::format("root={} ro", root);
        EXPECT_THAT(verdicts(), ElementsAre(kRepairable, kRepairable, kRepairable, kRepairable))
            << root;
        EXPECT_THAT(ids(Platform::pv), ElementsAre("root-other-filesystem"));
    }
    // What somebody may have meant is not guessed at.
    facts.disk.volumes.push_back(
        {.partition = 2, .mount_point = {}, .uuid = "22-33", .label = "gone"});
    entry().arguments = "root=LABEL=gone ro";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    facts.disk.volumes.pop_back();
    facts.disk.volumes.front().uuid = "";
    facts.disk.volumes.front().label = "a b";
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
}

TEST_F(ReadinessTest, ReadsFstabForDevicesThatWillNotBeThere) {
    facts.fstab_text =
        "LABEL=/ / ext4 defaults 1 1\n"
        "/dev/xvdb /mnt auto defaults,nofail 0 2\n"
        "/dev/xvdc /c ext4 noauto 0 0\n"
        "tmpfs /tmp tmpfs defaults 0 0\n";
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    facts.fstab_text += "/dev/xvdd /d ext4 defaults 0 0\n";
    const auto readiness = assess(facts, disk);
    EXPECT_EQ(readiness.on(Platform::xen).verdict, kReady);
    ASSERT_EQ(readiness.on(Platform::nitro).verdict, kRepairable);
    EXPECT_EQ(readiness.on(Platform::nitro).reasons.front().where, "/etc/fstab:5");
    facts.init = InitSystem::sysvinit;
    EXPECT_EQ(verdict(Platform::nitro), kReady);
    facts.fstab_text += "/dev/xvde /e ext4 defaults 0 2\n";
    EXPECT_EQ(verdict(Platform::nitro), kRepairable);
    // What the repair does with each.
    facts.disk.volumes.front().partition = 1;
    facts.disk.device_names = {"/dev/sda"};
    facts.disk.names = {{.partition = 1, .spec = fmt::format("UUID={}", kUuid)},
                        {.partition = 2, .spec = "UUID=22"}};
    facts.fstab_text =
        "/dev/sda1 / ext4 defaults 1 1\n/dev/sda2 /b ext4 defaults 1 2\n"
        "/dev/sda1 /c ext4 defaults 1 2\n/dev/sdb1 /d ext4 defaults 1 2\n";
    std::vector<std::string> actions;
    const auto of_each = assess(facts, disk);
    for (const auto& reason : of_each.on(Platform::nitro).reasons) {
        if (reason.id == "fstab-device-name") actions.push_back(reason.action);
    }
    const auto is_root = fmt::format("amilift names it 'UUID={}'", kUuid);
    EXPECT_THAT(actions, ElementsAre(is_root, "amilift names it 'UUID=22'", is_root,
                                     testing::StartsWith("amilift makes the entry optional")));
    facts.fstab_text = "/dev/nvme0n1p1 / ext4 defaults 1 1\n";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRepairable, kReady, kReady));
}

TEST_F(ReadinessTest, CountsRefusalsOfTheImageEverywhere) {
    facts.findings.push_back(
        {Severity::refusal, "fstab-unreadable", "/etc/fstab", "no regular file", "", ""});
    facts.findings.push_back({Severity::warning, "menus-differ", "/etc/grub.conf", "", "", ""});
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::xen), ElementsAre("fstab-unreadable"));
}

TEST_F(ReadinessTest, ADiskThatOnlyUefiStartsRunsWhereUefiDoes) {
    facts.findings.push_back({Severity::refusal, "uefi-only", "sector 0", "no boot code", "", ""});
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kReady));
    facts.boot_entry.reset();
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(ids(Platform::nitro_uefi), ElementsAre("no-bootable-entry"));
    EXPECT_THAT(ids(Platform::nitro), ElementsAre("uefi-only"));
}

TEST_F(ReadinessTest, CountsWhatAmiliftMendsAsRepairable) {
    facts.findings.push_back(
        {Severity::warning, "network-static-address", "/etc/x:3", "a", "b", "c"});
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kRepairable, kRepairable, kRepairable));
    facts.findings.front().id = "network-card-renamed";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kRepairable, kRepairable));
    facts.findings.front().id = "network-left-as-it-is";
    EXPECT_THAT(verdicts(), ElementsAre(kReady, kReady, kReady, kReady));
    const auto readiness = assess(facts, disk);
    EXPECT_EQ(std::ranges::count(readiness.on(Platform::nitro).reasons, "network-left-as-it-is",
                                 &Reason::id),
              1);
}

TEST_F(ReadinessTest, JudgesEveryEntryWithAKernel) {
    auto other = good_kernel();
    other.nvme = {};
    add_entry("second", other);
    facts.boot_entries.push_back({.title = "chain",
                                  .where = "/boot/grub/menu.lst:9",
                                  .kernel = "",
                                  .initrds = {},
                                  .arguments = ""});
    facts.kernel_of_entry.emplace_back();
    const auto readiness = assess(facts, disk);
    ASSERT_EQ(readiness.entries.size(), 2U);
    EXPECT_TRUE(readiness.entries[0].boots);
    EXPECT_FALSE(readiness.entries[1].boots);
    EXPECT_EQ(readiness.entries[1].kernel, 1U);
    constexpr auto kNitro = static_cast<std::size_t>(Platform::nitro);
    EXPECT_EQ(readiness.entries[0].platforms[kNitro].verdict, kReady);
    EXPECT_EQ(readiness.entries[1].platforms[kNitro].verdict, kRefused);
    EXPECT_EQ(readiness.on(Platform::nitro).verdict, kReady);  // the other one does not boot
}

TEST_F(ReadinessTest, PutsTheWorstReasonFirst) {
    disk = {};
    kernel().ena = {};
    const auto readiness = assess(facts, disk);
    const auto& reasons = readiness.on(Platform::nitro).reasons;
    ASSERT_GE(reasons.size(), 2U);
    EXPECT_EQ(reasons.front().verdict, kRefused);
    EXPECT_TRUE(std::ranges::is_sorted(
        reasons, [](const Reason& a, const Reason& b) { return a.verdict > b.verdict; }));
}

TEST_F(ReadinessTest, RefusesAnImageWithoutFacts) {
    facts = {};
    EXPECT_THAT(verdicts(), ElementsAre(kRefused, kRefused, kRefused, kRefused));
    EXPECT_THAT(assess(facts, disk).entries, IsEmpty());
}

TEST(Readiness, NamesPlatformsAndVerdicts) {
    EXPECT_EQ(to_string(Platform::nitro_uefi), "nitro-uefi");
    EXPECT_EQ(title_of(Platform::xen), "Xen HVM (BIOS)");
    EXPECT_EQ(to_string(Verdict::repairable), "repairable");
}

TEST_F(ReadinessTest, RepairsANetworkThatIsBoundToItsInstance) {
    facts.findings = {{Severity::warning, "network-static-address", "/f:1", "seen", "", "action"},
                      {Severity::info, "network-card-renamed", "/f:1", "seen", "", "action"},
                      {Severity::warning, "network-secondary-card", "/f:2", "seen", "", ""}};
    const auto readiness = assess(facts, disk);
    const auto ids_on = [&](Platform platform) {
        std::vector<std::string> ids;
        for (const auto& reason : readiness.platforms[static_cast<std::size_t>(platform)].reasons) {
            if (reason.verdict == Verdict::repairable) ids.push_back(reason.id);
        }
        return ids;
    };
    EXPECT_THAT(ids_on(Platform::pv), IsEmpty());
    EXPECT_THAT(ids_on(Platform::xen), ElementsAre("network-static-address"));
    EXPECT_THAT(ids_on(Platform::nitro),
                ElementsAre("network-static-address", "network-card-renamed"));
}

TEST_F(ReadinessTest, ADefaultThatHasToBeChangedIsARepair) {
    facts.findings.push_back({.severity = Severity::warning,
                              .id = "default-entry-does-not-boot",
                              .where = "/boot/grub/grub.cfg:1",
                              .seen = "entry 0 is the default, and its kernel is gone",
                              .consequence = "entry 1 boots instead",
                              .action = "amilift makes that entry the default"});
    EXPECT_EQ(verdict(Platform::nitro), Verdict::ready);
    facts.must_set_default = true;
    EXPECT_EQ(verdict(Platform::nitro), Verdict::repairable);
    EXPECT_EQ(verdict(Platform::xen), Verdict::repairable);
}

}  // namespace
}  // namespace amilift::image
