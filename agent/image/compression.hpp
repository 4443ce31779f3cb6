// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::image {

/// What Linux can unpack an initramfs from. Source: lib/decompress.c.
enum class Compression { gzip, xz, lzma, zstd, bzip2, lz4_legacy };
[[nodiscard]] std::string_view to_string(Compression compression) noexcept;

/// By the magic bytes at the start, as the kernel does; absent if it is none of them.
[[nodiscard]] std::optional<Compression> compression_of(std::string_view bytes);

/// Hears unpacked bytes in pieces; its error ends the unpacking and is passed on.
using UnpackedSink = std::function<core::Result<>(std::string_view)>;

/// Unpacks the one stream that `bytes` begin with and gives the number of bytes that it takes; what
/// follows is not looked at. Memory stays below 200 MiB whatever the stream says. Errors: corrupt
/// for a damaged or cut stream, and for one of more than `limit` unpacked bytes.
[[nodiscard]] core::Result<std::size_t> unpack(std::string_view bytes, Compression compression,
                                               std::uint64_t limit, const UnpackedSink& sink);

/// The same into memory.
[[nodiscard]] core::Result<std::string> unpack_all(std::string_view bytes, Compression compression,
                                                   std::uint64_t limit);

/// One gzip stream; the same bytes give the same stream. Errors: internal.
[[nodiscard]] core::Result<std::string> pack_gzip(std::string_view bytes);

/// One stream of the format that `lz4 -l` writes. Errors: internal.
[[nodiscard]] core::Result<std::string> pack_lz4_legacy(std::string_view bytes);

}  // namespace amilift::image
