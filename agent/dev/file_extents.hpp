// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/used_extents.hpp"

namespace amilift::dev {

/// Where the bytes of a file lie on its device: extents in the order of the file, together its
/// `size_bytes` bytes from the first one on, rounded up to whole blocks. The file is flushed first.
/// Whoever reads these places from the device reads the file: anything else gives Errc::refused
/// (id "file-not-plain": a hole, unwritten, shared, encoded or inline data) or, for more than
/// `limit` extents, Errc::refused (id "file-fragmented"). `name` is the file's, for messages.
/// Source: linux/fiemap.h; the kernel's Documentation/filesystems/fiemap.rst.
[[nodiscard]] core::Result<std::vector<Extent>> map_file_extents(const core::Fd& file,
                                                                 std::uint64_t size_bytes,
                                                                 std::uint32_t limit,
                                                                 const std::string& name);

}  // namespace amilift::dev
