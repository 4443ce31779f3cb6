// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <tuple>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::dev {

/// Key of an item in a tree of btrfs; items are in the order of their keys.
struct BtrfsKey {
    std::uint64_t objectid = 0;
    std::uint8_t type = 0;
    std::uint64_t offset = 0;
    friend auto operator<=>(const BtrfsKey&, const BtrfsKey&) = default;
};

/// Gives `visit` each item of the tree with `first` <= key <= `last`, items of other types between
/// them too, until it returns false. `mounted` is an open directory of the filesystem (not
/// O_PATH), `name` is for messages; `data` ends with the call of `visit`. Needs CAP_SYS_ADMIN.
/// Errors: corrupt for keys out of their order, those of ioctl(2). Source: linux/btrfs.h.
[[nodiscard]] core::Result<> search_btrfs_tree(
    const core::Fd& mounted, std::uint64_t tree, const BtrfsKey& first, const BtrfsKey& last,
    const std::string& name,
    const std::function<bool(const BtrfsKey& key, std::span<const std::byte> data)>& visit);

}  // namespace amilift::dev
