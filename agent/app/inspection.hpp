// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/ami_inspection.hpp"
#include "image/readiness.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {

/// What `amilift inspect` tells, in whatever form.
struct InspectionReport {
    std::string source;
    image::Platform platform = image::Platform::nitro;  ///< the one that was asked for
    worker::Inspection seen;
    image::Readiness readiness;
    std::optional<aws::Image> ami{};  ///< whose root that is; absent for a disk
};

[[nodiscard]] InspectionReport report_on(std::string source, image::Platform platform,
                                         worker::Inspection seen);
/// The same for an AMI; ami_findings() are among the findings, and count in the verdicts.
[[nodiscard]] InspectionReport report_on(image::Platform platform, AmiInspection seen);

/// For people, on standard output. The text is safe for a terminal, as all below is.
void print_inspection(const InspectionReport& report);

/// One HTML page that needs nothing else: no script, no file, no network.
[[nodiscard]] std::string inspection_page(const InspectionReport& report);

/// "bare filesystem", "mbr", "gpt".
[[nodiscard]] std::string_view layout_name(dev::DiskLayout layout);
/// "CentOS 6.10 (Final), upstart, SELinux enforcing".
[[nodiscard]] std::string describe_system(const image::ImageFacts& facts);
/// "6.1.0-9-amd64, bzImage, xz, 64 bits".
[[nodiscard]] std::string describe_kernel(const image::Kernel& kernel);
/// "dracut: cpio, zstd cpio", or why it could not be read.
[[nodiscard]] std::string describe_initramfs(const image::Initramfs& initramfs);
/// "module /lib/..., in the initramfs, version 2.1.0K", "built in", "none".
[[nodiscard]] std::string describe_driver(const image::Driver& driver);
/// "nvme_core.io_timeout, at most 4294967295 s".
[[nodiscard]] std::string describe_timeout(const image::Kernel& kernel);
/// All of these by name, or that they were not looked for.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string>> driver_lines(
    const image::EntryReadiness& readiness, const image::Kernel& kernel);
/// root= of the entry, or "not named".
[[nodiscard]] std::string describe_root(const image::BootEntry& entry);

}  // namespace amilift::app
