// SPDX-License-Identifier: Apache-2.0
#include "app/inspection.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "app/output.hpp"
#include "image/kernel_arguments.hpp"

namespace amilift::app {
namespace {

void print_reason(const image::Reason& reason) {
    fmt::print("    {}{}{}: {}", reason.verdict == image::Verdict::ready ? "note: " : "",
               printable(reason.id), reason.where.empty() ? "" : " at " + printable(reason.where),
               printable(reason.seen));
    if (!reason.action.empty()) fmt::print("; {}", printable(reason.action));
    fmt::print("\n");
}

void print_platforms(const InspectionReport& report) {
    for (const auto platform : image::kPlatforms) {
        const auto& verdict = report.readiness.on(platform);
        fmt::print("{} {:15} {}\n", platform == report.platform ? "*" : " ",
                   image::title_of(platform), image::to_string(verdict.verdict));
        for (const auto& reason : verdict.reasons) print_reason(reason);
    }
}

void print_entry(const InspectionReport& report, const image::EntryReadiness& readiness) {
    const auto& facts = report.seen.facts;
    const auto& entry = facts.boot_entries[readiness.entry];
    const auto& kernel = facts.kernels[readiness.kernel];
    fmt::print("\n{} entry {} '{}' at {}\n", readiness.boots ? "*" : " ", readiness.entry,
               printable(entry.title), printable(entry.where));
    fmt::print("    kernel       {}: {}\n", printable(kernel.path), describe_kernel(kernel));
    if (kernel.cannot_boot_hvm) {
        fmt::print("                 cannot boot HVM: {}\n", printable(*kernel.cannot_boot_hvm));
    }
    fmt::print(
        "    initramfs    {}\n",
        entry.initrds.empty()
            ? "none"
            : fmt::format("{}: {}", printable(fmt::format("{}", fmt::join(entry.initrds, " "))),
                          describe_initramfs(kernel.initramfs)));
    fmt::print("    arguments    {}\n", printable(entry.arguments));
    fmt::print("    root         {}\n", describe_root(entry));
    for (const auto& [name, text] : driver_lines(readiness, kernel)) {
        fmt::print("    {:12} {}\n", name, text);
    }
    for (const auto platform : image::kPlatforms) {
        const auto& verdict = readiness.platforms[static_cast<std::size_t>(platform)];
        std::string ids;
        for (const auto& reason : verdict.reasons) {
            if (reason.verdict == image::Verdict::ready) continue;
            ids += (ids.empty() ? ": " : ", ") + reason.id;
        }
        fmt::print("    {:15} {}{}\n", image::title_of(platform), image::to_string(verdict.verdict),
                   ids);
    }
}

void print_other_entries(const InspectionReport& report) {
    const auto& facts = report.seen.facts;
    for (std::size_t i = 0; i < facts.boot_entries.size(); ++i) {
        if (std::ranges::find(report.readiness.entries, i, &image::EntryReadiness::entry) !=
            report.readiness.entries.end()) {
            continue;
        }
        const auto& entry = facts.boot_entries[i];
        fmt::print("\n  entry {} '{}' at {}\n    {}\n", i, printable(entry.title),
                   printable(entry.where),
                   entry.kernel.empty()
                       ? "starts no Linux kernel"
                       : fmt::format("kernel {}: not looked at", printable(entry.kernel)));
    }
}

}  // namespace

InspectionReport report_on(std::string source, image::Platform platform, worker::Inspection seen) {
    InspectionReport report{std::move(source), platform, std::move(seen), {}};
    report.readiness = worker::readiness_of(report.seen);
    return report;
}

InspectionReport report_on(image::Platform platform, AmiInspection seen) {
    auto report = report_on(seen.ami.id, platform, std::move(seen.root));
    auto& facts = report.seen.facts;
    for (auto& [finding, verdict, platforms] : ami_findings(seen.ami, facts)) {
        image::add_reason(report.readiness.platforms, platforms,
                          {verdict, finding.id, finding.where, finding.seen, finding.action});
        facts.findings.push_back(std::move(finding));
    }
    report.ami = std::move(seen.ami);
    return report;
}

std::string_view layout_name(dev::DiskLayout layout) {
    switch (layout) {
        case dev::DiskLayout::bare_filesystem:
            return "bare filesystem";
        case dev::DiskLayout::mbr:
            return "mbr";
        case dev::DiskLayout::gpt:
            return "gpt";
        case dev::DiskLayout::empty:
            return "empty";
        case dev::DiskLayout::unknown:
            break;
    }
    return "unknown";
}

std::string describe_system(const image::ImageFacts& facts) {
    return fmt::format("{}, init: {}{}",
                       facts.os_pretty_name.empty() ? "unknown" : printable(facts.os_pretty_name),
                       image::to_string(facts.init),
                       facts.selinux_enforcing ? ", SELinux enforcing" : "");
}

std::string describe_kernel(const image::Kernel& kernel) {
    return fmt::format("{}, {}{}, {} bits",
                       kernel.version.empty() ? "version unknown" : printable(kernel.version),
                       image::to_string(kernel.format),
                       kernel.compression.empty() ? "" : ", packed: " + kernel.compression,
                       kernel.is_64_bit ? 64 : 32);
}

std::string describe_initramfs(const image::Initramfs& initramfs) {
    if (!initramfs.problem.empty()) return "not readable: " + printable(initramfs.problem);
    if (initramfs.segments.empty()) return "not looked into";
    return fmt::format("made by {}; {}", image::to_string(initramfs.builder),
                       printable(fmt::format("{}", fmt::join(initramfs.segments, ", "))));
}

std::string describe_driver(const image::Driver& driver) {
    if (!driver.exists()) return "none";
    auto text = driver.is_built_in()
                    ? std::string("built in")
                    : fmt::format("module {}, {}in the initramfs", printable(driver.place),
                                  driver.in_initramfs ? "" : "not ");
    if (!driver.version.empty()) text += ", version " + printable(driver.version);
    if (!driver.blocked_by.empty()) text += ", blocked by " + printable(driver.blocked_by);
    return text;
}

std::string describe_timeout(const image::Kernel& kernel) {
    if (!kernel.nvme_timeout) return "no parameter known";
    return fmt::format("{}, at most {} s", printable(kernel.nvme_timeout->parameter),
                       kernel.nvme_timeout->largest);
}

std::vector<std::pair<std::string_view, std::string>> driver_lines(
    const image::EntryReadiness& readiness, const image::Kernel& kernel) {
    if (!readiness.knows_drivers) return {{"drivers", "not looked for"}};
    return {{"nvme", describe_driver(kernel.nvme)},
            {"ena", describe_driver(kernel.ena)},
            {"xen-blkfront", describe_driver(kernel.xen_blkfront)},
            {"xen-netfront", describe_driver(kernel.xen_netfront)},
            {"io_timeout", describe_timeout(kernel)}};
}

std::string describe_root(const image::BootEntry& entry) {
    const auto root = image::last_value(entry.arguments, "root");
    return root ? printable(*root) : "not named";
}

void print_inspection(const InspectionReport& report) {
    const auto& facts = report.seen.facts;
    const auto& filesystem = report.seen.filesystem;
    fmt::print(
        "{}: {}, {} of {}{}\n", printable(report.source), layout_name(report.seen.disk.layout),
        dev::to_string(filesystem.type), format_bytes(filesystem.size_bytes),
        filesystem.label.empty() ? "" : fmt::format(", label '{}'", printable(filesystem.label)));
    if (report.ami) fmt::print("AMI: {}\n", describe_ami(*report.ami));
    for (const auto& p : report.seen.partitions) {
        const auto* volume = facts.disk.partition(p.number);
        const bool is_mounted = volume != nullptr && !volume->mount_point.empty();
        fmt::print("partition {}: {}, {}{}\n", p.number, format_bytes(p.size_bytes),
                   p.content == dev::PartitionContent::filesystem
                       ? dev::to_string(p.filesystem.type)
                       : dev::to_string(p.content),
                   is_mounted ? " at " + printable(volume->mount_point) : "");
    }
    if (!report.seen.partitions.empty()) {
        fmt::print("boot code: {}{}\n", image::to_string(facts.disk.code),
                   facts.disk.evidence.empty() ? "" : fmt::format(" ({})", facts.disk.evidence));
    }
    fmt::print("system: {}\n", describe_system(facts));
    fmt::print("menu: {}\n\n", facts.menu_path.empty()
                                   ? "none"
                                   : fmt::format("{} ({})", printable(facts.menu_path),
                                                 image::to_string(facts.menu_kind)));
    print_platforms(report);
    for (const auto& entry : report.readiness.entries) print_entry(report, entry);
    print_other_entries(report);
    if (!facts.findings.empty()) fmt::print("\n");
    for (const auto& f : facts.findings) {
        fmt::print("{}: {}: {}: {}", image::to_string(f.severity), printable(f.id),
                   printable(f.where), printable(f.seen));
        if (!f.consequence.empty()) fmt::print("; {}", printable(f.consequence));
        if (!f.action.empty()) fmt::print("; {}", printable(f.action));
        fmt::print("\n");
    }
}

}  // namespace amilift::app
