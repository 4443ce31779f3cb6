// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Adds to the initramfs files what the disks and the network of EC2 need and the image has as
/// modules: nvme, ena and xen-blkfront (for a paravirtual target xen-blkfront and xen-netfront)
/// with their dependencies and the index of the modules, as one further cpio archive behind the
/// bytes that are there. So that the next update of a kernel does not lose them, the settings of
/// the image's own builder name them, too. A kernel that does not boot by default and whose modules
/// cannot be read goes without; verify() says so in its proofs.
[[nodiscard]] const Module& initramfs_module();

}  // namespace amilift::modules
