// SPDX-License-Identifier: Apache-2.0
#include "modules/platform_check.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "image/text_lines.hpp"

namespace amilift::modules {
namespace {

class PlatformCheck {
  public:
    explicit PlatformCheck(const image::Kernel& kernel) : kernel_(kernel) {}

    void require_64_bit() {
        if (kernel_.is_64_bit) return;
        add("not-64-bit", kernel_.path,
            fmt::format("kernel {} is a 32-bit one", image::printable(kernel_.version, 80)),
            "Nitro instances start 64-bit images only",
            "install a 64-bit kernel and system, or convert for platform xen");
    }

    void require_drivers_of_xen() {
        require(kernel_.xen_blkfront, "no-xen-blkfront-driver", "xen-blkfront", "its disks", "Xen");
        require(kernel_.xen_netfront, "no-xen-netfront-driver", "xen-netfront", "its network",
                "Xen");
        require_in_initramfs(kernel_.xen_blkfront, "xen-blkfront");
    }

    void require(const image::Driver& driver, std::string_view id, std::string_view name,
                 std::string_view what, std::string_view platform) {
        if (driver.is_usable()) return;
        add(std::string(id), driver.exists() ? driver.blocked_by : kernel_.path,
            driver.exists()
                ? fmt::format("kernel {} has the driver {}, which is kept from loading",
                              image::printable(kernel_.version, 80), name)
                : fmt::format("kernel {} has no driver {}, neither built in nor as a module that "
                              "modules.dep names",
                              image::printable(kernel_.version, 80), name),
            fmt::format("on {} it does not find {}", platform, what),
            driver.exists() ? "remove that line, then make the image again"
                            : "install a kernel that has the driver, then make the image again");
    }

    void require_in_initramfs(const image::Driver& driver, std::string_view name) {
        if (!driver.is_usable() || driver.is_there_for_root()) return;
        const auto& initramfs = kernel_.initramfs;
        if (kernel_.has_only_initramfs_inside()) {
            findings_.push_back(
                {image::Severity::warning, fmt::format("{}-not-in-initramfs", name), kernel_.path,
                 fmt::format("the driver {} is a module, and there is no initrd", name),
                 "only the initramfs that is built into the kernel can have it, which is not "
                 "looked into",
                 "check that it does; the boot proof shows it too"});
            return;
        }
        std::string why;
        if (initramfs.path.empty()) {
            why = "the kernel boots without an initramfs, and the driver is a module";
        } else if (!initramfs.problem.empty()) {
            why = fmt::format("it cannot be read to its end: {}", initramfs.problem);
        } else if (!initramfs.obstacle.empty()) {
            why = fmt::format("it {}", initramfs.obstacle);
        } else {
            return;
        }
        add("initramfs-not-repairable", initramfs.path.empty() ? kernel_.path : initramfs.path,
            fmt::format("it has no {}, and {}", name, why),
            fmt::format("the kernel does not find its root filesystem where that is on {} disks",
                        name),
            fmt::format("make the initramfs again in the source, with the module {}, then make the "
                        "image again",
                        name));
    }

    /// What would be refused gets this severity.
    std::vector<image::Finding> take(image::Severity severity) {
        for (auto& finding : findings_) {
            if (finding.severity == image::Severity::refusal) finding.severity = severity;
        }
        return std::move(findings_);
    }

  private:
    void add(std::string id, std::string where, std::string seen, std::string consequence,
             std::string action) {
        findings_.push_back({image::Severity::refusal, std::move(id), std::move(where),
                             std::move(seen), std::move(consequence), std::move(action)});
    }

    const image::Kernel& kernel_;
    std::vector<image::Finding> findings_;
};

}  // namespace

std::vector<image::Finding> platform_findings(const image::ImageFacts& facts,
                                              const std::optional<job::Platform>& platform) {
    const auto* kernel = facts.boot_kernel();
    if (kernel == nullptr) return {};
    PlatformCheck check(*kernel);
    if (!platform) {
        check.require_in_initramfs(kernel->nvme, "nvme");
        check.require_in_initramfs(kernel->xen_blkfront, "xen-blkfront");
        return check.take(image::Severity::warning);
    }
    if (*platform == job::Platform::nitro) {
        check.require_64_bit();
        check.require(kernel->nvme, "no-nvme-driver", "nvme", "its disks", "Nitro");
        check.require(kernel->ena, "no-ena-driver", "ena", "its network", "Nitro");
        check.require_in_initramfs(kernel->nvme, "nvme");
    } else {
        check.require_drivers_of_xen();
    }
    return check.take(image::Severity::refusal);
}

std::vector<image::Finding> paravirtual_findings(const image::ImageFacts& facts) {
    const auto* kernel = facts.boot_kernel();
    if (kernel == nullptr) return {};
    PlatformCheck check(*kernel);
    check.require_drivers_of_xen();
    return check.take(image::Severity::refusal);
}

}  // namespace amilift::modules
