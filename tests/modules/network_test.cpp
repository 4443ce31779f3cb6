// SPDX-License-Identifier: Apache-2.0
#include "modules/network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/agent/image/network_samples.hpp"
#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class NetworkModule : public TextModuleTest {
  protected:
    NetworkModule() { image::add_usual_files(source_); }
};

TEST_F(NetworkModule, HasNothingToDoWithoutNetworkFiles) {
    REQUIRE_ROOT_TO_WRITE();
    convert(network_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_THAT(proofs_, IsEmpty());
}

TEST_F(NetworkModule, LoosensTheCardFromItsInstance) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/udev/rules.d/70-persistent-net.rules", image::kPersistentNetRules);
    source_.file("/lib/udev/rules.d/75-persistent-net-generator.rules", "x");
    source_.file("/etc/sysconfig/network-scripts/ifcfg-eth0", image::kIfcfgStatic);
    convert(network_module());
    EXPECT_THAT(
        texts_,
        ElementsAre(HasSubstr("edit /etc/udev/rules.d/70-persistent-net.rules:"),
                    HasSubstr("add /etc/udev/rules.d/75-persistent-net-generator.rules:"),
                    HasSubstr("    line 4: 'BOOTPROTO=\"static\"' -> 'BOOTPROTO=\"dhcp\"'")));
    EXPECT_THAT(target_.text_of("/etc/sysconfig/network-scripts/ifcfg-eth0"),
                HasSubstr("#IPADDR=10.0.0.5\n"));
    EXPECT_THAT(proofs_, ElementsAre("the configuration of eth0 is bound to no MAC and no static "
                                     "IPv4 address"));
}

TEST_F(NetworkModule, ConvertsEveryFormatAtOnce) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/sysconfig/network/ifcfg-eth0", image::kIfcfgStatic);
    source_.file("/etc/sysconfig/network/routes", "default 10.0.0.1 - -\n");
    source_.file("/etc/network/interfaces", image::kInterfacesStatic);
    source_.file("/etc/netplan/50-cloud-init.yaml", image::kNetplanCloudInit);
    source_.file("/etc/systemd/network/a.network", image::kNetworkdStatic);
    source_.file("/etc/systemd/network/a.link", image::kNetworkdMac);
    source_.file("/etc/NetworkManager/system-connections/eth0.nmconnection", image::kKeyfile);
    convert(network_module());
    EXPECT_EQ(texts_.size(), 7U);
    EXPECT_EQ(target_.text_of("/etc/sysconfig/network/routes"), "#default 10.0.0.1 - -\n");
}

TEST_F(NetworkModule, FailsToVerifyWhatIsNotConverted) {
    source_.file("/etc/network/interfaces", image::kInterfacesStatic);
    plan(network_module());
    const auto proofs = verify(network_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, HasSubstr("still to do: edit /etc/network/interfaces"));
}

}  // namespace
}  // namespace amilift::modules
