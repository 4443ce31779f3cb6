// SPDX-License-Identifier: Apache-2.0
#include "image/os_facts.hpp"

#include <gtest/gtest.h>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

struct ReleaseLine {
    std::string_view name;
    std::string_view line;
    std::string_view id;
    std::string_view version;
};

class ReleaseLines : public testing::TestWithParam<ReleaseLine> {};

TEST_P(ReleaseLines, AreUnderstood) {
    const auto facts = parse_release_line(GetParam().line);
    EXPECT_EQ(facts.id, GetParam().id);
    EXPECT_EQ(facts.version, GetParam().version);
}

INSTANTIATE_TEST_SUITE_P(
    OsFacts, ReleaseLines,
    testing::Values(
        ReleaseLine{"CentOS5", "CentOS release 5.11 (Final)", "centos", "5.11"},
        ReleaseLine{"CentOS7", "CentOS Linux release 7.2.1511 (Core)", "centos", "7.2.1511"},
        ReleaseLine{"Rhel5", "Red Hat Enterprise Linux Server release 5.5 (Tikanga)", "rhel",
                    "5.5"},
        ReleaseLine{"Oracle5", "Enterprise Linux Enterprise Linux Server release 5.5 (Carthage)",
                    "ol", "5.5"},
        ReleaseLine{"Amazon", "Amazon Linux AMI release 2012.03", "amzn", "2012.03"},
        ReleaseLine{"Suse", "SUSE Linux Enterprise Server 11 (x86_64)", "sles", "11"},
        ReleaseLine{"Fedora", "Fedora release 8 (Werewolf)", "fedora", "8"},
        ReleaseLine{"Unknown", "Something 1.0", "", ""}, ReleaseLine{"Empty", "", "", ""}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(OsFacts, PrefersOsRelease) {
    const TemporaryRoot image;
    image.file("/usr/lib/os-release",
               "NAME=\"Amazon Linux AMI\"\nID='amzn'\nVERSION_ID=\"2017.09\"\n"
               "PRETTY_NAME=\"Amazon Linux AMI 2017.09\"\n");
    image.link("/etc/os-release", "../usr/lib/os-release");
    image.file("/etc/system-release", "CentOS release 5.11 (Final)\n");
    const auto facts = read_os_facts(image.open()).value();
    EXPECT_EQ(facts.id, "amzn");
    EXPECT_EQ(facts.version, "2017.09");
    EXPECT_EQ(facts.pretty_name, "Amazon Linux AMI 2017.09");
}

TEST(OsFacts, ReadsOldReleaseFiles) {
    const TemporaryRoot centos;
    centos.file("/etc/redhat-release", "CentOS release 5.11 (Final)\n");
    EXPECT_EQ(read_os_facts(centos.open()).value().pretty_name, "CentOS release 5.11 (Final)");
    const TemporaryRoot ubuntu;
    ubuntu.file("/etc/lsb-release",
                "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\n"
                "DISTRIB_DESCRIPTION=\"Ubuntu 10.04.4 LTS\"\n");
    ubuntu.file("/etc/debian_version", "squeeze/sid\n");
    EXPECT_EQ(read_os_facts(ubuntu.open()).value().id, "ubuntu");
    const TemporaryRoot debian;
    debian.file("/etc/debian_version", "6.0.10\n");
    EXPECT_EQ(read_os_facts(debian.open()).value().pretty_name, "Debian 6.0.10");
    const TemporaryRoot nothing;
    EXPECT_EQ(read_os_facts(nothing.open()).value().id, "");
}

TEST(OsFacts, PassesOverWhatIsNoText) {
    const TemporaryRoot image;
    image.directory("/etc/os-release");
    image.link("/etc/system-release", "system-release");
    image.file("/etc/redhat-release", std::string(100000, 'x'));
    EXPECT_EQ(read_os_facts(image.open()).value().id, "");
}

TEST(OsFacts, MakesReleaseTextPrintable) {
    const TemporaryRoot image;
    image.file("/etc/os-release", "ID=\x1b[2Jx\n");
    EXPECT_EQ(read_os_facts(image.open()).value().id, "\\x1b[2Jx");
}

TEST(OsFacts, TellsTheInitSystem) {
    const TemporaryRoot systemd;
    systemd.file("/lib/systemd/systemd", "");
    systemd.link("/sbin/init", "/lib/systemd/systemd");
    systemd.file("/sbin/initctl", "");
    systemd.file("/etc/init/rc.conf", "");
    EXPECT_EQ(read_os_facts(systemd.open()).value().init, InitSystem::systemd);

    const TemporaryRoot upstart;
    upstart.file("/sbin/init", "");
    upstart.file("/sbin/initctl", "");
    upstart.file("/etc/init/rcS.conf", "");
    upstart.file("/etc/inittab", "id:3:initdefault:\n");
    EXPECT_EQ(read_os_facts(upstart.open()).value().init, InitSystem::upstart);

    const TemporaryRoot sysvinit;
    sysvinit.file("/sbin/init", "");
    sysvinit.file("/etc/inittab", "");
    EXPECT_EQ(read_os_facts(sysvinit.open()).value().init, InitSystem::sysvinit);

    const TemporaryRoot nothing;
    EXPECT_EQ(read_os_facts(nothing.open()).value().init, InitSystem::unknown);
}

TEST(OsFacts, ReadsTheSelinuxMode) {
    const TemporaryRoot image;
    image.file("/etc/selinux/config", "# SELINUX=disabled\nSELINUX=enforcing\n");
    EXPECT_TRUE(read_os_facts(image.open()).value().selinux_enforcing);
    image.file("/etc/selinux/config", "SELINUX=permissive\n");
    EXPECT_FALSE(read_os_facts(image.open()).value().selinux_enforcing);
}

}  // namespace
}  // namespace amilift::image
