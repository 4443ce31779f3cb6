// SPDX-License-Identifier: Apache-2.0
#include "image/kernel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/fd.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

// Offsets of Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
constexpr std::size_t kSetupSectors = 0x1f1;
constexpr std::size_t kBootFlag = 0x1fe;
constexpr std::size_t kMagic = 0x202;
constexpr std::size_t kProtocol = 0x206;
constexpr std::size_t kVersionPointer = 0x20e;
constexpr std::size_t kExtendedLoadFlags = 0x236;
constexpr std::size_t kPayloadOffset = 0x248;
constexpr std::size_t kPayloadLength = 0x24c;
/// Where a DOS program names the place of its PE header (PE/COFF specification).
constexpr std::size_t kPeHeaderPointer = 0x3c;

/// The code in front of the packed kernel has some KiB; a larger offset is a damaged header.
constexpr std::uint32_t kMaxPayloadOffset = 1U << 20;
constexpr std::size_t kPayloadLookBytes = 16;

/// Configs of distributions have up to 0.3 MiB.
constexpr std::size_t kConfigLimit = 1U << 20;

std::uint16_t u16_at(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) |
                                      (static_cast<unsigned char>(bytes[at + 1]) << 8));
}

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
    return u16_at(bytes, at) | (std::uint32_t{u16_at(bytes, at + 2)} << 16);
}

/// The kernel file is a PE program as well when it was built with CONFIG_EFI_STUB.
bool has_pe_header(std::string_view bytes) {
    if (!bytes.starts_with("MZ")) return false;
    const std::size_t at = u32_at(bytes, kPeHeaderPointer);
    return at < bytes.size() && bytes.substr(at).starts_with(std::string_view("PE\0\0", 4));
}

/// Byte of the file where the packed kernel is; 0 if the header does not tell (before 2.08).
std::uint64_t payload_place(std::string_view bytes, std::uint16_t protocol,
                            std::size_t setup_bytes) {
    if (protocol < 0x0208 || bytes.size() < kPayloadLength + 4) return 0;
    const auto offset = u32_at(bytes, kPayloadOffset);
    if (offset > kMaxPayloadOffset || u32_at(bytes, kPayloadLength) == 0) return 0;
    // The offset counts from the protected-mode code, behind the boot sector and the setup.
    return setup_bytes + 512 + offset;
}

/// How the kernel proper is packed. A file that is cut off, or whose header leads nowhere, is not
/// told from one that does not say.
core::Result<std::string> read_compression(const SafeRoot& root, const std::string& path,
                                           const KernelHeader& header) {
    if (header.payload_at == 0) return std::string();
    AMILIFT_TRY(const auto file, root.open_regular(path));
    std::array<std::byte, kPayloadLookBytes> bytes{};
    if (!core::read_exactly_at(file, bytes, header.payload_at, path)) return std::string();
    std::string text;
    for (const auto byte : bytes) text += static_cast<char>(byte);
    return std::string(payload_compression(text));
}

/// The first word of the version string, if it is one: letters, digits and .-_+~
std::string version_at(std::string_view bytes, std::size_t at) {
    std::string out;
    while (at < bytes.size() && out.size() < 128) {
        const char c = bytes[at++];
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '+' ||
                          c == '~';
        if (!fine) return c == ' ' || c == '\0' ? out : "";
        out += c;
    }
    return "";
}

/// "/boot/vmlinuz-3.2.0-23-virtual" -> "3.2.0-23-virtual"; "" for a name without version.
std::string version_of_name(std::string_view path) {
    auto name = path.substr(path.rfind('/') + 1);
    for (const std::string_view prefix :
         {"vmlinuz-", "vmlinux-", "bzImage-", "kernel-", "linux-"}) {
        if (name.starts_with(prefix)) {
            name.remove_prefix(prefix.size());
            if (name.ends_with(".gz")) name.remove_suffix(3);
            return std::string(name);
        }
    }
    return "";
}

core::Result<std::optional<std::string>> read_config(const SafeRoot& root,
                                                     const std::string& path) {
    AMILIFT_TRY(const auto status, root.status(path));
    if (status.kind != FileKind::regular || status.size_bytes > kConfigLimit) return std::nullopt;
    AMILIFT_TRY(auto text, root.read(path, kConfigLimit));
    return text;
}

bool has_line(std::string_view text, std::string_view wanted) {
    for (const auto& line : split_lines(text)) {
        if (line.body == wanted) return true;
    }
    return false;
}

/// What the config says of `option`: y, n ("is not set"), or nothing.
std::optional<bool> config_value(std::string_view config, std::string_view option) {
    if (has_line(config, fmt::format("{}=y", option))) return true;
    if (has_line(config, fmt::format("# {} is not set", option))) return false;
    return std::nullopt;
}

/// A kernel of a distribution has an empty archive inside, for which the config has "".
bool has_initramfs_source(std::string_view config) {
    constexpr std::string_view kOption = "CONFIG_INITRAMFS_SOURCE=";
    return std::ranges::any_of(split_lines(config), [&](const auto& line) {
        return line.body.starts_with(kOption) && line.body.size() > kOption.size() &&
               line.body.substr(kOption.size()) != "\"\"";
    });
}

/// 32 or 64 bits from what an ELF file of the image says: the program that the kernel starts.
core::Result<std::optional<bool>> userland_is_64_bit(const SafeRoot& root) {
    for (const std::string_view path : {"/sbin/init", "/bin/sh", "/bin/bash", "/bin/busybox"}) {
        AMILIFT_TRY(const auto status, root.status(path));
        if (status.kind != FileKind::regular) continue;
        AMILIFT_TRY(const auto bytes, root.read_prefix(path, 5));
        if (bytes.size() < 5 || !bytes.starts_with("\x7f"
                                                   "ELF")) {
            continue;
        }
        return bytes[4] == 2;
    }
    return std::nullopt;
}

bool name_is_64_bit(std::string_view version) {
    return version.ends_with("x86_64") || version.ends_with("amd64");
}

bool name_is_32_bit(std::string_view version) {
    constexpr std::array<std::string_view, 7> kEnds{"i386", "i486",    "i586", "i686",
                                                    "-686", "686-pae", "PAE"};
    for (const auto end : kEnds) {
        if (version.ends_with(end)) return true;
    }
    return false;
}

}  // namespace

std::string_view to_string(KernelFormat format) noexcept {
    switch (format) {
        case KernelFormat::bz_image:
            return "bzImage";
        case KernelFormat::elf:
            return "ELF";
        case KernelFormat::gzip:
            return "gzip";
        case KernelFormat::unknown:
            break;
    }
    return "unknown";
}

KernelHeader parse_kernel_header(std::string_view bytes) {
    KernelHeader header;
    if (bytes.starts_with("\x1f\x8b")) {
        header.format = KernelFormat::gzip;
        return header;
    }
    if (bytes.starts_with("\x7f"
                          "ELF")) {
        header.format = KernelFormat::elf;
        return header;
    }
    constexpr std::size_t kHeaderEnd = kExtendedLoadFlags + 2;
    if (bytes.size() < kHeaderEnd || u16_at(bytes, kBootFlag) != 0xaa55 ||
        bytes.substr(kMagic, 4) != "HdrS") {
        return header;
    }
    header.format = KernelFormat::bz_image;
    header.protocol = u16_at(bytes, kProtocol);
    const auto pointer = u16_at(bytes, kVersionPointer);
    // 0 stands for 4: images of before the field existed.
    const unsigned setup = static_cast<unsigned char>(bytes[kSetupSectors]);
    const std::size_t setup_bytes = std::size_t{setup == 0 ? 4 : setup} * 512;
    header.has_efi_stub = has_pe_header(bytes);
    header.payload_at = payload_place(bytes, header.protocol, setup_bytes);
    if (pointer != 0 && pointer < setup_bytes) {
        header.version = version_at(bytes, std::size_t{pointer} + 0x200);
    }
    if (header.protocol >= 0x020c) header.is_64_bit = (u16_at(bytes, kExtendedLoadFlags) & 1U) != 0;
    return header;
}

std::string_view payload_compression(std::string_view payload) {
    struct Magic {
        std::string_view bytes;
        std::string_view name;
    };
    constexpr std::array<Magic, 9> kMagics{{{"\x1f\x8b", "gzip"},
                                            {"\x1f\x9e", "gzip"},
                                            {"BZh", "bzip2"},
                                            {{"\x5d\0\0", 3}, "lzma"},
                                            {{"\xfd\x37zXZ\0", 6}, "xz"},
                                            {"\x89LZO", "lzo"},
                                            {{"\x02\x21\x4c\x18", 4}, "lz4"},
                                            {{"\x28\xb5\x2f\xfd", 4}, "zstd"},
                                            {"\x7f"
                                             "ELF",
                                             "none"}}};
    for (const auto& magic : kMagics) {
        if (payload.starts_with(magic.bytes)) return magic.name;
    }
    return "";
}

std::optional<bool> config_has_xen_pv(std::string_view config) {
    if (!xen_only_option(config).empty()) return true;
    if (const auto pv = config_value(config, "CONFIG_XEN_PV")) return pv;
    return config_value(config, "CONFIG_XEN");
}

std::string_view xen_only_option(std::string_view config) {
    if (has_line(config, "CONFIG_X86_64_XEN=y")) return "CONFIG_X86_64_XEN";
    if (has_line(config, "CONFIG_X86_XEN=y")) return "CONFIG_X86_XEN";
    return "";
}

bool has_xen_name(std::string_view version) {
    return version.ends_with("xen") || version.ends_with("xenU") || version.ends_with("-xen0") ||
           version.ends_with("-ec2") || version.ends_with("-xen-amd64") ||
           version.ends_with("-xen-686");
}

core::Result<Kernel> inspect_kernel(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const auto real, root.resolve(path));
    AMILIFT_TRY(const auto bytes, root.read_prefix(real, kKernelHeaderBytes));
    const auto header = parse_kernel_header(bytes);

    Kernel kernel;
    kernel.path = path;
    kernel.format = header.format;
    const auto name_version = version_of_name(real);
    kernel.version = header.version.empty() ? name_version : header.version;

    std::optional<std::string> config;
    for (const auto& version : {kernel.version, name_version}) {
        if (version.empty() || config) continue;
        const auto config_path = "/boot/config-" + version;
        AMILIFT_TRY(config, read_config(root, config_path));
        if (config) kernel.config_path = config_path;
    }

    AMILIFT_TRY(kernel.compression, read_compression(root, real, header));
    if (config) {
        kernel.starts_on_xen_pv = config_has_xen_pv(*config);
        kernel.starts_on_efi = config_value(*config, "CONFIG_EFI");
        kernel.has_initramfs_inside = has_initramfs_source(*config);
    }
    if (header.has_efi_stub) kernel.starts_on_efi = true;

    switch (header.format) {
        case KernelFormat::bz_image:
            break;
        case KernelFormat::elf:
        case KernelFormat::gzip:
            kernel.cannot_boot_hvm = fmt::format(
                "the file is {} without a Linux boot header, which only Xen PV can start",
                header.format == KernelFormat::elf ? "an ELF image" : "gzip data");
            break;
        case KernelFormat::unknown:
            kernel.cannot_boot_hvm =
                "the file has no Linux boot header (55 AA at 0x1FE, 'HdrS' at 0x202)";
            break;
    }
    if (const auto option = config ? xen_only_option(*config) : ""; !option.empty()) {
        kernel.cannot_boot_hvm =
            fmt::format("{} has {}=y: a kernel for Xen PV only", kernel.config_path, option);
    }

    if (header.is_64_bit) {
        kernel.is_64_bit = *header.is_64_bit;
    } else if (config && has_line(*config, "CONFIG_X86_64=y")) {
        kernel.is_64_bit = true;
    } else if (config && has_line(*config, "CONFIG_X86_32=y")) {
        kernel.is_64_bit = false;
    } else if (name_is_64_bit(kernel.version) || name_is_32_bit(kernel.version)) {
        kernel.is_64_bit = name_is_64_bit(kernel.version);
    } else {
        AMILIFT_TRY(const auto userland, userland_is_64_bit(root));
        kernel.is_64_bit = userland.value_or(true);
    }
    return kernel;
}

}  // namespace amilift::image
