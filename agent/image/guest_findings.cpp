// SPDX-License-Identifier: Apache-2.0
#include "image/guest_findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "image/device_files.hpp"
#include "image/editable_file.hpp"
#include "image/fstab.hpp"
#include "image/kernel_arguments.hpp"
#include "image/network.hpp"
#include "image/root_name.hpp"

namespace amilift::image {

namespace {

using core::Result;

/// Findings about entries of one file; a file of a thousand such entries is told of once.
constexpr std::size_t kMostFindings = 20;

/// cloud-init writes such a line into fstab for the first disk that it finds, and an AMI takes it
/// along.
bool is_cloud_init_mount(const FstabEntry& entry) {
    if (entry.type == "swap") return false;
    return entry.options.find("comment=cloudconfig") != std::string::npos ||
           entry.options.find("x-systemd.requires=cloud-init.service") != std::string::npos;
}

class Reporter {
  public:
    Reporter(const SafeRoot& root, ImageFacts& facts) : root_(root), facts_(facts) {}

    Result<> run() {
        report_fstab();
        AMILIFT_CHECK(report_crypttab());
        report_resume();
        report_timeout();
        AMILIFT_TRY(auto network, inspect_network(root_));
        if (boot_entry_has(network.naming)) {
            std::erase_if(network.findings, [](const Finding& finding) {
                return finding.id == "network-card-renamed";
            });
        }
        std::ranges::move(network.findings, std::back_inserter(facts_.findings));
        report_initramfs();
        AMILIFT_CHECK(report_drivers());
        AMILIFT_CHECK(report_kudzu());
        AMILIFT_CHECK(report_shutdown());
        if (facts_.selinux_enforcing) {
            add(Severity::info, "selinux-enforcing", "/etc/selinux/config", "SELinux is enforcing",
                "a file without the right label may not be read",
                "files that amilift changes keep their label, new ones get that of their "
                "directory");
        }
        return {};
    }

  private:
    void report_fstab() {
        std::size_t told = 0;
        for (const auto& entry : parse_fstab(facts_.fstab_text)) {
            if (told == kMostFindings) return;
            if (entry.file == "/") continue;
            const auto where = fmt::format("/etc/fstab:{}", entry.line);
            const auto spec = printable(entry.spec, 80);
            const auto file = printable(entry.file, 80);
            if (is_cloud_init_mount(entry)) {
                add(Severity::warning, "ephemeral-mount", where,
                    fmt::format("a line that cloud-init wrote mounts '{}' at '{}'", spec, file),
                    "the first other disk of a new instance is mounted there, a data volume too",
                    "the boot goes on without the disk; remove the line in the source image if "
                    "instances have data volumes");
            } else if (is_unstable_device(entry.spec) &&
                       entry.options.find("noauto") == std::string::npos) {
                add(Severity::info, "fstab-device-name", where,
                    fmt::format("'{}' for '{}' is named by its device", spec, file),
                    "the device has another name on Nitro: the boot would wait for it, or stop",
                    what_fstab_edit_does(facts_, entry));
            } else if (entry.spec.starts_with("PARTUUID=") ||
                       entry.spec.starts_with("PARTLABEL=")) {
                add(Severity::warning, "fstab-partition-name", where,
                    fmt::format("'{}' for '{}' is a name in a partition table", spec, file),
                    "a volume keeps it, but the partitions of the root disk get new ones",
                    "name the volume by UUID or label if it is on the root disk");
            } else {
                continue;
            }
            ++told;
        }
    }

    Result<> report_crypttab() {
        AMILIFT_TRY(const auto file, editable_file(root_, "/etc/crypttab", kConfigFileLimit));
        if (!file) return {};
        for (const auto& name : blocking_mappings(file->text)) {
            add(Severity::info, "crypttab-device-name", file->path,
                fmt::format("the encrypted volume '{}' is named by its device",
                            printable(name, 80)),
                "the device has another name on Nitro: the volume is not opened",
                "the boot goes on without it; name the volume by UUID");
            if (facts_.findings.size() > 10 * kMostFindings) break;
        }
        return {};
    }

    void report_resume() {
        if (!facts_.boot_entry || *facts_.boot_entry >= facts_.boot_entries.size()) return;
        const auto& entry = facts_.boot_entries[*facts_.boot_entry];
        const auto resume = last_value(entry.arguments, "resume");
        if (!resume || remove_device_resume(entry.arguments) == entry.arguments) return;
        add(Severity::info, "resume-device", entry.where,
            fmt::format("resume={}", printable(*resume, 80)),
            "the initramfs would wait for a device that does not exist",
            "amilift removes the argument: an AMI has nothing to resume from");
    }

    /// Is the kernel told already what the names of the cards need?
    [[nodiscard]] bool boot_entry_has(const std::vector<WantedArgument>& naming) const {
        if (!facts_.boot_entry || *facts_.boot_entry >= facts_.boot_entries.size()) return false;
        const auto& arguments = facts_.boot_entries[*facts_.boot_entry].arguments;
        return set_arguments(arguments, naming) == arguments;
    }

    /// Without it, an EBS volume that is away for 30 s turns the root read-only.
    void report_timeout() {
        const auto* kernel = facts_.boot_kernel();
        if (kernel == nullptr || *facts_.boot_entry >= facts_.boot_entries.size()) return;
        if (!kernel->nvme_timeout) return;
        const auto& timeout = *kernel->nvme_timeout;
        const WantedArgument wanted{timeout.parameter, fmt::format("{}", timeout.largest),
                                    timeout.largest};
        const auto& entry = facts_.boot_entries[*facts_.boot_entry];
        const auto arguments = std::vector{wanted};
        if (set_arguments(entry.arguments, arguments, WhenNoArgument::keep) != entry.arguments) {
            add(Severity::warning, "nvme-timeout-out-of-range", entry.where,
                fmt::format("{}={}, the driver of this kernel takes {} at most", wanted.key,
                            printable(last_value(entry.arguments, wanted.key).value_or(""), 40),
                            timeout.largest),
                "the kernel does not take the argument", "amilift sets the largest value");
        } else if (set_arguments(entry.arguments, arguments) != entry.arguments) {
            add(Severity::info, "nvme-timeout-missing", entry.where,
                fmt::format("the command line does not set {}", wanted.key),
                "a volume that does not answer for 30 seconds turns the root filesystem read-only",
                fmt::format("amilift adds {}={}", wanted.key, wanted.value));
        }
    }

    void report_initramfs() {
        const auto* kernel = facts_.boot_kernel();
        if (kernel == nullptr || kernel->initramfs.other_kernel.empty()) return;
        add(Severity::warning, "initramfs-of-another-kernel", kernel->initramfs.path,
            fmt::format("it has modules of kernel {}, and the entry that boots loads it for "
                        "kernel {}",
                        printable(kernel->initramfs.other_kernel, 80),
                        printable(kernel->version, 80)),
            "the kernel has no driver but those that are built in until its root is mounted",
            "amilift adds nothing to it; name the kernel's own initramfs in the boot menu, or make "
            "one");
    }

    Result<> report_drivers() {
        AMILIFT_TRY(const auto paths, modprobe_files(root_));
        for (const auto& path : paths) {
            AMILIFT_TRY(const auto file, editable_file(root_, path, kConfigFileLimit));
            if (!file) continue;
            const auto edited = edit_modprobe(file->text);
            if (edited.changes.empty()) continue;
            add(Severity::info, "xenlinux-driver-alias",
                fmt::format("{}:{}", path, edited.changes.front().line),
                "a card or disk is bound to a driver of XenLinux kernels",
                "other kernels do not have it", "amilift comments the alias out");
        }
        return {};
    }

    Result<> report_kudzu() {
        AMILIFT_TRY(const auto links, kudzu_links(root_));
        if (links.empty()) return {};
        add(Severity::info, "kudzu", links.front(), "kudzu looks for new hardware at each boot",
            "it would take the card of the new instance for another one and move the "
            "configuration of the network away",
            "amilift takes kudzu out of the boot");
        return {};
    }

    Result<> report_shutdown() {
        if (facts_.init == InitSystem::unknown) return {};
        for (const std::string_view path :
             {"/usr/sbin/acpid", "/sbin/acpid", "/lib/systemd/systemd-logind",
              "/usr/lib/systemd/systemd-logind"}) {
            AMILIFT_TRY(const auto kind, file_kind(root_, path));
            if (kind != FileKind::missing) return {};
        }
        add(Severity::warning, "no-clean-shutdown", "/usr/sbin/acpid",
            "the image has neither acpid nor systemd-logind",
            "an HVM instance is told to stop by its power button, which nothing listens to: EC2 "
            "waits some minutes and then switches it off",
            "install acpid in the source image, or shut down from inside");
        return {};
    }

    void add(Severity severity, std::string id, std::string where, std::string seen,
             std::string consequence, std::string action) {
        facts_.findings.push_back({severity, std::move(id), std::move(where), std::move(seen),
                                   std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    ImageFacts& facts_;
};

/// The device in the line of "/"; empty: it has another name.
std::string root_device(const ImageFacts& facts) {
    std::string device;
    for (const auto& entry : parse_fstab(facts.fstab_text)) {
        if (entry.file == "/" && entry.spec.starts_with("/dev/")) device = entry.spec;
    }
    return device;
}

}  // namespace

std::string what_fstab_edit_does(const ImageFacts& facts, const FstabEntry& entry) {
    if (entry.file == "/" || entry.spec == root_device(facts)) {
        const auto* volume = facts.disk.holder_of("/");
        const auto name =
            volume == nullptr ? std::string() : stable_root_name(volume->uuid, volume->label);
        return name.empty() ? "the root filesystem has neither UUID nor label: give it one"
                            : fmt::format("amilift names it '{}'", name);
    }
    for (const auto& [device, spec] : other_partition_devices(facts)) {
        if (device == entry.spec) return fmt::format("amilift names it '{}'", spec);
    }
    return fmt::format(
        "amilift makes the entry optional{}; name the volume by UUID or label to have it mounted",
        facts.init == InitSystem::systemd
            ? ""
            : " if the system's mount knows such entries, else it only switches off its check at "
              "boot");
}

Result<std::vector<std::string>> kudzu_links(const SafeRoot& root) {
    std::vector<std::string> out;
    for (const char level : {'2', '3', '4', '5'}) {
        const auto directory = fmt::format("/etc/rc.d/rc{}.d", level);
        AMILIFT_TRY(const auto names, config_names(root, directory));
        for (const auto& name : names) {
            if (name.size() != 8 || name[0] != 'S' || !name.ends_with("kudzu")) continue;
            auto path = fmt::format("{}/{}", directory, name);
            AMILIFT_TRY(const auto kind, link_kind(root, path));
            if (kind == FileKind::symlink) out.push_back(std::move(path));
        }
    }
    return out;
}

Result<std::vector<std::string>> modprobe_files(const SafeRoot& root) {
    std::vector<std::string> candidates{"/etc/modprobe.conf"};
    AMILIFT_TRY(const auto names, config_names(root, "/etc/modprobe.d"));
    for (const auto& name : names) candidates.push_back(fmt::format("/etc/modprobe.d/{}", name));
    std::vector<std::string> out;
    for (const auto& path : candidates) {
        AMILIFT_TRY(auto file, editable_file(root, path, kConfigFileLimit));
        if (file && std::ranges::find(out, file->path) == out.end()) {
            out.push_back(std::move(file->path));
        }
    }
    return out;
}

Result<> report_guest(const SafeRoot& root, ImageFacts& facts) {
    return Reporter(root, facts).run();
}

}  // namespace amilift::image
