// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "image/facts.hpp"
#include "job/job.hpp"

namespace amilift::modules {

/// What keeps the kernel that will boot from running on `platform`: refusals with the ids
/// "not-64-bit", "no-nvme-driver", "no-ena-driver", "no-xen-blkfront-driver",
/// "no-xen-netfront-driver" and "initramfs-not-repairable", the same as image::assess() gives.
/// Without a platform nothing is refused: what cannot be repaired is a warning. So is on every
/// platform what only an initramfs inside of the kernel can have ("nvme-not-in-initramfs",
/// "xen-blkfront-not-in-initramfs"). Empty if nothing will boot, which is another's finding.
[[nodiscard]] std::vector<image::Finding> platform_findings(
    const image::ImageFacts& facts, const std::optional<job::Platform>& platform);

/// The same for a paravirtual target, whose only devices are those of Xen: refusals with the ids
/// "no-xen-blkfront-driver", "no-xen-netfront-driver" and "initramfs-not-repairable".
[[nodiscard]] std::vector<image::Finding> paravirtual_findings(const image::ImageFacts& facts);

}  // namespace amilift::modules
