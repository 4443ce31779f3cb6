// SPDX-License-Identifier: Apache-2.0
#include "app/local_instance.hpp"

namespace amilift::app {

core::Result<flow::HelperIdentity> identify_helper(aws::Imds& imds) {
    flow::HelperIdentity helper;
    AMILIFT_TRY(helper.instance_id, imds.instance_id());
    AMILIFT_TRY(helper.region, imds.region());
    AMILIFT_TRY(helper.availability_zone, imds.availability_zone());
    return helper;
}

core::Result<dev::AttachedDevice> LateDeviceMonitor::wait_present(
    const std::string& volume_id, const std::string& requested_device, core::Duration timeout,
    const core::Cancel& cancel) {
    AMILIFT_CHECK(open());
    return real_->wait_present(volume_id, requested_device, timeout, cancel);
}

core::Result<> LateDeviceMonitor::wait_absent(const std::string& volume_id,
                                              const std::string& requested_device,
                                              core::Duration timeout, const core::Cancel& cancel) {
    AMILIFT_CHECK(open());
    return real_->wait_absent(volume_id, requested_device, timeout, cancel);
}

core::Result<> LateDeviceMonitor::open() {
    if (real_) return {};
    AMILIFT_TRY(real_, dev::make_udev_monitor());
    return {};
}

}  // namespace amilift::app
