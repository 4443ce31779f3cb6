// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/pv_kernel.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// What boots an image as a paravirtual guest.
struct PvBoot {
    PvKernel kernel;
    std::string console;  ///< "hvc0"; "xvc0" of XenLinux 2.6.18
};

/// Chooses the entry that boots under PV-GRUB instead of the one for HVM that facts names: the
/// first one in the loader's own order (default, fallbacks, the rest) that names a kernel that
/// PV-GRUB starts, of `architecture` ("x86_64", "i386"; empty: any), and at most one initrd that is
/// there. Sets facts.boot_entry and must_set_default, and takes the findings about HVM's choice
/// back. If there is none, the finding is a refusal with the reason of the first entry that names a
/// kernel (ids of parse_pv_kernel(), "aki-does-not-fit" for another architecture,
/// "kernel-missing", "no-bootable-entry") and the result is absent.
[[nodiscard]] core::Result<std::optional<PvBoot>> choose_pv_boot(const SafeRoot& root,
                                                                 ImageFacts& facts,
                                                                 std::string_view architecture);

/// Can a file with these names be named in a menu.lst? Blanks and control bytes cannot be quoted
/// there.
[[nodiscard]] bool is_menu_path(std::string_view path);

}  // namespace amilift::image
