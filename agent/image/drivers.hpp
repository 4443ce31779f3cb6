// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

class InitramfsReader;

/// What the image has of one driver for one kernel.
struct Driver {
    std::string place;          ///< "built in" or the path of the module file; empty: it has none
    bool in_initramfs = false;  ///< the initramfs that the kernel boots with holds the module
    std::string blocked_by;  ///< "/etc/modprobe.d/x.conf:3"; empty: nothing keeps it from loading
    std::string version;     ///< `version` of the module's .modinfo; empty if it has none

    [[nodiscard]] bool exists() const { return !place.empty(); }
    [[nodiscard]] bool is_built_in() const { return place == "built in"; }
    /// Has the kernel it, with nothing that keeps it from loading?
    [[nodiscard]] bool is_usable() const { return exists() && blocked_by.empty(); }
    /// Has the kernel the driver when it looks for its root filesystem?
    [[nodiscard]] bool is_there_for_root() const {
        return is_built_in() || (is_usable() && in_initramfs);
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
    std::string obstacle;      ///< obstacle_to_addition(), or that it is another kernel's
    std::string other_kernel;  ///< the version of that, see other_kernel()
};

struct Kernel;

/// Finds out what kernels have of the drivers that EC2 needs. It remembers what it has read: the
/// entries of a menu share kernels and initramfs files. What it reads in all is bounded.
class DriverFinder {
  public:
    /// Both must outlive it.
    DriverFinder(const SafeRoot& root, InitramfsReader& reader);
    DriverFinder(const DriverFinder&) = delete;
    DriverFinder& operator=(const DriverFinder&) = delete;
    ~DriverFinder();

    /// Fills initramfs, nvme, ena, xen_blkfront, xen_netfront and nvme_timeout of a kernel that
    /// boots with the files `initrds`, in this order, and the command line `arguments`. Needs
    /// kernel.version. A driver that is in neither modules.builtin nor modules.dep, or whose file
    /// is missing, does not exist, unless there is no modules.builtin and the config of the kernel
    /// builds it in. XenLinux kernels have xenblk and xennet in the place of xen-blkfront and
    /// xen-netfront. It counts as in the initramfs when its module, all that this
    /// needs and an index of modules are there (nash needs no index). Blocks are looked for in the
    /// image, in the initramfs and on the command line, see ModuleRules; a built-in driver has
    /// none. Versions and the NVMe timeout are found for the first 32 kernels. Errors: those of
    /// SafeRoot for the disk itself.
    [[nodiscard]] core::Result<> look(Kernel& kernel, const std::vector<std::string>& initrds,
                                      std::string_view arguments);

  private:
    struct Cache;
    const SafeRoot& root_;
    InitramfsReader& reader_;
    std::unique_ptr<Cache> cache_;
};

/// The argument that sets the NVMe timeout: from the module's own parmtype, or, for a built-in
/// driver without modules.builtin.modinfo, by the version: nvme has the parameter since 3.15, and
/// takes more than 255 seconds since 4.15.
[[nodiscard]] core::Result<std::optional<NvmeTimeout>> find_nvme_timeout(const SafeRoot& root,
                                                                         std::string_view version);

}  // namespace amilift::image
