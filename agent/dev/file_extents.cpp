// SPDX-License-Identifier: Apache-2.0
#include "dev/file_extents.hpp"

#include <fmt/format.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// FIEMAP_EXTENT_LAST and _MERGED are the only flags of an extent that is what it seems. Named here
/// are the others, so that a flag of a later kernel is refused too.
constexpr std::uint32_t kPlainFlags = FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED;

Result<> refuse(std::string what, std::string id) {
    return fail(Errc::refused, std::move(what),
                "the filesystem does not keep the file as the boot loader needs it: convert to a "
                "disk with a partition table",
                std::move(id));
}

}  // namespace

Result<std::vector<Extent>> map_file_extents(const core::Fd& file, std::uint64_t size_bytes,
                                             std::uint32_t limit, const std::string& name) {
    const auto bytes = sizeof(fiemap) + std::size_t{limit} * sizeof(fiemap_extent);
    std::vector<std::byte> buffer(bytes);
    fiemap request;  // no braces: clang takes them for an initialiser of its array of no size
    std::memset(&request, 0, sizeof(request));
    request.fm_length = FIEMAP_MAX_OFFSET;
    request.fm_flags = FIEMAP_FLAG_SYNC;
    request.fm_extent_count = limit;
    std::memcpy(buffer.data(), &request, sizeof(request));
    if (::ioctl(file.get(), FS_IOC_FIEMAP, buffer.data()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot ask where '{}' lies", name));
    }
    std::memcpy(&request, buffer.data(), sizeof(request));

    std::vector<Extent> extents;
    std::uint64_t at = 0;
    std::uint32_t last_flags = 0;
    const auto count = std::min(request.fm_mapped_extents, limit);
    for (std::size_t i = 0; i < count && at < size_bytes; ++i) {
        fiemap_extent extent{};
        std::memcpy(&extent, buffer.data() + sizeof(fiemap) + i * sizeof(extent), sizeof(extent));
        last_flags = extent.fe_flags;
        if ((extent.fe_flags & ~kPlainFlags) != 0 || extent.fe_logical != at ||
            extent.fe_length == 0 || extent.fe_physical == 0) {
            AMILIFT_CHECK(refuse(fmt::format("'{}' has at byte {} an extent of byte {} with flags "
                                             "0x{:x}, expected plain blocks",
                                             name, at, extent.fe_logical, extent.fe_flags),
                                 "file-not-plain"));
        }
        extents.push_back({extent.fe_physical, extent.fe_length});
        at += extent.fe_length;
    }
    if (at < size_bytes && count == limit && (last_flags & FIEMAP_EXTENT_LAST) == 0) {
        AMILIFT_CHECK(refuse(fmt::format("'{}' lies in more than {} pieces", name, limit),
                             "file-fragmented"));
    }
    if (at < size_bytes) {
        AMILIFT_CHECK(
            refuse(fmt::format("'{}' has blocks for {} of {} bytes", name, at, size_bytes),
                   "file-not-plain"));
    }
    return extents;
}

}  // namespace amilift::dev
