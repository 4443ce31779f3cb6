// SPDX-License-Identifier: Apache-2.0
#include "dev/btrfs_search.hpp"

#include <fmt/format.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// The largest item fits, and thousands of extents.
constexpr std::size_t kBufferBytes = 256U << 10;
constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();

/// The next key in the order; absent behind the last of all.
std::optional<BtrfsKey> after(BtrfsKey key) {
    if (++key.offset != 0) return key;
    if (++key.type != 0) return key;
    if (++key.objectid != 0) return key;
    return std::nullopt;
}

}  // namespace

Result<> search_btrfs_tree(
    const core::Fd& mounted, std::uint64_t tree, const BtrfsKey& first, const BtrfsKey& last,
    const std::string& name,
    const std::function<bool(const BtrfsKey& key, std::span<const std::byte> data)>& visit) {
    // Of whole words, which the kernel's structure begins with.
    std::vector<std::uint64_t> memory((sizeof(btrfs_ioctl_search_args_v2) + kBufferBytes) /
                                      sizeof(std::uint64_t));
    const auto buffer = std::as_writable_bytes(std::span(memory));
    const auto results = buffer.subspan(sizeof(btrfs_ioctl_search_args_v2));
    std::optional<BtrfsKey> next = first;
    while (next && *next <= last) {
        btrfs_ioctl_search_args_v2 arguments{};
        auto& key = arguments.key;
        key.tree_id = tree;
        key.min_objectid = next->objectid;
        key.min_type = next->type;
        key.min_offset = next->offset;
        key.max_objectid = last.objectid;
        key.max_type = last.type;
        key.max_offset = last.offset;
        key.max_transid = kMax64;
        key.nr_items = std::numeric_limits<std::uint32_t>::max();
        arguments.buf_size = results.size();
        std::memcpy(buffer.data(), &arguments, sizeof(arguments));
        if (::ioctl(mounted.get(), BTRFS_IOC_TREE_SEARCH_V2, buffer.data()) != 0) {
            const int saved = errno;
            return core::fail_errno(saved,
                                    fmt::format("cannot read tree {} of btrfs on '{}'", tree, name),
                                    "repair the filesystem: see 'btrfs check'");
        }
        std::memcpy(&arguments, buffer.data(), sizeof(arguments));
        const auto count = arguments.key.nr_items;
        if (count == 0) return {};
        std::size_t at = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            btrfs_ioctl_search_header header{};
            if (results.size() - at < sizeof(header)) break;
            std::memcpy(&header, results.data() + at, sizeof(header));
            at += sizeof(header);
            const BtrfsKey found{header.objectid, static_cast<std::uint8_t>(header.type),
                                 header.offset};
            if (results.size() - at < header.len || found < *next || found > last) {
                return fail(Errc::corrupt,
                            fmt::format("tree {} of btrfs on '{}' is out of order at ({} {} {})",
                                        tree, name, found.objectid, found.type, found.offset),
                            "repair the filesystem: see 'btrfs check'");
            }
            if (!visit(found, results.subspan(at, header.len))) return {};
            at += header.len;
            next = after(found);
            if (!next) return {};
        }
    }
    return {};
}

}  // namespace amilift::dev
