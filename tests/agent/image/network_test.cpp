// SPDX-License-Identifier: Apache-2.0
#include "image/network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "network_samples.hpp"
#include "temporary_root.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class NetworkTest : public testing::Test {
  protected:
    GuestNetwork inspect() const { return inspect_network(image_.open()).value(); }
    static std::vector<std::string> ids(const GuestNetwork& network) {
        std::vector<std::string> out;
        for (const auto& finding : network.findings) out.push_back(finding.id);
        return out;
    }
    static std::vector<std::string> paths(const GuestNetwork& network) {
        std::vector<std::string> out;
        for (const auto& change : network.changes) out.push_back(change.path);
        return out;
    }
    static std::vector<std::string> naming(const GuestNetwork& network) {
        std::vector<std::string> out;
        for (const auto& want : network.naming) out.push_back(want.key + "=" + want.value);
        return out;
    }
    TemporaryRoot image_;
};

TEST_F(NetworkTest, LeavesAnImageWithoutNetworkFilesAlone) {
    const auto network = inspect();
    EXPECT_EQ(network.primary, "");
    EXPECT_THAT(network.changes, IsEmpty());
    EXPECT_THAT(network.findings, IsEmpty());
    EXPECT_THAT(network.naming, IsEmpty());
}

TEST_F(NetworkTest, F37_LoosensARedHatImage) {
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth0", kIfcfgStatic);
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth1",
                "DEVICE=eth1\nHWADDR=02:11:22:33:44:55\nIPADDR=10.0.1.5\n");
    image_.file("/etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\nIPADDR=127.0.0.1\n");
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth0.bak", kIfcfgStatic);
    image_.file("/etc/sysconfig/network", "NETWORKING=yes\nGATEWAY=10.0.0.1\n");
    image_.file("/etc/udev/rules.d/70-persistent-net.rules", kPersistentNetRules);
    image_.file("/lib/udev/rules.d/75-persistent-net-generator.rules", "x");
    const auto network = inspect();
    EXPECT_EQ(network.primary, "eth0");
    EXPECT_THAT(paths(network),
                ElementsAre("/etc/udev/rules.d/70-persistent-net.rules",
                            "/etc/udev/rules.d/75-persistent-net-generator.rules",
                            "/etc/sysconfig/network-scripts/ifcfg-eth0", "/etc/sysconfig/network"));
    EXPECT_FALSE(network.changes[1].before.has_value());
    EXPECT_THAT(ids(network), ElementsAre("network-name-by-mac", "network-static-address",
                                          "network-secondary-card"));
    EXPECT_EQ(network.findings[1].where, "/etc/sysconfig/network-scripts/ifcfg-eth0:7");
}

/// A route to the old gateway would win over that of DHCP.
TEST_F(NetworkTest, TakesTheDefaultRouteOfAStaticAddressAway) {
    const std::array<std::pair<std::string, std::string>, 2> places{
        {{"/etc/sysconfig/network/ifcfg-eth0", "/etc/sysconfig/network/ifroute-eth0"},
         {"/etc/sysconfig/network-scripts/ifcfg-eth0",
          "/etc/sysconfig/network-scripts/route-eth0"}}};
    for (const auto& [card, routes] : places) {
        image_.file(card, "DEVICE=eth0\nBOOTPROTO=static\nIPADDR=10.0.0.5\n");
        image_.file(routes, "default 10.0.0.1 - eth0\n10.9.0.0/16 10.0.0.9\n");
        image_.file(routes.substr(0, routes.size() - 1) + "1", "default 10.1.0.1\n");
        const auto network = inspect();
        EXPECT_THAT(paths(network), ElementsAre(card, routes));
        EXPECT_EQ(network.changes.back().after, "#default 10.0.0.1 - eth0\n10.9.0.0/16 10.0.0.9\n");
        std::filesystem::remove(image_.on_host(card));
        std::filesystem::remove(image_.on_host(routes));
    }
}

TEST_F(NetworkTest, KeepsTheGatewayOfAnImageWithDhcp) {
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth0",
                "DEVICE=eth0\nHWADDR=02:11:22:33:44:55\nBOOTPROTO=dhcp\n");
    image_.file("/etc/sysconfig/network", "GATEWAY=10.0.0.1\n");
    const auto network = inspect();
    EXPECT_THAT(paths(network), ElementsAre("/etc/sysconfig/network-scripts/ifcfg-eth0"));
    EXPECT_THAT(ids(network), ElementsAre("network-bound-to-mac"));
}

TEST_F(NetworkTest, KeepsAGeneratorThatIsSwitchedOff) {
    image_.file("/etc/udev/rules.d/70-persistent-net.rules", kPersistentNetRules);
    image_.file("/lib/udev/rules.d/75-persistent-net-generator.rules", "x");
    image_.link("/etc/udev/rules.d/75-persistent-net-generator.rules", "/dev/null");
    EXPECT_THAT(paths(inspect()), ElementsAre("/etc/udev/rules.d/70-persistent-net.rules"));
}

TEST_F(NetworkTest, F37_LoosensADebianImage) {
    image_.file("/etc/network/interfaces", kInterfacesStatic);
    image_.file("/etc/network/interfaces.d/50-cloud-init.cfg",
                "auto eth0\niface eth0 inet dhcp\n    hwaddress 02:11:22:33:44:55\n");
    const auto network = inspect();
    EXPECT_THAT(paths(network), ElementsAre("/etc/network/interfaces",
                                            "/etc/network/interfaces.d/50-cloud-init.cfg"));
    EXPECT_THAT(network.changes[0].after, HasSubstr("iface eth0 inet dhcp\n"));
    EXPECT_THAT(network.changes[0].after,
                HasSubstr("iface eth1 inet static\n    address 10.0.1.5"));
    EXPECT_THAT(ids(network), ElementsAre("network-left-as-it-is", "network-static-address",
                                          "network-secondary-card", "network-bound-to-mac"));
}

TEST_F(NetworkTest, F37_LoosensAnUbuntuImage) {
    image_.file("/etc/netplan/50-cloud-init.yaml", kNetplanCloudInit);
    image_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    const auto network = inspect();
    EXPECT_EQ(network.primary, "eth0");
    EXPECT_THAT(network.changes, SizeIs(1));
    EXPECT_THAT(naming(network), ElementsAre("net.ifnames=0"));
    EXPECT_THAT(ids(network), ElementsAre("network-bound-to-mac", "network-card-renamed"));
    EXPECT_EQ(network.findings[1].where, "/etc/netplan/50-cloud-init.yaml");
}

TEST_F(NetworkTest, LoosensSystemdNetworkd) {
    image_.file("/etc/systemd/network/10-a.link", kNetworkdMac);
    image_.file("/etc/systemd/network/20-a.network", kNetworkdStatic);
    EXPECT_THAT(paths(inspect()),
                ElementsAre("/etc/systemd/network/10-a.link", "/etc/systemd/network/20-a.network"));
}

TEST_F(NetworkTest, EditsEachCardOfAFileOnce) {
    image_.file("/etc/netplan/a.yaml",
                "network:\n  ethernets:\n    eth0:\n      addresses: [10.0.0.5/24]\n"
                "    b:\n      match: {macaddress: 02:11:22:33:44:55}\n");
    const auto network = inspect();
    ASSERT_THAT(network.changes, SizeIs(1));
    EXPECT_EQ(network.changes[0].after,
              "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n"
              "      #addresses: [10.0.0.5/24]\n"
              "    b:\n      match: {macaddress: 02:11:22:33:44:55}\n");
    EXPECT_THAT(ids(network), ElementsAre("network-static-address", "network-secondary-card"));
}

TEST_F(NetworkTest, TellsOfACardThatWillHaveAnotherName) {
    image_.file("/etc/sysconfig/network-scripts/ifcfg-ens3", "BOOTPROTO=dhcp\nHWADDR=x\n");
    const auto network = inspect();
    EXPECT_EQ(network.primary, "ens3");
    EXPECT_THAT(ids(network), ElementsAre("network-bound-to-mac", "network-names-other-card"));
    EXPECT_THAT(naming(network), IsEmpty());
}

TEST_F(NetworkTest, KeepsANameThatBiosdevnameGave) {
    for (const std::string name : {"em1", "p1p1"}) {
        const auto file = "/etc/sysconfig/network-scripts/ifcfg-" + name;
        image_.file(file, "BOOTPROTO=dhcp\n");
        image_.file("/usr/lib/udev/rules.d/80-net-setup-link.rules", "x");
        image_.file("/usr/sbin/biosdevname", "x");
        const auto network = inspect();
        EXPECT_EQ(network.primary, name);
        EXPECT_THAT(naming(network), ElementsAre("net.ifnames=0", "biosdevname=0"));
        EXPECT_THAT(ids(network), ElementsAre("network-card-renamed"));
        ASSERT_THAT(network.changes, SizeIs(1));
        EXPECT_THAT(network.changes[0].after, HasSubstr("Name=" + name + "\n"));
        // Without .link files there is nothing that gives the name.
        std::filesystem::remove(image_.on_host("/usr/lib/udev/rules.d/80-net-setup-link.rules"));
        const auto old = inspect();
        EXPECT_THAT(naming(old), IsEmpty());
        ASSERT_THAT(ids(old), ElementsAre("network-names-other-card"));
        EXPECT_THAT(old.findings[0].action, HasSubstr("configure eth0 instead of '" + name));
        std::filesystem::remove(image_.on_host(file));
    }
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth1", "BOOTPROTO=dhcp\n");
    image_.file("/usr/lib/udev/rules.d/80-net-setup-link.rules", "x");
    EXPECT_THAT(ids(inspect()), ElementsAre("network-names-other-card"));
}

TEST_F(NetworkTest, KeepsANameThatTheSlotsOfAnotherMachineGave) {
    image_.file("/etc/netplan/a.yaml", "network:\n  ethernets:\n    ens3:\n      dhcp4: true\n");
    image_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    const auto network = inspect();
    EXPECT_EQ(network.primary, "ens3");
    EXPECT_THAT(naming(network), ElementsAre("net.ifnames=0"));
    EXPECT_THAT(ids(network), ElementsAre("network-card-renamed"));
    ASSERT_THAT(paths(network), ElementsAre("/etc/systemd/network/10-amilift.link"));
    EXPECT_EQ(network.changes[0].after,
              "# Written by amilift: the first card keeps the name that it had.\n"
              "[Match]\nOriginalName=eth0\n\n[Link]\nName=ens3\n");
    image_.file("/etc/systemd/network/10-amilift.link", network.changes[0].after);
    EXPECT_THAT(inspect().changes, IsEmpty());
    EXPECT_THAT(naming(inspect()), ElementsAre("net.ifnames=0"));
}

TEST_F(NetworkTest, LeavesTheNameOfNitro) {
    image_.file("/etc/netplan/a.yaml", "network:\n  ethernets:\n    ens5:\n      dhcp4: true\n");
    image_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    EXPECT_THAT(inspect().changes, IsEmpty());
    EXPECT_THAT(inspect().findings, IsEmpty());
}

TEST_F(NetworkTest, LeavesSeveralCardsWithoutEth0) {
    for (const std::string name : {"ens3", "ens4"}) {
        image_.file("/etc/sysconfig/network-scripts/ifcfg-" + name, "IPADDR=10.0.0.5\n");
    }
    const auto network = inspect();
    EXPECT_EQ(network.primary, "");
    EXPECT_THAT(network.changes, IsEmpty());
    EXPECT_THAT(ids(network), ElementsAre("network-secondary-card", "network-secondary-card"));
}

TEST_F(NetworkTest, KeepsTheNameEth0WhereUdevWouldChangeIt) {
    image_.file("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n");
    EXPECT_THAT(naming(inspect()), IsEmpty());
    image_.file("/usr/sbin/biosdevname", "x");
    EXPECT_THAT(naming(inspect()), ElementsAre("biosdevname=0"));
    image_.file("/usr/lib/udev/rules.d/80-net-name-slot.rules", "x");
    EXPECT_THAT(naming(inspect()), ElementsAre("net.ifnames=0", "biosdevname=0"));
    image_.link("/etc/udev/rules.d/80-net-name-slot.rules", "/dev/null");
    EXPECT_THAT(naming(inspect()), ElementsAre("biosdevname=0"));
    image_.file("/lib/udev/rules.d/80-net-setup-link.rules", "x");
    EXPECT_THAT(naming(inspect()), ElementsAre("net.ifnames=0", "biosdevname=0"));
    image_.file("/etc/systemd/network/99-default.link", "");
    EXPECT_THAT(naming(inspect()), ElementsAre("biosdevname=0"));
}

TEST_F(NetworkTest, FollowsTheFilesThatInterfacesNames) {
    image_.file("/etc/network/interfaces",
                "source /etc/network/if.d/*.cfg\nsource-directory more\nauto lo\n");
    image_.file("/etc/network/if.d/eth0.cfg",
                "source /etc/network/interfaces\niface eth0 inet static\n  address 10.0.0.5\n");
    image_.file("/etc/network/if.d/eth1.off", "iface eth1 inet static\n  address 10.0.0.6\n");
    const auto network = inspect();
    EXPECT_EQ(network.primary, "eth0");
    EXPECT_THAT(paths(network), ElementsAre("/etc/network/if.d/eth0.cfg"));
}

TEST_F(NetworkTest, TellsOfAddressesThatItDoesNotEdit) {
    image_.file("/etc/network/interfaces",
                "iface eth0 inet manual\niface br0 inet static\n  bridge_ports eth0\n"
                "  address 10.0.0.5\n");
    EXPECT_THAT(ids(inspect()), ElementsAre("network-left-as-it-is"));

    image_.file("/etc/network/interfaces", "");
    const std::string_view bond =
        "network:\n  ethernets:\n    eth0:\n      dhcp4: no\n      nameservers:\n"
        "        addresses: [10.0.0.2]\n  bonds:\n    bond0:\n      interfaces: [eth0]\n"
        "      addresses: [10.0.0.5/24]\n";
    image_.file("/etc/netplan/01.yaml", bond);
    EXPECT_THAT(ids(inspect()), ElementsAre("network-left-as-it-is"));
    EXPECT_EQ(inspect().findings.front().where, "/etc/netplan/01.yaml:10");
    image_.file("/etc/netplan/01.yaml",
                "network: {ethernets: {eth0: {addresses: [10.0.0.5/24]}}}\n");
    EXPECT_THAT(ids(inspect()), ElementsAre("network-left-as-it-is"));

    image_.file("/etc/netplan/01.yaml", "network:\n  ethernets: {eth0\n");
    EXPECT_THAT(ids(inspect()), ElementsAre("network-left-as-it-is"));
    EXPECT_THAT(inspect().findings.front().seen, HasSubstr("not valid YAML"));

    image_.file("/etc/netplan/01.yaml", "");
    image_.file("/etc/systemd/network/eth0.network", "[Match]\nName=eth0\n");
    image_.file("/etc/systemd/network/eth0.network.d/a.conf",
                "[Network]\nAddress=10.0.0.5/24\nGateway=10.0.0.1\n");
    EXPECT_THAT(ids(inspect()), ElementsAre("network-left-as-it-is"));
}

TEST_F(NetworkTest, EditsARuleFileWithTwoNamesOnce) {
    image_.file("/etc/udev/names.rules", kPersistentNetRules);
    image_.link("/etc/udev/rules.d/70-a.rules", "../names.rules");
    image_.link("/etc/udev/rules.d/80-b.rules", "../names.rules");
    const auto changed = paths(inspect());
    EXPECT_EQ(std::ranges::count(changed, "/etc/udev/names.rules"), 1);
}

TEST_F(NetworkTest, F41_PassesOverHostileFiles) {
    image_.link("/etc/network/interfaces", "../../../../etc/passwd");
    image_.link("/etc/netplan/a.yaml", "a.yaml");
    image_.link("/etc/systemd/network", "/proc/self");
    image_.file("/etc/sysconfig/network-scripts/ifcfg-eth0", std::string(300U << 10, 'x'));
    const auto network = inspect();
    EXPECT_THAT(network.changes, IsEmpty());
    EXPECT_THAT(network.findings, IsEmpty());
}

}  // namespace
}  // namespace amilift::image
