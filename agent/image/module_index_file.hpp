// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace amilift::image {

/// What an index of modules says of one key: "nvme" has the value "nvme.ko: nvme-core.ko".
struct IndexEntry {
    std::string key;
    std::string value;
    /// Of several values of one key, or of keys that match one name, the lowest comes first.
    std::uint32_t priority = 0;
    bool operator==(const IndexEntry&) const = default;
};

/// Reads modules.dep.bin, modules.alias.bin or modules.symbols.bin, which kmod reads instead of the
/// texts of the same names. Sorted by key, values of a key as they are in the file. Source: the
/// comment on the disk format in kmod's libkmod-index.c, version 2. Errors:
/// corrupt, also for one whose entries take more than 32 MiB.
[[nodiscard]] core::Result<std::vector<IndexEntry>> read_index_file(std::string_view bytes);

/// Can the format hold it? Its keys are ASCII without NUL, and kmod looks for none that are longer
/// than PATH_MAX.
[[nodiscard]] bool can_be_in_index_file(const IndexEntry& entry);

/// Writes one; entries that it cannot hold are left out. Errors: corrupt if it gets larger than
/// 32 MiB.
[[nodiscard]] core::Result<std::string> write_index_file(std::vector<IndexEntry> entries);

}  // namespace amilift::image
