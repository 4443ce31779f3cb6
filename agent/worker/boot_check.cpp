// SPDX-License-Identifier: Apache-2.0
#include "worker/boot_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// Is the kernel that boots one that UEFI starts?
bool has_uefi_kernel(const image::ImageFacts& facts) {
    const auto* kernel = facts.boot_kernel();
    return kernel != nullptr && kernel->is_64_bit && kernel->starts_on_efi.value_or(false);
}

/// What the AMI is registered for.
std::vector<image::Platform> wanted_platforms(const job::ConversionOptions& options,
                                              const image::ImageFacts& facts) {
    if (options.virtualization == job::Virtualization::paravirtual) return {image::Platform::pv};
    if (options.platform == job::Platform::xen) return {image::Platform::xen};
    if (options.layout != job::Layout::gpt || !has_uefi_kernel(facts)) {
        return {image::Platform::nitro};
    }
    return {image::Platform::nitro, image::Platform::nitro_uefi};
}

/// What keeps the kernel from its root, and that every conversion mends. For a paravirtual target
/// nothing else counts: whether PV-GRUB starts the kernel is told by the kernel's own bytes, and
/// its drivers are among the findings.
bool keeps_from_booting(const image::Reason& reason) {
    constexpr std::array<std::string_view, 6> kIds{"default-entry-does-not-boot",
                                                   "label-without-initrd",
                                                   "no-bootable-entry",
                                                   "resume-device",
                                                   "root-device-name",
                                                   "root-other-filesystem"};
    return reason.verdict != image::Verdict::ready &&
           std::ranges::find(kIds, reason.id) != kIds.end();
}

/// Nothing of the source keeps it from running on Xen, once it is converted.
bool may_run_on_xen(const image::Readiness& readiness) {
    return readiness.on(image::Platform::xen).verdict != image::Verdict::refused;
}

}  // namespace

bool can_boot_by_uefi(const Inspection& result) {
    const auto& start = result.facts.efi_start;
    return has_uefi_kernel(result.facts) && start && start->is_proven();
}

Result<> require_ready(const job::ConversionOptions& options, const Inspection& source) {
    const auto readiness = readiness_of(source);
    for (const auto platform : wanted_platforms(options, source.facts)) {
        for (const auto& reason : readiness.on(platform).reasons) {
            if (reason.verdict != image::Verdict::refused) continue;
            const bool counts_all = options.platform && platform != image::Platform::pv;
            if (!counts_all && !keeps_from_booting(reason)) continue;
            const bool names_xen =
                !options.platform && platform != image::Platform::pv && may_run_on_xen(readiness);
            return fail(
                Errc::refused,
                fmt::format("'{}': {}; the result would not run on {}", reason.where, reason.seen,
                            image::title_of(platform)),
                fmt::format("{}{}", reason.action,
                            names_xen ? "; or write 'target: {platform: xen}' into the job, for an "
                                        "AMI of Xen instance types"
                                      : ""),
                reason.id);
        }
    }
    return {};
}

Result<std::vector<std::string>> prove_default_entry(const job::ConversionOptions& options,
                                                     const Inspection& source,
                                                     const Inspection& result) {
    const auto readiness = readiness_of(result);
    std::vector<std::string> proofs;
    for (const auto platform : wanted_platforms(options, source.facts)) {
        for (const auto& reason : readiness.on(platform).reasons) {
            if (!keeps_from_booting(reason)) continue;
            return fail(Errc::refused,
                        fmt::format("the result would not run on {}: '{}': {}",
                                    image::title_of(platform), reason.where, reason.seen),
                        "change that in the source image, then convert it again", "not-ready");
        }
        proofs.push_back(fmt::format("result: the default entry names its root as {} needs it",
                                     image::title_of(platform)));
        if (platform != image::Platform::nitro_uefi) continue;
        const auto& start = result.facts.efi_start;
        if (!start || !start->is_proven()) {
            return fail(Errc::corrupt,
                        fmt::format("the result would not start by UEFI: '{}': {}",
                                    start ? start->where : "EFI system partition",
                                    start ? start->seen : "there is none"),
                        "convert it without 'target.layout: gpt', for BIOS only");
        }
        proofs.push_back(fmt::format("result: UEFI starts {}", start->seen));
    }
    return proofs;
}

}  // namespace amilift::worker
