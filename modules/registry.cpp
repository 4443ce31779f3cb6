// SPDX-License-Identifier: Apache-2.0
#include "modules/registry.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "modules/arguments.hpp"
#include "modules/bare_copy.hpp"
#include "modules/bootloader.hpp"
#include "modules/console.hpp"
#include "modules/copy.hpp"
#include "modules/disk_grow.hpp"
#include "modules/fstab.hpp"
#include "modules/grow.hpp"
#include "modules/initramfs.hpp"
#include "modules/leftovers.hpp"
#include "modules/menu.hpp"
#include "modules/network.hpp"
#include "modules/partition.hpp"
#include "modules/pv_console.hpp"
#include "modules/pv_fstab.hpp"
#include "modules/pv_grub.hpp"

namespace amilift::modules {

std::span<const Module> registry() {
    // The boot loader comes last: a target that was left half done does not boot by accident.
    static const std::array kModules{partition_module(),  copy_module(),      disk_copy_module(),
                                     grow_module(),       disk_grow_module(), menu_module(),
                                     arguments_module(),  fstab_module(),     network_module(),
                                     console_module(),    leftovers_module(), initramfs_module(),
                                     bootloader_module(), bare_copy_module(), pv_fstab_module(),
                                     pv_console_module(), pv_grub_module()};
    return kModules;
}

std::vector<const Module*> modules_for(const image::ImageFacts& facts,
                                       const job::ConversionOptions& options) {
    // The menu comes last here, for the same reason as the boot loader above.
    if (options.virtualization == job::Virtualization::paravirtual) {
        return {&bare_copy_module(), &pv_fstab_module(),  &network_module(), &pv_console_module(),
                &leftovers_module(), &initramfs_module(), &pv_grub_module()};
    }
    using Names = std::vector<std::string_view>;
    const bool partitioned = facts.disk.is_partitioned();
    const Names left_out = partitioned ? Names{"partition", "copy", "grow", "bootloader"}
                                       : Names{"disk-copy", "disk-grow"};
    constexpr std::array<std::string_view, 4> kPvOnly{"bare-copy", "pv-fstab", "pv-console",
                                                      "pv-grub"};
    std::vector<const Module*> modules;
    for (const auto& module : registry()) {
        const bool other_menu =
            module.name == "menu" && facts.menu_kind != image::BootMenuKind::grub_legacy;
        if (std::ranges::find(kPvOnly, module.name) != kPvOnly.end()) continue;
        if (other_menu || std::ranges::find(left_out, module.name) != left_out.end()) continue;
        modules.push_back(&module);
    }
    return modules;
}

}  // namespace amilift::modules
