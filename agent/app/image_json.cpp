// SPDX-License-Identifier: Apache-2.0
#include "app/image_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "image/kernel_arguments.hpp"

namespace amilift::app {
namespace {

using Json = nlohmann::ordered_json;

/// Absent values are null, so that every member is always there.
template <class T>
Json optional(const std::optional<T>& value) {
    return value ? Json(*value) : Json(nullptr);
}

Json driver_body(const image::Driver& driver) {
    return {{"place", driver.place},
            {"in_initramfs", driver.in_initramfs},
            {"blocked_by", driver.blocked_by},
            {"version", driver.version}};
}

Json kernel_body(const image::Kernel& k) {
    Json timeout;
    if (k.nvme_timeout) {
        timeout = {{"parameter", k.nvme_timeout->parameter}, {"largest", k.nvme_timeout->largest}};
    }
    return {{"path", k.path},
            {"version", k.version},
            {"format", image::to_string(k.format)},
            {"compression", k.compression},
            {"is_64_bit", k.is_64_bit},
            {"config_path", k.config_path},
            {"can_boot_hvm", !k.cannot_boot_hvm.has_value()},
            {"reason", k.cannot_boot_hvm.value_or("")},
            {"starts_on_xen_pv", optional(k.starts_on_xen_pv)},
            {"starts_on_efi", optional(k.starts_on_efi)},
            {"initrd", k.initrd},
            {"initramfs",
             {{"path", k.initramfs.path},
              {"builder", image::to_string(k.initramfs.builder)},
              {"segments", k.initramfs.segments},
              {"problem", k.initramfs.problem}}},
            {"drivers",
             {{"nvme", driver_body(k.nvme)},
              {"ena", driver_body(k.ena)},
              {"xen-blkfront", driver_body(k.xen_blkfront)},
              {"xen-netfront", driver_body(k.xen_netfront)}}},
            {"nvme_timeout", timeout}};
}

Json platforms_body(const image::PlatformVerdicts& verdicts) {
    Json body = Json::object();
    for (const auto platform : image::kPlatforms) {
        const auto& judged = verdicts[static_cast<std::size_t>(platform)];
        Json reasons = Json::array();
        for (const auto& r : judged.reasons) {
            reasons.push_back({{"verdict", image::to_string(r.verdict)},
                               {"id", r.id},
                               {"where", r.where},
                               {"seen", r.seen},
                               {"action", r.action}});
        }
        body[std::string(image::to_string(platform))] = {
            {"verdict", image::to_string(judged.verdict)}, {"reasons", reasons}};
    }
    return body;
}

Json entries_body(const image::ImageFacts& facts, const image::Readiness& readiness) {
    Json entries = Json::array();
    for (std::size_t i = 0; i < facts.boot_entries.size(); ++i) {
        const auto& e = facts.boot_entries[i];
        Json kernel_index;  // null: the entry starts no kernel of the image
        if (i < facts.kernel_of_entry.size() && facts.kernel_of_entry[i].has_value()) {
            kernel_index = *facts.kernel_of_entry[i];
        }
        const auto judged = std::ranges::find(readiness.entries, i, &image::EntryReadiness::entry);
        entries.push_back(
            {{"title", e.title},
             {"where", e.where},
             {"kernel", e.kernel},
             {"initrds", e.initrds},
             {"arguments", e.arguments},
             {"root", optional(image::last_value(e.arguments, "root"))},
             {"boots", facts.boot_entry == i},
             {"kernel_index", kernel_index},
             {"platforms", judged == readiness.entries.end() ? Json(nullptr)
                                                             : platforms_body(judged->platforms)}});
    }
    return entries;
}

Json inspection_body(const worker::Inspection& seen, const image::Readiness& readiness) {
    Json kernels = Json::array();
    for (const auto& k : seen.facts.kernels) kernels.push_back(kernel_body(k));
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
                              {"uuid", p.content_uuid},
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
              {"name", seen.facts.os_pretty_name},
              {"init", image::to_string(seen.facts.init)},
              {"selinux_enforcing", seen.facts.selinux_enforcing}}},
            {"platforms", platforms_body(readiness.platforms)},
            {"menu",
             {{"path", seen.facts.menu_path},
              {"kind", image::to_string(seen.facts.menu_kind)},
              {"names", seen.facts.menu_links},
              {"entries", entries_body(seen.facts, readiness)}}},
            {"kernels", kernels},
            {"findings", findings}};
}

Json ami_body(const aws::Image& ami) {
    return {{"name", ami.name},
            {"virtualization_type", ami.virtualization_type},
            {"architecture", ami.architecture},
            {"root_device_name", ami.root_device_name},
            {"kernel_id", ami.kernel_id},
            {"ramdisk_id", ami.ramdisk_id},
            {"boot_mode", ami.boot_mode},
            {"ena_support", ami.ena_support},
            {"tpm_support", ami.tpm_support},
            {"imds_support", ami.imds_support},
            {"sriov_net_support", ami.sriov_net_support},
            {"usage_operation", ami.usage_operation},
            {"platform_details", ami.platform_details}};
}

Json plan_body(const worker::PlanText& plan) {
    return {{"inspection", inspection_body(plan.inspection, worker::readiness_of(plan.inspection))},
            {"used_bytes", plan.used_bytes},
            {"target_bytes", plan.target_bytes},
            {"steps", plan.steps}};
}

Json header() {
    return {{"version", 1}, {"ok", true}};
}

}  // namespace

Json to_json(const InspectionReport& report) {
    auto document = header();
    document["source"] = report.source;
    document["platform"] = image::to_string(report.platform);
    document["verdict"] = image::to_string(report.readiness.on(report.platform).verdict);
    if (report.ami) document["ami"] = ami_body(*report.ami);
    document.update(inspection_body(report.seen, report.readiness));
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
    document["copy"] = {
        {"read_bytes", result.copy.read_bytes}, {"written_bytes", result.copy.written_bytes},
        {"zero_bytes", result.copy.zero_bytes}, {"verified_bytes", result.copy.verified_bytes},
        {"seconds", result.copy.seconds},       {"verify_seconds", result.copy.verify_seconds},
        {"engine", result.copy.engine}};
    return document;
}

}  // namespace amilift::app
