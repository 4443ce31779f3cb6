// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/facts.hpp"

namespace amilift::image {

/// Where an image may run on EC2.
enum class Platform {
    pv,         ///< Xen PV, started by PV-GRUB
    xen,        ///< Xen HVM, started by its BIOS
    nitro,      ///< Nitro, started by its BIOS: NVMe disks, ENA network
    nitro_uefi  ///< Nitro, started by UEFI
};
inline constexpr std::array<Platform, 4> kPlatforms{Platform::pv, Platform::xen, Platform::nitro,
                                                    Platform::nitro_uefi};
/// "pv", "xen", "nitro", "nitro-uefi": as the command line and JSON name it.
[[nodiscard]] std::string_view to_string(Platform platform) noexcept;
/// "PV", "Xen HVM (BIOS)", "Nitro (BIOS)", "Nitro (UEFI)".
[[nodiscard]] std::string_view title_of(Platform platform) noexcept;

/// Can the image run there? From good to bad, so that the worst one counts.
enum class Verdict {
    ready,       ///< as it is
    repairable,  ///< once amilift has converted it
    refused      ///< not without work that only its owner can do
};
[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

/// One thing that matters for a platform. With the verdict `ready` it is a remark.
struct Reason {
    Verdict verdict = Verdict::ready;
    std::string id;     ///< stable; that of the finding where there is one
    std::string where;  ///< "/boot/grub/menu.lst:12"; may be empty
    std::string seen;
    std::string action;  ///< what amilift does, or what the owner can do; may be empty
};

struct PlatformVerdict {
    Verdict verdict = Verdict::ready;  ///< the worst of the reasons
    std::vector<Reason> reasons;       ///< the worst first, else in order of discovery
};
/// By the number of the Platform.
using PlatformVerdicts = std::array<PlatformVerdict, kPlatforms.size()>;

/// A boot entry with a kernel, and what the kernel can do there.
struct EntryReadiness {
    std::size_t entry = 0;   ///< index in ImageFacts::boot_entries
    std::size_t kernel = 0;  ///< index in ImageFacts::kernels
    bool boots = false;      ///< it is the one that boots on HVM
    /// Its drivers were looked for: not for a kernel that cannot boot HVM or lacks its initrd.
    bool knows_drivers = true;
    PlatformVerdicts platforms;
};

/// What the disk adds: this library does not read partition tables.
struct DiskForm {
    bool has_partition_table = false;
    bool has_efi_partition = false;
};

/// Counts a reason on these platforms; the worst reasons come first.
void add_reason(PlatformVerdicts& verdicts, std::span<const Platform> platforms,
                const Reason& reason);

struct Readiness {
    PlatformVerdicts platforms;           ///< of the disk, the system and the entry that boots
    std::vector<EntryReadiness> entries;  ///< of every entry with a kernel, in the menu's order

    [[nodiscard]] const PlatformVerdict& on(Platform platform) const {
        return platforms[static_cast<std::size_t>(platform)];
    }
};

/// Judges what inspect_image() has seen, without looking at the image again. Sources: the EC2 user
/// guide on instance types of the Nitro system, on PV-GRUB and on boot modes; the kernel's
/// Documentation/arch/x86/boot.rst.
[[nodiscard]] Readiness assess(const ImageFacts& facts, const DiskForm& disk);

}  // namespace amilift::image
