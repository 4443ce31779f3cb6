// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"
#include "image/fstab.hpp"
#include "image/safe_root.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Edits /etc/fstab and /etc/crypttab so that the root is found and no missing disk stops the boot,
/// and takes a swap device that is gone from what initramfs-tools resumes from.
[[nodiscard]] const Module& fstab_module();

/// What the image's boot understands for a device that is not there: systemd by its init, Ubuntu's
/// mountall by its program, others by whether mount or libmount holds the word "nofail".
[[nodiscard]] core::Result<image::MissingDevice> missing_device_style(const image::SafeRoot& root,
                                                                      image::InitSystem init);

}  // namespace amilift::modules
