// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "modules/module.hpp"

namespace amilift::modules {

/// Makes the disk start by BIOS and proves it: the loader's sectors are read back, and GRUB's own
/// filesystem code reads kernel and initrd of the entry that will boot.
[[nodiscard]] const Module& bootloader_module();

/// Kernel and initramfs of the entry that will boot, with their CRC-32 (as zlib computes it).
[[nodiscard]] core::Result<std::vector<BootFile>> read_boot_files(
    const image::ImageFacts& facts, const image::SafeRoot& source_root);

/// Proves that the target has the file as the source has it, and that GRUB, where that is the
/// loader, reads it so: one line for people.
[[nodiscard]] core::Result<std::string> prove_boot_file(const VerifyContext& context,
                                                        const std::string& path);
/// The same with GRUB's name of the file ("(loop0)/boot/vmlinuz"); empty: GRUB does not read it.
[[nodiscard]] core::Result<std::string> prove_boot_file(const VerifyContext& context,
                                                        const std::string& path,
                                                        const std::string& grub_path);

}  // namespace amilift::modules
