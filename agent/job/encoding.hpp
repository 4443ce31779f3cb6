// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::job {

/// Whether `bytes` begin like a gzip member (RFC 1952: 1f 8b 08).
[[nodiscard]] bool is_gzip(std::string_view bytes) noexcept;

/// Unpacks gzip data of one or more members; zero bytes after the last one are padding.
/// Errc::invalid_input: data that is damaged, cut off or followed by something else, or more than
/// `limit` bytes of output (nothing beyond the limit is unpacked). `name` is for messages.
[[nodiscard]] core::Result<std::string> gunzip(std::string_view bytes, std::size_t limit,
                                               std::string_view name);

/// Decodes base64 (RFC 4648 section 4; white space between the characters is skipped, padding is
/// required). Nullopt if `text` is anything else.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace amilift::job
