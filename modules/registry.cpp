// SPDX-License-Identifier: Apache-2.0
#include "modules/registry.hpp"

#include <array>

#include "modules/arguments.hpp"
#include "modules/bootloader.hpp"
#include "modules/console.hpp"
#include "modules/copy.hpp"
#include "modules/fstab.hpp"
#include "modules/initramfs.hpp"
#include "modules/leftovers.hpp"
#include "modules/menu.hpp"
#include "modules/network.hpp"
#include "modules/partition.hpp"

namespace amilift::modules {

std::span<const Module> registry() {
    // The boot loader comes last: a target that was left half done does not boot by accident.
    static const std::array kModules{partition_module(), copy_module(),      menu_module(),
                                     arguments_module(), fstab_module(),     network_module(),
                                     console_module(),   leftovers_module(), initramfs_module(),
                                     bootloader_module()};
    return kModules;
}

}  // namespace amilift::modules
