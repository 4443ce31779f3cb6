// SPDX-License-Identifier: Apache-2.0
#include "image/guest_findings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class GuestFindings : public testing::Test {
  protected:
    std::vector<std::string> ids() {
        facts_.findings.clear();
        EXPECT_TRUE(report_guest(image_.open(), facts_).has_value());
        std::vector<std::string> out;
        for (const auto& finding : facts_.findings) out.push_back(finding.id);
        return out;
    }
    TemporaryRoot image_;
    ImageFacts facts_;
};

TEST_F(GuestFindings, HasNothingToSayOfAnEmptyImage) {
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestFindings, TellsOfMountsThatMayBeMissing) {
    facts_.fstab_text =
        "/dev/sda1 / ext3 defaults 1 1\n"
        "/dev/xvdb /mnt auto defaults,nobootwait,comment=cloudconfig 0 2\n"
        "/dev/xvdc /mnt2 auto defaults,x-systemd.requires=cloud-init.service 0 2\n"
        "/dev/sda3 none swap sw,x-systemd.requires=cloud-init.service,comment=cloudconfig 0 2\n"
        "/dev/sdf /data xfs defaults 0 0\n"
        "/dev/sdg /hand xfs noauto 0 0\n"
        "PARTUUID=1-02 /p ext4 defaults 0 0\n";
    EXPECT_THAT(ids(), ElementsAre("ephemeral-mount", "ephemeral-mount", "fstab-device-name",
                                   "fstab-device-name", "fstab-partition-name"));
    EXPECT_EQ(facts_.findings[0].where, "/etc/fstab:2");
    EXPECT_EQ(facts_.findings[0].severity, Severity::warning);
    EXPECT_THAT(facts_.findings[3].seen, HasSubstr("'/dev/sdf' for '/data'"));
}

TEST_F(GuestFindings, TellsWhatAMountThatMayBeMissingBecomes) {
    facts_.fstab_text = "/dev/sdf /data xfs defaults 0 0\n";
    facts_.init = InitSystem::systemd;
    ASSERT_THAT(ids(), ElementsAre("fstab-device-name", "no-clean-shutdown"));
    EXPECT_THAT(facts_.findings[0].action,
                testing::StartsWith("amilift makes the entry optional;"));
    facts_.findings.clear();
    facts_.init = InitSystem::unknown;
    ASSERT_THAT(ids(), ElementsAre("fstab-device-name"));
    EXPECT_THAT(facts_.findings[0].action, HasSubstr("if the system's mount knows such entries"));
    facts_.findings.clear();
    facts_.disk.device_names = {"/dev/sdf"};
    facts_.disk.names = {{.partition = 2, .spec = "UUID=2"}};
    facts_.fstab_text = "/dev/sdf2 none swap sw 0 0\n";
    ASSERT_THAT(ids(), ElementsAre("fstab-device-name"));
    EXPECT_EQ(facts_.findings[0].action, "amilift names it 'UUID=2'");
}

TEST_F(GuestFindings, TellsOfAThousandMountsInAFewFindings) {
    for (int i = 0; i < 1000; ++i) facts_.fstab_text += "/dev/sdf /data xfs defaults 0 0\n";
    EXPECT_LT(ids().size(), 50U);
}

TEST_F(GuestFindings, TellsWhatTheResumeDeviceBecomes) {
    facts_.boot_entries = {{.title = "a",
                            .where = "/boot/grub/menu.lst:3",
                            .kernel = "/v",
                            .initrds = {},
                            .arguments = "ro resume=/dev/sda2"}};
    facts_.boot_entry = 0;
    EXPECT_THAT(ids(), ElementsAre("resume-device"));
    EXPECT_EQ(facts_.findings[0].where, "/boot/grub/menu.lst:3");
}

TEST_F(GuestFindings, TellsOfRenamedCardsUntilTheKernelIsToldNotTo) {
    image_.file("/etc/network/interfaces", "iface eth0 inet dhcp\n");
    image_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    facts_.boot_entries = {
        {.title = "a", .where = "/m:3", .kernel = "/v", .initrds = {}, .arguments = "ro"}};
    facts_.boot_entry = 0;
    EXPECT_THAT(ids(), ElementsAre("network-card-renamed"));
    facts_.boot_entries[0].arguments = "ro net.ifnames=0";
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestFindings, TellsOfTheTimeOutOfNvme) {
    facts_.boot_entries = {
        {.title = "a", .where = "/m:3", .kernel = "/v", .initrds = {}, .arguments = "ro"}};
    facts_.kernel_of_entry = {0};
    facts_.kernels.emplace_back();
    facts_.boot_entry = 0;
    EXPECT_THAT(ids(), IsEmpty());
    facts_.kernels[0].nvme_timeout = NvmeTimeout{"nvme.io_timeout", 255U};
    EXPECT_THAT(ids(), ElementsAre("nvme-timeout-missing"));
    facts_.boot_entries[0].arguments = "nvme.io_timeout=4294967295";
    EXPECT_THAT(ids(), ElementsAre("nvme-timeout-out-of-range"));
    facts_.boot_entries[0].arguments = "nvme.io_timeout=60";
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestFindings, TellsOfEncryptedVolumesAndOldDrivers) {
    image_.file("/etc/crypttab", "data /dev/xvdf none luks\n");
    image_.file("/etc/modprobe.conf", "options x y\nalias eth0 xennet\n");
    image_.link("/etc/rc.d/rc3.d/S05kudzu", "../init.d/kudzu");
    image_.link("/etc/rc.d/rc6.d/K95kudzu", "../init.d/kudzu");
    EXPECT_THAT(ids(), ElementsAre("crypttab-device-name", "xenlinux-driver-alias", "kudzu"));
    EXPECT_EQ(facts_.findings[1].where, "/etc/modprobe.conf:2");
    EXPECT_EQ(facts_.findings[2].where, "/etc/rc.d/rc3.d/S05kudzu");
}

TEST_F(GuestFindings, TellsWhetherAStopReachesTheGuest) {
    facts_.init = InitSystem::sysvinit;
    EXPECT_THAT(ids(), ElementsAre("no-clean-shutdown"));
    image_.file("/usr/sbin/acpid", "x");
    EXPECT_THAT(ids(), IsEmpty());
    facts_.init = InitSystem::systemd;
    std::filesystem::remove(image_.on_host("/usr/sbin/acpid"));
    image_.file("/lib/systemd/systemd-logind", "x");
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(GuestFindings, TellsOfSelinux) {
    facts_.selinux_enforcing = true;
    EXPECT_THAT(ids(), ElementsAre("selinux-enforcing"));
}

}  // namespace
}  // namespace amilift::image
