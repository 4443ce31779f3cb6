// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/kernel_arguments.hpp"
#include "image/safe_root.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

/// A file of the guest's network configuration that has to change.
struct NetworkFileChange {
    std::string path;                   ///< without links on the way
    std::optional<std::string> before;  ///< absent: a new file
    std::string after;
    std::vector<TextChange> changes;  ///< empty for a new file
};

/// How the guest configures its network, and what of it is bound to the instance that it comes
/// from.
struct GuestNetwork {
    /// The card that gets its address by DHCP afterwards: "eth0", or the only one that the files
    /// name; empty if they name none, or several and no eth0: no address is touched then.
    std::string primary;
    std::vector<NetworkFileChange> changes;
    /// net.ifnames=0, and biosdevname=0 where it is installed: the files name eth0, and the guest's
    /// udev would call the card ens5. Source: udev's 80-net-setup-link.rules, systemd >= 197.
    std::vector<WantedArgument> naming;
    std::vector<Finding> findings;
};

/// Reads udev rules, ifcfg files (Red Hat, SUSE), ifupdown, netplan, systemd-networkd and
/// NetworkManager. Nothing is changed, and nothing has to when a changed image is read again.
[[nodiscard]] core::Result<GuestNetwork> inspect_network(const SafeRoot& root);

}  // namespace amilift::image
