// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/partitions.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// Lets the root partition of a disk with partitions fill the wanted size, and its filesystem the
/// partition. Of a disk that is edited where it lies both are done so that a helper may die at any
/// moment of it: of the table one copy is whole at every moment, and the filesystem is grown by the
/// kernel while it is mounted, through its journal.
[[nodiscard]] const Module& disk_grow_module();

/// What becomes of the root partition.
struct RootGrowth {
    int partition = 0;
    std::uint64_t offset_bytes = 0;
    std::uint64_t new_bytes = 0;  ///< at least what it has
};

/// `disk` is the source, `partitions` and the number `root` are its own; `in_place`: it is edited
/// where it lies. Absent if the job wants no size. Errors: refused (ids "size-too-small": the disk
/// is larger; "root-cannot-grow": another partition lies behind the root, or its table or its
/// filesystem does not reach that far).
[[nodiscard]] core::Result<std::optional<RootGrowth>> plan_root_growth(
    const job::ConversionOptions& options, const dev::BlockDevice& disk, dev::DiskLayout layout,
    std::span<const dev::Partition> partitions, int root, bool in_place);

}  // namespace amilift::modules
