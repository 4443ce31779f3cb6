// SPDX-License-Identifier: Apache-2.0
#include "app/ami_inspection.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "app/account.hpp"
#include "app/disk_worker.hpp"
#include "app/helper_control.hpp"
#include "app/local_instance.hpp"
#include "app/output.hpp"
#include "app/version.hpp"
#include "core/command.hpp"
#include "flow/attached_root.hpp"
#include "flow/preflight.hpp"
#include "image/pv_boot.hpp"
#include "worker/client.hpp"

namespace amilift::app {
namespace {

using core::Errc;
using core::Result;

/// On standard error: standard output is for the report.
class Narrator final : public flow::Observer {
  public:
    void on_update(const flow::Record& /*record*/, const flow::Update& update) override {
        if (update.kind == flow::Update::Kind::progress) return;
        fmt::print(stderr, "amilift: {}\n", printable(update.text));
    }
};

Result<flow::HelperIdentity> this_instance(aws::Imds& imds, const std::string& ami) {
    auto helper = identify_helper(imds);
    if (helper) return helper;
    return core::fail(
        Errc::invalid_input,
        fmt::format("'{}' can be inspected on an EC2 instance only, and this is none: {}", ami,
                    helper.error().what),
        "run this on an instance in the AMI's Region that has the permissions of amilift's "
        "helper policy, or inspect a copy of the disk");
}

std::string inspection_id(const std::string& instance, const core::Clock& clock) {
    const auto now =
        std::chrono::duration_cast<std::chrono::seconds>(clock.wall().time_since_epoch());
    return fmt::format("inspect-{}-{}-{}", instance, now.count(), ::getpid());
}

/// What PV-GRUB would start; null where that is not known.
const image::Kernel* paravirtual_kernel(const image::ImageFacts& facts) {
    const auto entry = image::pv_grub_entry(facts);
    if (!entry || *entry >= facts.kernel_of_entry.size()) return nullptr;
    const auto kernel = facts.kernel_of_entry[*entry];
    return kernel ? &facts.kernels[*kernel] : nullptr;
}

std::string setting(std::string_view name, const std::string& value) {
    return value.empty() ? std::string() : fmt::format(", {} {}", name, value);
}

}  // namespace

Result<AmiInspection> inspect_ami(const InspectOptions& options, const core::Cancel& cancel) {
    core::SystemClock clock;
    // Removing the volume needs EC2 after Ctrl-C, too; a second one ends the process.
    const core::Cancel never;
    Account account(clock, never, {"", options.endpoint, options.imds_url});
    AMILIFT_TRY(const auto helper, this_instance(account.imds(), options.source));
    AMILIFT_CHECK(account.open());

    LateDeviceMonitor devices;
    // It is asked to convert nothing.
    SandboxedDiskWorker worker{std::string()};
    core::ProcessRunner commands;
    core::Cancel no_deadline;
    SystemHelperControl control(commands, no_deadline, "");
    Narrator narrator;
    flow::Services services{
        account.ec2(),
        devices,
        worker,
        control,
        clock,
        never,
        cancel,
        narrator,
        []() -> Result<job::Job> { return core::fail(Errc::internal, "an inspection has no job"); },
        helper,
        "",
        std::string(kVersion),
        false,
        {}};
    const auto id = inspection_id(helper.instance_id, clock);
    fmt::print(stderr, "amilift: its volume has the tag amilift:job={}\n", id);
    std::optional<AmiInspection> seen;
    AMILIFT_CHECK(flow::with_attached_root(
        services, options.source, id, [&](const flow::AttachedRoot& root) -> Result<> {
            worker::ConversionObserver silent;
            worker::WorkerClient client;
            AMILIFT_TRY(
                auto inspection,
                client.inspect({{root.path, root.volume, root.device}, true}, silent, cancel));
            seen = AmiInspection{root.image, std::move(inspection)};
            return {};
        }));
    return *std::move(seen);
}

std::vector<AmiFinding> ami_findings(const aws::Image& ami, const image::ImageFacts& facts) {
    using image::Platform;
    using image::Severity;
    using image::Verdict;
    std::vector<AmiFinding> findings;
    const auto add = [&](Verdict verdict, std::vector<Platform> platforms, Severity severity,
                         std::string id, std::string seen, std::string consequence,
                         std::string action) {
        findings.push_back({{severity, std::move(id), ami.id, std::move(seen),
                             std::move(consequence), std::move(action)},
                            verdict,
                            std::move(platforms)});
    };
    const std::vector<Platform> nitro{Platform::nitro, Platform::nitro_uefi};
    const std::vector<Platform> hvm{Platform::xen, Platform::nitro, Platform::nitro_uefi};
    const auto* kernel = facts.boot_kernel();
    const bool has_ena = kernel != nullptr && kernel->ena.is_usable();
    const bool is_hvm = ami.virtualization_type == "hvm";
    if (is_hvm) {
        add(Verdict::repairable, {Platform::pv}, Severity::info, "ami-is-hvm",
            "the AMI is registered as hvm", "EC2 starts it as no paravirtual instance",
            "a job with target.virtualization: paravirtual makes a paravirtual AMI of it");
    } else {
        add(Verdict::repairable, hvm, Severity::info, "ami-is-paravirtual",
            "the AMI is registered as paravirtual",
            "EC2 starts it on no HVM instance type, Nitro among them",
            "a converted AMI is registered as hvm");
    }
    if (ami.architecture == "i386") {
        add(Verdict::refused, nitro, Severity::warning, "not-64-bit",
            "the AMI is registered as i386, which a converted AMI keeps",
            "Nitro instance types take x86_64 only",
            "register its snapshot as x86_64, if the system has 64 bits");
    }
    if (const auto* by_pv_grub = paravirtual_kernel(facts);
        by_pv_grub != nullptr && by_pv_grub->is_64_bit != (ami.architecture != "i386")) {
        add(Verdict::refused, {Platform::pv}, Severity::warning, "aki-does-not-fit",
            fmt::format("the AMI is {}, the kernel that PV-GRUB would start has {} bits",
                        ami.architecture, by_pv_grub->is_64_bit ? 64 : 32),
            "PV-GRUB starts kernels of its own width only",
            "make a kernel of the AMI's architecture the default of the menu");
    }
    if (is_hvm && has_ena && !ami.ena_support) {
        add(Verdict::repairable, nitro, Severity::warning, "ena-not-set",
            "the kernel that boots has the ENA driver, the AMI has no EnaSupport",
            "EC2 starts it on no Nitro instance type", "a converted AMI gets EnaSupport");
    }
    if (ami.ena_support && kernel != nullptr && !has_ena) {
        add(Verdict::refused, nitro, Severity::warning, "ena-not-proven",
            "the AMI has EnaSupport, the kernel that boots has no ENA driver",
            "its instances cannot be reached on Nitro instance types",
            "a converted AMI gets no EnaSupport");
    }
    if (flow::has_billing_codes(ami)) {
        add(Verdict::ready, {}, Severity::info, "billing-codes",
            fmt::format("billed as '{}' ({})", ami.usage_operation, ami.platform_details),
            "only a volume that is made from its snapshot keeps that",
            is_hvm ? "an HVM AMI is converted on such a volume"
                   : "convert with target.layout: in-place");
    }
    if (!ami.kernel_id.empty()) {
        add(Verdict::ready, {}, Severity::info, "kernel-id",
            fmt::format("the AMI has the kernel {}", ami.kernel_id),
            "if that is no PV-GRUB, the kernel that runs is not in the image", "");
    }
    if (!ami.ramdisk_id.empty()) {
        add(Verdict::ready, {}, Severity::warning, "ramdisk-id",
            fmt::format("the AMI has the ramdisk {}", ami.ramdisk_id),
            "its kernel is an AKI and not in the image: another one boots after a conversion",
            "boot the image's own kernel through PV-GRUB first");
    }
    // Xen instance types have a BIOS only: "uefi-preferred" does not concern them. Of the others,
    // those that have UEFI use it.
    const auto refuse = [&](const std::string& id, std::string seen, std::string consequence) {
        const bool has_bios = ami.boot_mode == "uefi-preferred";
        const std::string action = has_bios ? "a converted AMI gets the boot mode legacy-bios"
                                            : "register the AMI with another boot mode";
        add(Verdict::refused, {Platform::nitro_uefi}, Severity::warning, id, seen, consequence,
            action);
        if (has_bios) {
            add(Verdict::repairable, {Platform::nitro}, Severity::warning, id, std::move(seen),
                std::move(consequence), action);
        }
    };
    const bool by_uefi = ami.boot_mode.starts_with("uefi");
    const auto& start = facts.efi_start;
    if (by_uefi && !facts.disk.has_system_partition) {
        refuse("uefi-without-partition",
               fmt::format("the AMI has the boot mode {}, its root no EFI system partition",
                           ami.boot_mode),
               "UEFI has nothing to start");
    } else if (by_uefi && start && !start->is_proven()) {
        refuse(
            "uefi-start-unproven",
            fmt::format("the AMI has the boot mode {}, and {}: {}", ami.boot_mode, start->where,
                        start->seen),
            "if it starts by UEFI, then by variables that an AMI may carry and nobody can look at");
    }
    if (ami.boot_mode == "uefi") {
        add(Verdict::refused, {Platform::xen, Platform::nitro}, Severity::info, "boot-mode",
            "the AMI has the boot mode uefi, which a converted AMI keeps",
            "EC2 starts it by UEFI only, on Nitro instance types that have it",
            "if the disk starts by BIOS too, register its snapshot as uefi-preferred");
    } else if (is_hvm && ami.boot_mode != "uefi-preferred") {
        add(Verdict::refused, {Platform::nitro_uefi}, Severity::info, "boot-mode",
            fmt::format("the AMI has {}, which a converted AMI keeps",
                        ami.boot_mode.empty() ? "no boot mode, and legacy-bios is EC2's default"
                                              : "the boot mode " + ami.boot_mode),
            "EC2 starts it by BIOS",
            "if the disk starts by UEFI, register its snapshot as uefi-preferred");
    }
    return findings;
}

std::string describe_ami(const aws::Image& ami) {
    return fmt::format(
        "'{}', {}, {}{}{}{}{}{}", printable(ami.name), printable(ami.virtualization_type),
        printable(ami.architecture), setting("kernel", printable(ami.kernel_id)),
        setting("boot mode", printable(ami.boot_mode)), setting("TPM", printable(ami.tpm_support)),
        setting("IMDS", printable(ami.imds_support)),
        ami.ena_support ? ", EnaSupport" : ", no EnaSupport");
}

}  // namespace amilift::app
