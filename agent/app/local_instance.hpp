// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "aws/imds.hpp"
#include "core/result.hpp"
#include "dev/device_monitor.hpp"
#include "flow/services.hpp"

namespace amilift::app {

/// The instance that this program runs on.
[[nodiscard]] core::Result<flow::HelperIdentity> identify_helper(aws::Imds& imds);

/// udev, opened when the first device is waited for: a helper without udevd must still be able to
/// tell its job's other failures, and this one, in its tags.
class LateDeviceMonitor final : public dev::DeviceMonitor {
  public:
    [[nodiscard]] core::Result<dev::AttachedDevice> wait_present(
        const std::string& volume_id, const std::string& requested_device, core::Duration timeout,
        const core::Cancel& cancel) override;
    [[nodiscard]] core::Result<> wait_absent(const std::string& volume_id,
                                             const std::string& requested_device,
                                             core::Duration timeout,
                                             const core::Cancel& cancel) override;

  private:
    core::Result<> open();
    std::unique_ptr<dev::DeviceMonitor> real_;
};

}  // namespace amilift::app
