// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/text_lines.hpp"

namespace amilift::image {

/// Editors of the files that configure the network of a guest. In another instance the network card
/// has another MAC address and the subnet another range: what binds the first card to a MAC is
/// loosened, and a static address becomes DHCP, which is how every EC2 instance gets its address.
/// The lines of an address are commented out, for people to see; every other byte stays. Nothing
/// changes when a result is edited again.

/// What an edit did to a configuration.
struct NetworkEdit {
    EditedText edited;
    /// 1-based line, before the edit, where a static address became DHCP.
    std::optional<int> static_at;
    /// Why the file, or a part of it, was left although it binds an address; empty: it was not.
    std::string left;
};

/// udev rules that give a card its name by its MAC address: the rule is taken out, so that the
/// kernel's eth0 keeps its name. Rules for drivers, kernel names and other devices stay, comments
/// too. Source: udev(7).
[[nodiscard]] EditedText edit_udev_names(std::string_view text);

/// Files of assignments of one interface: network-scripts of Red Hat systems, and wicked's and the
/// older ones of SUSE. HWADDR, MACADDR and LLADDR go; addresses become DHCP. An interface that is
/// part of a bridge or bond keeps what it has, but for the MAC. Sources: sysconfig.txt of
/// initscripts, ifcfg(5) of SUSE.
[[nodiscard]] NetworkEdit edit_ifcfg(std::string_view text);
/// Its DEVICE=, else what the file's name says ("ifcfg-eth0").
[[nodiscard]] std::string ifcfg_interface(std::string_view text, std::string_view file_name);

/// GATEWAY= of /etc/sysconfig/network is commented out: DHCP names the gateway.
[[nodiscard]] EditedText edit_sysconfig_network(std::string_view text);
/// Default routes of a static address are commented out: of SUSE's routes and ifroute-eth0, and of
/// Red Hat's route-eth0, where ADDRESS0=0.0.0.0 with its NETMASK0 and GATEWAY0 is one too. Sources:
/// routes(5) of SUSE, sysconfig.txt of initscripts.
[[nodiscard]] EditedText edit_routes(std::string_view text);

/// interfaces(5) of ifupdown: in the stanzas of `interface`, inet static becomes dhcp and its
/// address lines and hwaddress are commented out. An inet6 static stanza stays: a wrong IPv6
/// address does not keep IPv4 from working.
[[nodiscard]] NetworkEdit edit_interfaces(std::string_view text, std::string_view interface);
/// Names of the iface stanzas, without lo.
[[nodiscard]] std::vector<std::string> interfaces_names(std::string_view text);

/// What `source` and `source-directory` of interfaces(5) name: a file or a pattern, or a directory.
struct InterfacesSource {
    std::string path;
    bool is_directory = false;
};
[[nodiscard]] std::vector<InterfacesSource> interfaces_sources(std::string_view text);

/// One entry of ethernets: in a netplan file.
struct NetplanInterface {
    std::string id;
    std::string name;  ///< what the card is called: set-name, match's name, the id; empty: any name
    bool by_mac = false;
    bool is_static = false;
    int line = 0;
};
/// None of a text that is no YAML or has more than 100 of them.
[[nodiscard]] std::vector<NetplanInterface> netplan_interfaces(std::string_view text);
/// Why no entry of a file is edited: it is no YAML, it has aliases, anchors, merge keys or tabs for
/// an indentation, or too many entries. Else empty.
[[nodiscard]] std::string netplan_problem(std::string_view text);
/// A line with an address or gateway that is in no entry of netplan_interfaces(): of a bond, a
/// bridge or a VLAN.
[[nodiscard]] std::optional<int> netplan_address_elsewhere(std::string_view text);
/// The entry `id`: a MAC to match becomes the name eth0, if that is what the card is called, else
/// any Ethernet name; a MAC to set is commented out; addresses, gateways and routes become
/// dhcp4: true. Source: the netplan reference. What is in flow style ({...}), is there twice or has
/// keys that are not the first on their line is left.
[[nodiscard]] NetworkEdit edit_netplan(std::string_view text, std::string_view id);

/// .network and .link of systemd-networkd. [Match] MACAddress= of a .network becomes Name=e*
/// where nothing else matches, of a .link OriginalName=eth0, so that the card keeps the name that
/// the file gives. Sources: systemd.network(5), systemd.link(5).
enum class NetworkdFile { network, link };
[[nodiscard]] NetworkEdit edit_networkd(std::string_view text, NetworkdFile kind);
/// Name= of [Match] (.network) or of [Link] (.link); empty if there is none.
[[nodiscard]] std::string networkd_interface(std::string_view text, NetworkdFile kind);
[[nodiscard]] bool networkd_matches_mac(std::string_view text);

/// NetworkManager's keyfiles of Ethernet connections. Source: nm-settings-keyfile(5).
[[nodiscard]] NetworkEdit edit_keyfile(std::string_view text);
/// interface-name of an Ethernet connection; absent for connections of another type.
[[nodiscard]] std::optional<std::string> keyfile_interface(std::string_view text);

}  // namespace amilift::image
