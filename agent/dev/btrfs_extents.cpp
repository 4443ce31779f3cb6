// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <map>

#include "dev/btrfs.hpp"
#include "dev/btrfs_search.hpp"
#include "dev/byte_order.hpp"

namespace amilift::dev {
namespace {

using core::Result;

constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();
/// No chunk begins there; a boot loader may.
constexpr std::uint64_t kReservedBytes = std::uint64_t{1} << 20;
constexpr std::array<std::uint64_t, 3> kSuperblocks{
    std::uint64_t{64} << 10, std::uint64_t{64} << 20, std::uint64_t{256} << 30};
constexpr std::uint64_t kSuperblockBytes = 4096;
constexpr std::size_t kMaxChunks = 1U << 20;
/// Of more used extents than this, those with small gaps between them become one.
constexpr std::size_t kMaxExtents = 1U << 20;
constexpr std::uint64_t kSmallGapBytes = 64U << 10;
constexpr std::uint64_t kManyDevices = BTRFS_BLOCK_GROUP_RAID0 | BTRFS_BLOCK_GROUP_RAID1 |
                                       BTRFS_BLOCK_GROUP_RAID1C3 | BTRFS_BLOCK_GROUP_RAID1C4 |
                                       BTRFS_BLOCK_GROUP_RAID10 | BTRFS_BLOCK_GROUP_RAID5 |
                                       BTRFS_BLOCK_GROUP_RAID6;

/// A run of logical addresses and where its copies (two of profile DUP) lie on the device.
struct Chunk {
    std::uint64_t length = 0;
    std::vector<std::uint64_t> places;
};
using Chunks = std::map<std::uint64_t, Chunk>;

std::optional<Chunk> parse_chunk(std::span<const std::byte> data) {
    constexpr std::size_t kStripesAt = 48;
    constexpr std::size_t kStripeBytes = 32;
    if (data.size() < kStripesAt) return std::nullopt;
    const auto type = load_le<std::uint64_t>(data, 24);
    const std::size_t count = load_le<std::uint16_t>(data, 44);
    if ((type & kManyDevices) != 0 || count == 0 || count > 2 ||
        data.size() < kStripesAt + count * kStripeBytes) {
        return std::nullopt;
    }
    Chunk chunk{load_le<std::uint64_t>(data, 0), {}};
    for (std::size_t i = 0; i < count; ++i) {
        chunk.places.push_back(load_le<std::uint64_t>(data, kStripesAt + i * kStripeBytes + 8));
    }
    return chunk;
}

/// Adds what the extent occupies on the device; false if it lies in no chunk.
bool add_extent(const Chunks& chunks, std::uint64_t start, std::uint64_t length,
                std::vector<Extent>& used) {
    auto found = chunks.upper_bound(start);
    if (found == chunks.begin()) return false;
    --found;
    const auto& [chunk_start, chunk] = *found;
    const auto inside = start - chunk_start;
    if (inside >= chunk.length || length > chunk.length - inside) return false;
    for (const auto place : chunk.places) {
        if (place > kMax64 - chunk.length) return false;
        const Extent extent{place + inside, length};
        if (!used.empty() && used.back().offset + used.back().length == extent.offset) {
            used.back().length += length;
        } else {
            used.push_back(extent);
        }
    }
    return true;
}

/// In order, joined where less than `gap` bytes (at least 1) are between them, or they overlap.
std::vector<Extent> joined(std::vector<Extent> extents, std::uint64_t gap) {
    std::ranges::sort(extents, {}, &Extent::offset);
    std::size_t count = 0;
    for (const auto& extent : extents) {
        if (count > 0) {
            auto& last = extents[count - 1];
            const auto end = last.offset + last.length;
            if (extent.offset < end || extent.offset - end < gap) {
                last.length = std::max(last.length, extent.offset + extent.length - last.offset);
                continue;
            }
        }
        extents[count++] = extent;
    }
    extents.resize(count);
    return extents;
}

}  // namespace

Result<std::optional<std::vector<Extent>>> map_btrfs_extents(const core::Fd& mounted,
                                                             std::uint64_t size_bytes,
                                                             const std::string& name) {
    btrfs_ioctl_fs_info_args info{};
    if (::ioctl(mounted.get(), BTRFS_IOC_FS_INFO, &info) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot ask about the btrfs on '{}'", name));
    }
    std::optional<std::vector<Extent>> none;
    if (info.num_devices != 1) return none;

    Chunks chunks;
    bool is_known = true;
    AMILIFT_CHECK(search_btrfs_tree(mounted, BTRFS_CHUNK_TREE_OBJECTID,
                                    {BTRFS_FIRST_CHUNK_TREE_OBJECTID, BTRFS_CHUNK_ITEM_KEY, 0},
                                    {BTRFS_FIRST_CHUNK_TREE_OBJECTID, BTRFS_CHUNK_ITEM_KEY, kMax64},
                                    name,
                                    [&](const BtrfsKey& key, std::span<const std::byte> data) {
                                        auto chunk = parse_chunk(data);
                                        is_known = chunk && chunks.size() < kMaxChunks;
                                        if (is_known) chunks.emplace(key.offset, *std::move(chunk));
                                        return is_known;
                                    }));
    if (!is_known) return none;

    std::vector<Extent> used{{0, std::min(kReservedBytes, size_bytes)}};
    for (const auto place : kSuperblocks) {
        if (place <= size_bytes && size_bytes - place >= kSuperblockBytes) {
            used.push_back({place, kSuperblockBytes});
        }
    }
    const auto always = used.size();
    auto gap = kSmallGapBytes;
    AMILIFT_CHECK(
        search_btrfs_tree(mounted, BTRFS_EXTENT_TREE_OBJECTID, {0, 0, 0}, {kMax64, 0xff, kMax64},
                          name, [&](const BtrfsKey& key, std::span<const std::byte>) {
                              if (key.type == BTRFS_EXTENT_ITEM_KEY) {
                                  is_known = add_extent(chunks, key.objectid, key.offset, used);
                              } else if (key.type == BTRFS_METADATA_ITEM_KEY) {
                                  is_known = add_extent(chunks, key.objectid, info.nodesize, used);
                              }
                              for (; used.size() > kMaxExtents; gap *= 2) {
                                  used = joined(std::move(used), gap);
                              }
                              return is_known;
                          }));
    // Not even the trees themselves were found: then it says nothing about what is free.
    if (!is_known || used.size() == always) return none;
    used = joined(std::move(used), 1);
    // The last one ends last.
    if (used.back().offset + used.back().length > size_bytes) return none;
    return used;
}

}  // namespace amilift::dev
