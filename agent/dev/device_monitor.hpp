// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "dev/device_match.hpp"

namespace amilift::dev {

/// Where an attached EBS volume appeared.
struct AttachedDevice {
    std::string path;    ///< "/dev/nvme3n1" or "/dev/xvdf"
    std::string serial;  ///< NVMe serial as the device reports it; empty for Xen devices
};

/// Sees EBS volumes come and go as block devices; a seam. The real one listens to udev.
class DeviceMonitor {
  public:
    DeviceMonitor() = default;
    DeviceMonitor(const DeviceMonitor&) = delete;
    DeviceMonitor& operator=(const DeviceMonitor&) = delete;
    virtual ~DeviceMonitor() = default;

    /// Waits until the volume is a usable block device: identified by NVMe serial (== volume id
    /// without the dash), or, on Xen, by the name that was asked for ("/dev/sdf" -> xvdf).
    /// The monitor is opened before the present devices are enumerated, so nothing is missed.
    /// Errors: timed_out, cancelled.
    [[nodiscard]] virtual core::Result<AttachedDevice> wait_present(
        const std::string& volume_id, const std::string& requested_device, core::Duration timeout,
        const core::Cancel& cancel) = 0;

    /// Waits until no block device of that volume is left.
    [[nodiscard]] virtual core::Result<> wait_absent(const std::string& volume_id,
                                                     const std::string& requested_device,
                                                     core::Duration timeout,
                                                     const core::Cancel& cancel) = 0;
};

/// Decides whether a device is the one of a volume; is_device_of_volume() but in tests.
using DeviceMatcher = std::function<bool(const DeviceFacts& device, std::string_view volume_id,
                                         std::string_view requested_device)>;

/// The real one, over libudev (netlink group "udev", so that rules have run). Use it from one
/// thread at a time. Errors: unavailable (udev does not run, or a sandbox forbids netlink).
[[nodiscard]] core::Result<std::unique_ptr<DeviceMonitor>> make_udev_monitor(
    DeviceMatcher matches = is_device_of_volume);

}  // namespace amilift::dev
