// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// What the image has of one driver for one kernel.
struct Driver {
    std::string place;          ///< "built in" or the path of the module file; empty: it has none
    bool in_initramfs = false;  ///< the initramfs that the kernel boots with holds the module
    std::string blocked_by;  ///< "/etc/modprobe.d/x.conf:3"; empty: nothing keeps it from loading
    std::string version;     ///< `version` of the module's .modinfo; empty if it has none

    [[nodiscard]] bool exists() const { return !place.empty(); }
    [[nodiscard]] bool is_built_in() const { return place == "built in"; }
    /// Has the kernel the driver when it looks for its root filesystem?
    [[nodiscard]] bool is_there_for_root() const {
        return is_built_in() || (exists() && in_initramfs && blocked_by.empty());
    }
};

/// The kernel argument that sets how long NVMe waits for EBS.
struct NvmeTimeout {
    std::string parameter;      ///< "nvme_core.io_timeout"
    std::uint32_t largest = 0;  ///< 255 for a byte, 4294967295 for a uint
};

/// Who made an initramfs, which decides how its modules are loaded.
enum class InitramfsBuilder {
    unknown,
    dracut,
    initramfs_tools,
    mkinitrd_nash,  ///< RHEL 4 and 5: no udev, /init has literal insmod lines
    mkinitrd_suse
};
[[nodiscard]] std::string_view to_string(InitramfsBuilder builder) noexcept;

/// What lies in an initramfs file.
struct Initramfs {
    std::string path;  ///< as the menu names it; empty: the kernel boots without one
    InitramfsBuilder builder = InitramfsBuilder::unknown;
    std::vector<std::string> segments;  ///< "cpio", "zstd cpio", in file order
    /// Why it could not be read to its end; its drivers are not known then. Empty: it could.
    std::string problem;
};

/// Where the image has `driver` ("ena") for the kernel `version`: "built in", or the path of the
/// module file, which is known to exist; empty if the kernel has no such driver, or it is
/// blacklisted. Reads /lib/modules/<version>/modules.{builtin,dep} and /etc/modprobe.d. Source:
/// depmod(8), modprobe.d(5).
[[nodiscard]] core::Result<std::string> find_driver(const SafeRoot& root,
                                                    const std::string& version,
                                                    std::string_view driver);

}  // namespace amilift::image
