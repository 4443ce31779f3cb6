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
        "/dev/sdf /data xfs defaults 0 0\n"
        "/dev/sdg /hand xfs noauto 0 0\n"
        "PARTUUID=1-02 /p ext4 defaults 0 0\n";
    EXPECT_THAT(ids(), ElementsAre("ephemeral-mount", "ephemeral-mount", "fstab-device-name",
                                   "fstab-partition-name"));
    EXPECT_EQ(facts_.findings[0].where, "/etc/fstab:2");
    EXPECT_EQ(facts_.findings[0].severity, Severity::warning);
    EXPECT_THAT(facts_.findings[2].seen, HasSubstr("'/dev/sdf' for '/data'"));
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
