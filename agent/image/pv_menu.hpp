// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/facts.hpp"
#include "image/kernel_arguments.hpp"
#include "image/menu.hpp"

namespace amilift::image {

/// What a menu of GRUB 0.97 needs so that PV-GRUB boots one bare filesystem with it.
struct PvMenuEdit {
    /// GRUB 0.97's name of the partition that was mounted at /boot ("(hd0,0)"): its "/vmlinuz" is
    /// "/boot/vmlinuz" now. Empty: /boot was no partition.
    std::string boot_device;
    std::string console = "hvc0";  ///< the only console= that the kernels keep
    /// root= of the old root device becomes this ("LABEL=/", "UUID=..."), if set; only in entries
    /// with an initrd (without one the kernel cannot look a UUID up).
    std::optional<std::string> root_argument;
    std::vector<std::string> old_root_devices;
    /// The swap partitions are gone: resume= of one goes, and an initramfs is told `noresume`, for
    /// it would wait for the one that it remembers itself.
    bool swap_is_gone = false;
    std::vector<WantedArgument> wanted;        ///< that every kernel shall have besides
    std::optional<std::size_t> default_entry;  ///< that must boot; absent: the default stays
};

/// The edited menu: each (hdX) and (hdX,Y) is (hd0), `uuid` of Debian's GRUB is `root (hd0)`, what
/// needs a screen or a serial port is a comment, and a menu without `timeout`, at which PV-GRUB
/// would wait for a key, gets one. Templates of update-grub follow. Hypervisor entries and every
/// other byte stay. Editing twice changes nothing.
[[nodiscard]] EditedText edit_pv_menu(std::string_view text, const PvMenuEdit& edit);

/// A menu with those entries, the first as its default, for an image that another loader boots.
/// Kernels and initrds are paths from the image's root, see choose_pv_boot().
[[nodiscard]] std::string make_pv_menu(const std::vector<BootEntry>& entries,
                                       const PvMenuEdit& edit);

/// The command line without what names partitions that are gone: resume= of swap (with
/// `swap_is_gone`; resume= of a swap file, which has resume_offset=, stays), and boot= of /boot
/// (with `boot_device`), with which dracut's FIPS check would look for it.
[[nodiscard]] std::string without_gone_partitions(std::string_view command_line,
                                                  const PvMenuEdit& edit, bool has_initrd);

/// The command line with console=`console` as its only console.
[[nodiscard]] std::string with_only_console(std::string_view command_line,
                                            std::string_view console);

}  // namespace amilift::image
