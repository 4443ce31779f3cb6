// SPDX-License-Identifier: Apache-2.0
#include "flow/preflight.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/text.hpp"

namespace amilift::flow {
namespace {

using core::Errc;
using core::fail;
using core::is_digit;

/// What an HVM source cannot become: its disk stays as it is, or gets longer.
core::Result<> check_hvm_disk(const aws::Image& source, const job::ConversionOptions& options) {
    if (options.layout == job::Layout::gpt) {
        return fail(Errc::refused,
                    fmt::format("AMI '{}' is HVM: its partition table stays as it is, and "
                                "target.layout: gpt is for roots without one",
                                source.id),
                    "take target.layout out of the job", "layout-of-partitions");
    }
    const auto* root = root_mapping(source);
    const auto source_gib = root == nullptr ? 0 : root->volume_size_gib.value_or(0);
    if (options.size_gib != 0 && std::int64_t{options.size_gib} < source_gib) {
        return fail(Errc::refused,
                    fmt::format("target.size is {} GiB, the root volume of AMI '{}' has {}",
                                options.size_gib, source.id, source_gib),
                    fmt::format("ask for at least {}GiB, or for no size", source_gib),
                    "size-too-small");
    }
    return {};
}

}  // namespace

bool has_billing_codes(const aws::Image& image) {
    return !image.usage_operation.empty() && image.usage_operation != "RunInstances";
}

bool converts_in_place(const aws::Image& source, const job::ConversionOptions& options) {
    // A paravirtual target is another filesystem on another volume.
    if (options.virtualization == job::Virtualization::paravirtual) return false;
    return source.virtualization_type == "hvm" || options.layout == job::Layout::in_place;
}

core::Result<> check_source(const aws::Image& source, const job::ConversionOptions& options) {
    if (source.state != "available") {
        return fail(
            Errc::refused,
            fmt::format("AMI '{}' is in state '{}', expected 'available'", source.id, source.state),
            "wait until the AMI is available, or name another one", "ami-not-available");
    }
    if (source.root_device_type != "ebs") {
        return fail(Errc::refused,
                    fmt::format("AMI '{}' has a root device of type '{}', expected 'ebs'",
                                source.id, source.root_device_type),
                    "make an EBS-backed AMI of it first", "instance-store");
    }
    if (source.platform == "windows") {
        return fail(Errc::refused, fmt::format("AMI '{}' is a Windows image", source.id),
                    "only Linux images are converted", "windows");
    }
    const bool hvm_to_hvm =
        source.virtualization_type == "hvm" && options.virtualization == job::Virtualization::hvm;
    if (hvm_to_hvm && options.platform != job::Platform::nitro) {
        return fail(
            Errc::refused, fmt::format("AMI '{}' has virtualization type 'hvm' already", source.id),
            "to make it ready for Nitro instances, say 'platform: nitro' in the job's target",
            "already-hvm");
    }
    if (source.architecture != "x86_64" && source.architecture != "i386") {
        return fail(Errc::refused,
                    fmt::format("AMI '{}' has architecture '{}', expected x86_64 or i386",
                                source.id, source.architecture),
                    "", "architecture");
    }
    if (!source.product_codes.empty()) {
        return fail(Errc::refused,
                    fmt::format("AMI '{}' carries product codes ({}): EC2 attaches its volume to "
                                "no running helper, and a copy would lose them",
                                source.id, fmt::join(source.product_codes, ", ")),
                    "convert the AMI that the marketplace product was installed on, or ask its "
                    "vendor for an HVM version",
                    "product-codes");
    }
    if (has_billing_codes(source) && !converts_in_place(source, options)) {
        const auto* hint =
            options.virtualization == job::Virtualization::paravirtual
                ? "use a paravirtual image of the vendor"
                : "convert with target.layout: in-place, which keeps them, or use an HVM image of "
                  "the vendor";
        return fail(Errc::refused,
                    fmt::format("AMI '{}' is billed as '{}' ({}), which a new AMI from a blank "
                                "volume would lose",
                                source.id, source.usage_operation, source.platform_details),
                    hint, "billing-codes");
    }
    const auto* root = root_mapping(source);
    if (root == nullptr || !root->snapshot_id) {
        return fail(Errc::refused,
                    fmt::format("AMI '{}' maps no snapshot to its root device '{}'", source.id,
                                source.root_device_name),
                    "check the AMI's block device mapping", "no-root-snapshot");
    }
    if (hvm_to_hvm) return check_hvm_disk(source, options);
    return {};
}

const aws::BlockDeviceMapping* root_mapping(const aws::Image& source) {
    for (const auto& m : source.block_devices) {
        if (m.device_name == source.root_device_name) return &m;
    }
    // An AMI registered with root name /dev/sda may map /dev/sda1, and the other way round.
    for (const auto& m : source.block_devices) {
        if (m.is_ebs() && device_suffix(m.device_name) == device_suffix(source.root_device_name)) {
            return &m;
        }
    }
    return nullptr;
}

std::int64_t target_size_gib(const job::ConversionOptions& options, std::int64_t source_gib) {
    if (options.virtualization == job::Virtualization::paravirtual) return source_gib;
    return options.size_gib > 0 ? std::int64_t{options.size_gib} : source_gib + 1;
}

std::string device_suffix(std::string_view name) {
    if (name.starts_with("/dev/")) name.remove_prefix(5);
    for (const std::string_view prefix : {"xvd", "sd", "hd"}) {
        if (name.starts_with(prefix)) {
            name.remove_prefix(prefix.size());
            break;
        }
    }
    while (!name.empty() && is_digit(name.back())) name.remove_suffix(1);
    return std::string(name);
}

core::Result<MappedDevices> map_block_devices(const aws::Image& source, const job::Target& target,
                                              const std::string& root_snapshot,
                                              std::int64_t root_size_gib) {
    MappedDevices out;
    std::set<std::string> taken{device_suffix(target.root_device_name)};
    const auto* old_root = root_mapping(source);

    aws::BlockDeviceMapping root;
    root.device_name = target.root_device_name;
    root.snapshot_id = root_snapshot;
    root.volume_size_gib = root_size_gib;
    root.volume_type = target.volume_type;
    root.delete_on_termination =
        old_root == nullptr ? true : old_root->delete_on_termination.value_or(true);
    out.mappings.push_back(std::move(root));

    // Names that can stay are given out first, so that a renamed device never takes one of them.
    std::vector<aws::BlockDeviceMapping> to_rename;
    for (const auto& m : source.block_devices) {
        if (&m == old_root) continue;
        const auto suffix = device_suffix(m.device_name);
        const bool ends_in_digit = !m.device_name.empty() && is_digit(m.device_name.back());
        if (ends_in_digit || !taken.insert(suffix).second) {
            to_rename.push_back(m);
            continue;
        }
        out.mappings.push_back(m);
    }
    for (auto& m : to_rename) {
        const auto wanted = device_suffix(m.device_name);
        std::string name;
        if (taken.insert(wanted).second) {
            name = "/dev/sd" + wanted;
        } else {
            for (char c = 'b'; c <= 'z' && name.empty(); ++c) {
                if (taken.insert(std::string(1, c)).second) name = fmt::format("/dev/sd{}", c);
            }
        }
        if (name.empty()) {
            return fail(Errc::conflict,
                        fmt::format("no HVM device name is left for '{}' of AMI '{}'",
                                    m.device_name, source.id),
                        "remove data volumes from the source AMI's mapping");
        }
        out.notes.push_back(fmt::format(
            "data volume '{}' is mapped as '{}' in the new AMI: HVM does not allow the old name",
            m.device_name, name));
        m.device_name = name;
        out.mappings.push_back(std::move(m));
    }
    // Encryption comes from the snapshot; naming it beside a SnapshotId is refused by
    // RegisterImage.
    for (auto& m : out.mappings) {
        if (m.snapshot_id) m.encrypted.reset();
    }
    return out;
}

core::Result<std::vector<std::string>> free_attach_names(const aws::Instance& helper,
                                                         std::size_t count,
                                                         const std::vector<std::string>& taken) {
    std::set<std::string> used;
    for (const auto& m : helper.block_devices) used.insert(device_suffix(m.device_name));
    for (const auto& name : taken) used.insert(device_suffix(name));
    std::vector<std::string> names;
    for (char c = 'f'; c <= 'p' && names.size() < count; ++c) {
        if (used.insert(std::string(1, c)).second) names.push_back(fmt::format("/dev/sd{}", c));
    }
    if (names.size() < count) {
        return fail(Errc::conflict,
                    fmt::format("helper '{}' has no free device name from /dev/sdf to /dev/sdp: {} "
                                "are in use",
                                helper.id, used.size()),
                    "detach volumes that do not belong to the job");
    }
    return names;
}

}  // namespace amilift::flow
