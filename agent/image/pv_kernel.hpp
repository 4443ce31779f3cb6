// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// What the kernel's ELF notes for Xen say (name "Xen", XEN_ELFNOTE_*), or the older section
/// __xen_guest. Source: Xen, public/elfnote.h.
struct XenNotes {
    std::string guest_os;     ///< "linux"
    std::string xen_version;  ///< "xen-3.0"
    std::string loader;       ///< "generic"
    std::string pae_mode;     ///< "yes"; of 32-bit kernels
    std::string features;     ///< "!writable_page_tables|pae_pgdir_above_4gb"
    /// The kernel has an entry for paravirtual guests; one for PVH only has not.
    bool has_pv_entry = false;
    friend bool operator==(const XenNotes&, const XenNotes&) = default;
};

/// A kernel file that PV-GRUB can start.
struct PvKernel {
    bool is_64_bit = true;
    std::string compression;  ///< of the ELF image: "gzip", "bzip2", "xz", "lzo"; empty: none
    XenNotes notes;           ///< empty for lzo, which is not unpacked here
};

/// The largest kernel file and the largest unpacked kernel that are looked at, in bytes. Kernels of
/// distributions have up to 20 MiB and 90 MiB.
inline constexpr std::size_t kMaxKernelBytes = std::size_t{128} << 20;
inline constexpr std::size_t kMaxUnpackedKernelBytes = std::size_t{256} << 20;

/// Can PV-GRUB start the kernel file of these bytes? It takes an ELF image, one packed by gzip, and
/// a bzImage of boot protocol 2.08 or later whose payload is packed by gzip, bzip2, lzo or xz.
/// Sources: EC2 User Guide, "User provided kernels"; Linux Documentation/arch/x86/boot.rst; Xen,
/// tools/libs/guest. Errc::refused with an id:
/// - pv-kernel-format: no such file, or an older boot protocol,
/// - pv-kernel-compression: lz4, lzma, zstd or unknown,
/// - pv-kernel-damaged: it does not unpack, or what is unpacked is no ELF image for x86,
/// - pv-kernel-no-xen: without what Xen needs to start it as a paravirtual guest,
/// - pv-kernel-no-pae: 32 bits without PAE, which no Xen of EC2 starts.
/// Of an lzo payload only the form is judged, and is_64_bit says what the header says (64 bits
/// where it is too old to say so).
[[nodiscard]] core::Result<PvKernel> parse_pv_kernel(std::string_view bytes);

/// The same for a file of the image (links followed inside it). For lzo the kernel's config decides
/// whether it can be a paravirtual guest: pv-kernel-no-xen when it says no or is not there.
/// Errors besides: those of SafeRoot; corrupt for a file larger than kMaxKernelBytes.
[[nodiscard]] core::Result<PvKernel> inspect_pv_kernel(const SafeRoot& root, std::string_view path);

}  // namespace amilift::image
