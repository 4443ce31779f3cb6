// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "image/facts.hpp"
#include "job/job.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Adds to the initramfs files what the disks and the network of EC2 need and the image has as
/// modules: nvme, ena and xen-blkfront (for a paravirtual target xen-blkfront and xen-netfront)
/// with their dependencies and the index of the modules, as one further cpio archive behind the
/// bytes that are there. So that the next update of a kernel does not lose them, the settings of
/// the image's own builder name them, too. A kernel that does not boot by default and whose modules
/// cannot be read goes without; verify() says so in its proofs.
[[nodiscard]] const Module& initramfs_module();

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
