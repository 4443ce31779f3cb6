// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>

namespace amilift::image {

/// The largest UEFI program that is read. Debian's signed GRUB has 4 MiB, one that
/// grub-mkstandalone has made has 10.
inline constexpr std::size_t kEfiProgramLimit = std::size_t{32} << 20;

/// What a file is to UEFI firmware of an x86-64 machine.
enum class EfiProgramKind {
    not_startable,   ///< the firmware would not start it
    unknown,         ///< a program that nothing is known of
    shim,            ///< starts another program of its own directory
    grub2,           ///< GRUB 2
    systemd_boot,    ///< systemd-boot
    unified_kernel,  ///< a kernel with its initramfs and arguments in one program
};

struct EfiProgram {
    EfiProgramKind kind = EfiProgramKind::not_startable;
    std::string problem;  ///< why it cannot be started: "it is no PE image"
    // Of shim, names in its own directory:
    std::string second;    ///< the file that it starts, "grubx64.efi"
    std::string fallback;  ///< its program that makes boot variables, "fbx64.efi"
    // Of GRUB 2, what grub-mkimage has put into it:
    std::string prefix{};   ///< -p, as written: "/EFI/debian"; empty: none
    std::string config{};   ///< -c: commands that run first
    std::string archive{};  ///< -m: the filesystem or tar archive that GRUB calls (memdisk)
    std::set<std::string, std::less<>> modules{};  ///< the names of those inside
};

/// Judges the bytes of a whole file, which nobody has looked at before: whatever they are, the
/// work is bounded by their number. Sources: the PE format (Microsoft, "PE Format"); UEFI
/// specification 2.10, 2.1.1; GRUB 2.06, include/grub/kernel.h and util/mkimage.c; shim 15,
/// version.c and shim.c; openSUSE's shim, shim-arch-independent-names.patch.
[[nodiscard]] EfiProgram read_efi_program(std::string_view bytes);

}  // namespace amilift::image
