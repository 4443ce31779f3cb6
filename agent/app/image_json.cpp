// SPDX-License-Identifier: Apache-2.0
#include "app/image_json.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/output.hpp"

namespace amilift::app {
namespace {

using Json = nlohmann::ordered_json;

const char* layout_name(dev::DiskLayout layout) {
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
            return "unknown";
    }
    return "unknown";
}

Json inspection_body(const worker::Inspection& seen) {
    Json kernels = Json::array();
    for (const auto& k : seen.facts.kernels) {
        kernels.push_back({{"path", k.path},
                           {"version", k.version},
                           {"can_boot_hvm", !k.cannot_boot_hvm.has_value()},
                           {"reason", k.cannot_boot_hvm.value_or("")},
                           {"initrd", k.initrd}});
    }
    Json entries = Json::array();
    for (std::size_t i = 0; i < seen.facts.boot_entries.size(); ++i) {
        const auto& e = seen.facts.boot_entries[i];
        entries.push_back({{"title", e.title},
                           {"where", e.where},
                           {"kernel", e.kernel},
                           {"arguments", e.arguments},
                           {"initrds", e.initrds},
                           {"boots", seen.facts.boot_entry == i}});
    }
    Json findings = Json::array();
    for (const auto& f : seen.facts.findings) {
        findings.push_back({{"severity", image::to_string(f.severity)},
                            {"id", f.id},
                            {"where", f.where},
                            {"seen", f.seen},
                            {"consequence", f.consequence},
                            {"action", f.action}});
    }
    Json partitions = Json::array();
    for (const auto& p : seen.partitions) {
        const auto* volume = seen.facts.disk.partition(p.number);
        partitions.push_back({{"number", p.number},
                              {"offset_bytes", p.offset_bytes},
                              {"size_bytes", p.size_bytes},
                              {"type", p.type},
                              {"holds", dev::to_string(p.content)},
                              {"filesystem", dev::to_string(p.filesystem.type)},
                              {"uuid", p.filesystem.uuid},
                              {"mount_point", volume == nullptr ? "" : volume->mount_point}});
    }
    return {{"layout", layout_name(seen.disk.layout)},
            {"partitions", partitions},
            {"boot_code", image::to_string(seen.facts.disk.code)},
            {"filesystem",
             {{"type", dev::to_string(seen.filesystem.type)},
              {"size_bytes", seen.filesystem.size_bytes},
              {"uuid", seen.filesystem.uuid},
              {"label", seen.filesystem.label}}},
            {"os",
             {{"id", seen.facts.os_id},
              {"version", seen.facts.os_version},
              {"name", seen.facts.os_pretty_name}}},
            {"menu", {{"path", seen.facts.menu_path}, {"entries", entries}}},
            {"kernels", kernels},
            {"findings", findings}};
}

Json plan_body(const worker::PlanText& plan) {
    return {{"inspection", inspection_body(plan.inspection)},
            {"used_bytes", plan.used_bytes},
            {"target_bytes", plan.target_bytes},
            {"steps", plan.steps}};
}

Json header() {
    return {{"version", 1}, {"ok", true}};
}

}  // namespace

Json to_json(const worker::Inspection& inspection) {
    auto document = header();
    document.update(inspection_body(inspection));
    return document;
}

Json to_json(const worker::PlanText& plan) {
    auto document = header();
    document.update(plan_body(plan));
    return document;
}

Json to_json(const worker::ConversionResult& result) {
    auto document = header();
    document["plan"] = plan_body(result.plan);
    document["manifest"] = Json::parse(result.manifest.to_json(), nullptr, false);
    document["proofs"] = result.proofs;
    document["copy"] = {{"read_bytes", result.copy.read_bytes},
                        {"written_bytes", result.copy.written_bytes},
                        {"zero_bytes", result.copy.zero_bytes},
                        {"seconds", result.copy.seconds},
                        {"engine", result.copy.engine}};
    return document;
}

void print_inspection(const std::string& source, const worker::Inspection& seen) {
    const auto& facts = seen.facts;
    fmt::print("{}: {}, {} of {}", printable(source), layout_name(seen.disk.layout),
               dev::to_string(seen.filesystem.type), format_bytes(seen.filesystem.size_bytes));
    if (!seen.filesystem.label.empty()) {
        fmt::print(", label '{}'", printable(seen.filesystem.label));
    }
    for (const auto& p : seen.partitions) {
        fmt::print("\npartition {}: {}, {}", p.number, format_bytes(p.size_bytes),
                   p.content == dev::PartitionContent::filesystem
                       ? dev::to_string(p.filesystem.type)
                       : dev::to_string(p.content));
        const auto* volume = facts.disk.partition(p.number);
        if (volume != nullptr && !volume->mount_point.empty()) {
            fmt::print(" at {}", printable(volume->mount_point));
        }
    }
    if (!seen.partitions.empty()) {
        fmt::print("\nboot code: {}", image::to_string(facts.disk.code));
        if (!facts.disk.evidence.empty()) fmt::print(" ({})", facts.disk.evidence);
    }
    fmt::print("\nsystem: {}\n",
               facts.os_pretty_name.empty() ? "unknown" : printable(facts.os_pretty_name));
    if (!facts.menu_path.empty()) {
        fmt::print("menu: {} ({})\n", printable(facts.menu_path),
                   image::to_string(facts.menu_kind));
    }
    for (std::size_t i = 0; i < facts.boot_entries.size(); ++i) {
        const auto& e = facts.boot_entries[i];
        fmt::print("  {} {} '{}': {}\n", facts.boot_entry == i ? "*" : " ", i, printable(e.title),
                   printable(e.kernel));
    }
    for (const auto& k : facts.kernels) {
        fmt::print("kernel {}: {}\n", printable(k.path),
                   k.cannot_boot_hvm ? "cannot boot HVM: " + printable(*k.cannot_boot_hvm)
                                     : "can boot HVM");
    }
    for (const auto& f : facts.findings) {
        fmt::print("{}: {}: {}: {}", image::to_string(f.severity), f.id, printable(f.where),
                   printable(f.seen));
        if (!f.consequence.empty()) fmt::print("; {}", printable(f.consequence));
        if (!f.action.empty()) fmt::print("; {}", printable(f.action));
        fmt::print("\n");
    }
}

}  // namespace amilift::app
