// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"
#include "image/text_lines.hpp"
#include "modules/module.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

/// Moves logins from the PV consoles hvc0 and xvc0 to the serial port of the job's consoles:
/// sysvinit's inittab, upstart's jobs, /etc/sysconfig/init, /etc/securetty. With systemd the login
/// on ttyS0 comes from console= by itself (systemd-getty-generator(8)); an enabled
/// serial-getty@hvc0.service is bound to a device that never comes and would hold up getty.target
/// for 90 s (systemd.device(5), DefaultDeviceTimeoutSec), so its link is removed.
[[nodiscard]] const Module& console_module();

/// The serial port that logins move to: the last console of the job that is one.
struct SerialPort {
    std::string device;  ///< "ttyS0"
    std::string speed;   ///< "115200"; empty: a getty keeps the speed that it has
};
[[nodiscard]] std::optional<SerialPort> serial_port(const std::vector<std::string>& consoles);

/// inittab(5): active lines whose process names hvc0 or xvc0 name the port, at its speed; when a
/// line has a login there already, they are commented out. Editing twice changes nothing.
[[nodiscard]] image::EditedText edit_inittab(std::string_view text, const SerialPort& port);

/// ACTIVE_CONSOLES of RHEL 6's /etc/sysconfig/init. `drop` when another job serves the serial port.
enum class PvConsoleItem { replace, drop };
[[nodiscard]] image::EditedText edit_active_consoles(std::string_view text, const SerialPort& port,
                                                     PvConsoleItem item);

/// securetty(5) with the port in it.
[[nodiscard]] image::EditedText edit_securetty(std::string_view text, const SerialPort& port);

/// All changes that the image needs; none for an image that was converted. A job without a serial
/// console only loses the systemd links.
[[nodiscard]] core::Result<std::vector<PathEdit>> console_edits(
    const image::SafeRoot& root, const std::vector<std::string>& consoles);

/// What of that somebody should know before a conversion: logins and kernel messages on a console
/// that no HVM instance has ("pv-console-login", "pv-console-argument"), and a serial port on which
/// root may not log in ("securetty-without-serial"). None for an image that was converted.
[[nodiscard]] core::Result<std::vector<image::Finding>> console_findings(
    const image::SafeRoot& root, const image::ImageFacts& facts,
    const std::vector<std::string>& consoles);

}  // namespace amilift::modules
