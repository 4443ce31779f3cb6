// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "image/boot_disk.hpp"
#include "image/boot_menu.hpp"
#include "image/grub_environment.hpp"

/// What GRUB 2 knows when it begins to read a configuration.
namespace amilift::image::grub_script {

/// The variables of a GRUB that a BIOS has started, for the configuration `text` at `path` of the
/// image's tree. Source: GRUB 2.06, grub-core/normal/main.c.
void set_start_variables(Environment& environment, const BootDisk& disk, std::string_view path,
                         std::string_view text);

/// What is otherwise in a GRUB that UEFI has started. The prefix of the program may lack its
/// device, or its path, or both: what the firmware says it started fills them in.
void set_program_variables(Environment& environment, const GrubProgram& program);

/// Where the configuration lies that is read: `inside` is its path on `device`.
void set_config_place(Environment& environment, const std::string& device,
                      const std::string& inside);

/// Where the names of a btrfs begin.
[[nodiscard]] SubvolumeView view_of(const Environment& environment);

}  // namespace amilift::image::grub_script
