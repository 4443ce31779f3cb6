// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/facts.hpp"
#include "image/menu.hpp"

namespace amilift::image {

/// What a menu of GRUB 0.97 needs so that PV-GRUB boots one bare filesystem with it.
struct PvMenuEdit {
    /// The files of the menu lay on a filesystem of /boot: "/vmlinuz" is "/boot/vmlinuz" now.
    bool boot_was_apart = false;
    std::string console = "hvc0";  ///< the only console= that the kernels keep
    /// root= of the old root device becomes this ("LABEL=/", "UUID=..."), if set; only in entries
    /// with an initrd (without one the kernel cannot look a UUID up).
    std::optional<std::string> root_argument;
    std::vector<std::string> old_root_devices;
    std::optional<std::size_t> default_entry;  ///< that must boot; absent: the default stays
};

/// The edited menu: each (hdX) and (hdX,Y) is (hd0), `uuid` of Debian's GRUB is `root (hd0)`, what
/// needs a screen or a serial port is a comment, and a menu without `timeout`, at which PV-GRUB
/// would wait for a key, gets one. Templates of update-grub follow. Hypervisor entries and every
/// other byte stay. Editing twice changes nothing.
[[nodiscard]] MenuResult edit_pv_menu(std::string_view text, const PvMenuEdit& edit);

/// A menu with that one entry, for an image that another loader boots. `kernel` and the initrd are
/// paths from the image's root, of which there is at most one.
[[nodiscard]] std::string make_pv_menu(const BootEntry& entry, const PvMenuEdit& edit);

/// The command line with console=`console` as its only console.
[[nodiscard]] std::string with_only_console(std::string_view command_line,
                                            std::string_view console);

}  // namespace amilift::image
