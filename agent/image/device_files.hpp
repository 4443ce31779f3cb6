// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/text_lines.hpp"

namespace amilift::image {

/// Mappings of crypttab(5) whose device is named as a kernel names it (/dev/xvdf), so that it will
/// not be found under this name; without those that are noauto.
[[nodiscard]] std::vector<std::string> unstable_mappings(std::string_view text);

/// Those of them without nofail: systemd waits for them.
[[nodiscard]] std::vector<std::string> blocking_mappings(std::string_view text);

/// These mappings get nofail, and the boot does not wait for them. Only systemd knows the word and
/// needs it; other boots pass over a device that is missing. Comments, order and spacing stay.
[[nodiscard]] EditedText edit_crypttab(std::string_view text);

/// RESUME= of /etc/initramfs-tools/conf.d/resume becomes none when it names a device that will not
/// exist: later initramfs files would wait for it at each boot. `swap_specs` are the swap entries
/// of fstab ("UUID=..."), `root_uuid` that of the root filesystem (of a swap file): they stay.
[[nodiscard]] EditedText edit_initramfs_resume(std::string_view text,
                                               const std::vector<std::string>& swap_specs,
                                               std::string_view root_uuid);

/// Old modprobe.conf and modprobe.d: aliases for the drivers of XenLinux kernels, xennet and
/// xenblk, are commented out: no other kernel has them. Everything else stays, blacklists among it.
[[nodiscard]] EditedText edit_modprobe(std::string_view text);

}  // namespace amilift::image
