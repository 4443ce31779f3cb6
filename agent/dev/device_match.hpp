// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace amilift::dev {

/// What udev and sysfs tell about one block device.
struct DeviceFacts {
    std::string sysname;             ///< "nvme1n1", "xvdf"
    std::string node;                ///< "/dev/nvme1n1"
    std::string devtype;             ///< "disk" or "partition"
    std::string serial;              ///< NVMe serial, empty for others
    bool initialized = false;        ///< udev's rules have run
    std::uint64_t size_sectors = 0;  ///< of 512 bytes, whatever the device's sectors are
};

/// The kernel's name of a Xen disk that was attached as `requested_device`: "/dev/sdf" and
/// "/dev/xvdf" are both "xvdf", "/dev/sda1" is "xvda1" (a whole-partition disk, as PV roots are).
/// Empty when the name is none of those. The kernel of Enterprise Linux 6 shifts sd names by four
/// letters (sdf appears as xvdj): that is not guessed, ask for an xvd name there.
/// Source: drivers/block/xen-blkfront.c; EC2 User Guide, "Device names for volumes".
[[nodiscard]] std::optional<std::string> xen_name(std::string_view requested_device);

/// Whether a device is the one that EBS volume `volume_id` ("vol-0abc...") appears as: by NVMe
/// serial, or, for Xen disks only, by the name that was asked for. Partitions never are.
[[nodiscard]] bool is_device_of_volume(const DeviceFacts& device, std::string_view volume_id,
                                       std::string_view requested_device);

/// Whether a device can be used: udev is done with it, it has a node and a size.
[[nodiscard]] bool is_usable(const DeviceFacts& device);

}  // namespace amilift::dev
