// SPDX-License-Identifier: Apache-2.0
#include "dev/device_match.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev {

std::optional<std::string> xen_name(std::string_view requested_device) {
    constexpr std::string_view kDirectory = "/dev/";
    if (requested_device.starts_with(kDirectory)) requested_device.remove_prefix(kDirectory.size());
    if (requested_device.starts_with("xvd")) {
        requested_device.remove_prefix(3);
    } else if (requested_device.starts_with("sd")) {
        requested_device.remove_prefix(2);
    } else {
        return std::nullopt;
    }
    // One or two letters, then perhaps a number: what EC2 accepts as device name.
    std::size_t letters = 0;
    while (letters < requested_device.size() && requested_device[letters] >= 'a' &&
           requested_device[letters] <= 'z') {
        ++letters;
    }
    const auto digits = requested_device.substr(letters);
    if (letters < 1 || letters > 2 || digits.size() > 2 ||
        !std::all_of(digits.begin(), digits.end(), core::is_digit)) {
        return std::nullopt;
    }
    return "xvd" + std::string(requested_device);
}

bool is_device_of_volume(const DeviceFacts& device, std::string_view volume_id,
                         std::string_view requested_device) {
    if (device.devtype != "disk") return false;
    if (device.sysname.starts_with("nvme")) return serial_is_volume(device.serial, volume_id);
    const auto name = xen_name(requested_device);
    return name && device.sysname == *name;
}

bool is_usable(const DeviceFacts& device) {
    return device.initialized && !device.node.empty() && device.size_sectors > 0;
}

}  // namespace amilift::dev
