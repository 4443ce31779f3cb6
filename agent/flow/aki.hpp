// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "aws/ec2.hpp"
#include "core/result.hpp"

namespace amilift::flow {

/// What the name of one of Amazon's PV-GRUB kernel images (AKI) says:
/// "pv-grub-hd0_1.05-x86_64.gz".
struct PvGrubName {
    bool bare_filesystem = true;  ///< "hd0"; "hd00" is for a disk with partitions
    unsigned major = 0;
    unsigned minor = 0;
    std::string architecture;  ///< "x86_64" or "i386"
    friend bool operator==(const PvGrubName&, const PvGrubName&) = default;
};

/// Absent for another kernel's name.
[[nodiscard]] std::optional<PvGrubName> parse_pv_grub_name(std::string_view name);

struct Aki {
    std::string id;
    std::string name;
};

/// The PV-GRUB that starts a bare filesystem whose kernel has `architecture` ("x86_64", "i386"):
/// the one that `wanted` names, or, for "auto", Amazon's newest in the Region, which is looked up
/// live because its ids differ from Region to Region. `region` is for messages. Errors besides
/// those of EC2: Errc::refused (ids "no-aki": the Region has none; "aki-does-not-fit": `wanted` is
/// not Amazon's PV-GRUB for a bare filesystem and this architecture). Source: EC2 User Guide,
/// "User provided kernels".
[[nodiscard]] core::Result<Aki> choose_aki(aws::Ec2Api& ec2, const std::string& wanted,
                                           const std::string& architecture,
                                           const std::string& region);

}  // namespace amilift::flow
