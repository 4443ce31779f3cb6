// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace amilift::job {

/// How the new disk starts.
enum class Bootloader {
    grub2,       ///< GRUB 2 core.img from the helper; the image's menu.lst stays the live menu
    grub_legacy  ///< GRUB 0.97 stages from the image's own files
};

/// What the new disk is made for.
enum class Virtualization {
    hvm,         ///< a partition and a boot loader of its own
    paravirtual  ///< a bare filesystem, started by EC2's PV-GRUB
};

/// How the new disk is laid out.
enum class Layout {
    mbr,  ///< a DOS partition table with one partition; starts by BIOS
    gpt,  ///< a GPT with a BIOS boot partition and an EFI system partition; starts by BIOS and UEFI
    in_place,  ///< none: the source's bare filesystem stays where it is, boot code in sector 0
};

/// What to do when an AMI of the wanted name exists already.
enum class NameCollision {
    fail,   ///< stop before anything is created
    suffix  ///< register as "<name>-2", "<name>-3", ...
};

/// What becomes of the helper at the end.
enum class FinishAction { terminate, stop, keep };

inline constexpr std::uint32_t kMaxSizeGib = 16384;
/// The services that the agent calls; each may have a URL of its own.
inline constexpr std::array<std::string_view, 2> kEndpointServices{"ec2", "s3"};
/// Where the new AMI must be able to run.
enum class Platform {
    nitro,  ///< disks are NVMe, the network is ENA, 64 bits only
    xen     ///< disks are xen-blkfront, the network is xen-netfront
};

/// What of the conversion itself the user chose. This part also serves local conversions.
struct ConversionOptions {
    Virtualization virtualization = Virtualization::hvm;
    /// Of the new AMI, "x86_64" or "i386": a paravirtual one starts kernels of that architecture
    /// only. Not a key of the job; empty: there is no AMI.
    std::string architecture;
    Bootloader bootloader = Bootloader::grub2;
    Layout layout = Layout::mbr;  ///< the key is target.layout; for hvm only
    /// Of the new disk (target.size), 1 to kMaxSizeGib; the root filesystem is grown to fill it.
    /// 0: the filesystem keeps its size, and the disk is as large as it needs. For hvm only.
    std::uint32_t size_gib = 0;
    /// Kernel console arguments that replace hvc0/xvc0, in order. For hvm only.
    std::vector<std::string> consoles{"tty0", "ttyS0,115200n8"};
    /// target.platform of a job: what cannot run there is refused. Absent: nothing is refused for
    /// its drivers, and the image runs where they let it.
    std::optional<Platform> platform;
    /// conversion.verify_copy: the target is read back and compared before anything is changed.
    bool verify_copy = false;
};

struct Source {
    std::string ami;  ///< "ami-" + 8 or 17 hex digits
};

/// What parse_job() puts in place of hvm's defaults when the target is paravirtual.
inline constexpr std::string_view kPvName = "{source.name}-pv-{date}";
inline constexpr std::string_view kPvDescription =
    "Paravirtual conversion of {source.ami} ({source.name}) by amilift";
inline constexpr std::string_view kPvRootDeviceName = "/dev/sda1";

struct Target {
    std::string name = "{source.name}-hvm-{date}";  ///< template, see expand_template()
    std::string description = "HVM conversion of {source.ami} ({source.name}) by amilift";
    std::map<std::string, std::string> tags;  ///< values are templates
    bool copy_source_tags = true;
    std::string root_device_name = "/dev/xvda";
    std::string aki = "auto";  ///< for paravirtual: "aki-...", or "auto": the newest that fits
    std::string volume_type = "gp3";
    NameCollision on_name_collision = NameCollision::fail;
};

struct Finish {
    FinishAction on_success = FinishAction::terminate;
    FinishAction on_failure = FinishAction::terminate;
};

inline constexpr std::chrono::seconds kMinDeadline{10};
inline constexpr std::chrono::seconds kMaxDeadline = std::chrono::hours{24};
inline constexpr std::chrono::seconds kDefaultDeadline = std::chrono::hours{2};

/// What the user wants. Read from YAML by parse_job() (job/job_yaml.hpp).
struct Job {
    std::string id;  ///< empty: the agent uses "<instance id>"; [A-Za-z0-9._-]{1,64}
    Source source;
    Target target;
    ConversionOptions conversion;
    Finish finish;
    /// The helper ends itself when the job has taken longer. kMinDeadline to kMaxDeadline.
    std::chrono::seconds deadline = kDefaultDeadline;
    /// One of kEndpointServices -> URL, for endpoints without private DNS and for tests.
    std::map<std::string, std::string> endpoints;
};

/// A job that is too large for user-data: the document is an S3 object.
struct JobPointer {
    std::string bucket;
    std::string key;
    std::optional<std::string> version;  ///< S3 version id
    std::string sha256;                  ///< lower-case hex of the document's bytes; always checked
};

}  // namespace amilift::job
