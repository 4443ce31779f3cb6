// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/drivers.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// How a kernel file can be started. Source: Linux Documentation/arch/x86/boot.rst.
enum class KernelFormat {
    bz_image,  ///< 55 AA at 0x1FE and "HdrS" at 0x202: a BIOS boot loader can start it
    elf,       ///< bare ELF: Xen PV only, in practice
    gzip,      ///< gzip'ed ELF: Xen PV only, in practice
    unknown
};
[[nodiscard]] std::string_view to_string(KernelFormat format) noexcept;

struct Kernel {
    std::string path;     ///< as the menu names it, from the image's root
    std::string version;  ///< "6.1.0-56-cloud-amd64", from the header, else from the file name
    KernelFormat format = KernelFormat::unknown;
    bool is_64_bit = true;
    /// Absent: it can boot HVM. Else why not ("config has CONFIG_X86_XEN").
    std::optional<std::string> cannot_boot_hvm;
    /// How the kernel proper is packed in the file: "gzip", "bzip2", "lzma", "xz", "lzo", "lz4",
    /// "zstd", "none". Empty: not known.
    std::string compression;
    /// What its config says; absent: there is none, or it does not say.
    std::optional<bool> starts_on_xen_pv;
    std::optional<bool> starts_on_efi;        ///< its header or its config says so; absent: neither
    std::string initrd;                       ///< as the menu names it; empty if none
    bool has_initramfs_inside = false;        ///< its config names the source of one
    std::string config_path;                  ///< /boot/config-<version> if it exists
    Initramfs initramfs;                      ///< what `initrd` holds
    Driver nvme;                              ///< the disks of Nitro instances
    Driver ena;                               ///< the network of Nitro instances
    Driver xen_blkfront;                      ///< the disks of Xen instances
    Driver xen_netfront;                      ///< the network of Xen instances
    std::optional<NvmeTimeout> nvme_timeout;  ///< absent: no NVMe driver, or one without it

    /// What looks for its root then is in no file of its own, and nobody looks into it.
    [[nodiscard]] bool has_only_initramfs_inside() const {
        return has_initramfs_inside && initrd.empty() && initramfs.path.empty();
    }
};

/// What the first bytes of a kernel file say.
struct KernelHeader {
    KernelFormat format = KernelFormat::unknown;
    std::uint16_t protocol = 0;     ///< 0x020c; 0 unless bz_image
    std::string version;            ///< first word of the version string; empty if there is none
    std::optional<bool> is_64_bit;  ///< absent before protocol 2.12
    bool has_efi_stub = false;      ///< it is a PE program, too, which UEFI can start
    std::uint64_t payload_at = 0;   ///< byte of the file where the packed kernel is; 0: not told
};

/// Bytes of a kernel file that the header and its version string lie in: 64 setup sectors + boot.
inline constexpr std::size_t kKernelHeaderBytes = std::size_t{65} * 512;

/// `bytes` are the first kKernelHeaderBytes of the file, or all of a shorter one.
[[nodiscard]] KernelHeader parse_kernel_header(std::string_view bytes);

/// What the first bytes of a packed kernel show: see Kernel::compression. Source: the kernel's
/// lib/decompress.c and scripts/Makefile.lib.
[[nodiscard]] std::string_view payload_compression(std::string_view payload);

/// Can a kernel with this config start as a Xen PV guest? CONFIG_XEN says so up to 4.12,
/// CONFIG_XEN_PV from then on, CONFIG_X86_XEN of the forward-ported ones. Absent: no line of it.
[[nodiscard]] std::optional<bool> config_has_xen_pv(std::string_view config);

/// The option of a kernel's config that makes it a XenLinux (forward-ported, PV only) kernel:
/// "CONFIG_X86_XEN" or "CONFIG_X86_64_XEN"; empty if there is none.
[[nodiscard]] std::string_view xen_only_option(std::string_view config);

/// Does the name look like a PV-only package ("-xen", "xenU", ".el5xen", "-ec2")? Never proof: some
/// kernels of that name boot both ways.
[[nodiscard]] bool has_xen_name(std::string_view version);

/// Looks at the kernel file `path` (links followed inside the image). `initrd` is left empty, the
/// drivers and the initramfs are left to DriverFinder. Errors: those of SafeRoot (not_found,
/// corrupt for what is no regular file, refused for a link that leads out of the image).
[[nodiscard]] core::Result<Kernel> inspect_kernel(const SafeRoot& root, std::string_view path);

}  // namespace amilift::image
