// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "modules/console.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Gives the Xen PV console a login: sysvinit's inittab, a job of Ubuntu's upstart, /etc/securetty.
/// systemd (systemd-getty-generator(8)) and upstart of RHEL 6 start one on the kernel's console by
/// themselves. Logins elsewhere stay: a port that is not there costs nothing.
[[nodiscard]] const Module& pv_console_module();

/// inittab(5) with a login on `device` ("hvc0") by `getty` ("/sbin/agetty"): none is added to an
/// inittab that starts nothing (that of upstart has only its default runlevel).
[[nodiscard]] image::EditedText add_inittab_login(std::string_view text, std::string_view device,
                                                  std::string_view getty);

/// All changes that the image needs; none for an image that was converted.
[[nodiscard]] core::Result<std::vector<PathEdit>> pv_console_edits(const image::SafeRoot& root,
                                                                   const std::string& device);

}  // namespace amilift::modules
