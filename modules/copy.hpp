// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dev/partitions.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Copies the used extents of the source filesystem to 1 MiB of the target. The filesystem keeps
/// its UUID and its label.
[[nodiscard]] const Module& copy_module();

/// Copies a disk with partitions as it is: the same table, boot code and partitions; of the
/// filesystems what is in use. Nothing is moved, so that what boots the source boots the target.
/// Of a target that holds the source already there is nothing to copy, only to prove.
[[nodiscard]] const Module& disk_copy_module();

/// The step that checks a copy of a filesystem whose maps of free space may be old, before it is
/// mounted for writing: it lies at byte `offset` of the target, and the plan calls it `name`.
/// Absent if the source's is fit to be edited.
[[nodiscard]] std::optional<Step> check_step(std::string_view module, std::uint64_t offset,
                                             const dev::FilesystemInfo& filesystem,
                                             const std::string& name);

/// What a BIOS and a boot loader read of a disk with partitions before they know of a filesystem:
/// all up to the first one, at most 4 MiB.
[[nodiscard]] core::Result<std::vector<std::byte>> read_boot_area(
    const dev::BlockDevice& disk, std::span<const dev::Partition> partitions);

}  // namespace amilift::modules
