// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace amilift::job {

inline constexpr std::size_t kMaxMimeParts = 64;
inline constexpr std::size_t kMaxMimeDepth = 8;

/// A leaf of a MIME message.
struct MimePart {
    std::string type;     ///< "text/x-amilift", lower case
    std::string place;    ///< "2", or "2.1" for the first part of the second part
    std::string name;     ///< its file name, may be empty
    std::string content;  ///< bytes; the transfer encoding (base64, quoted-printable) is undone
};

/// Whether `text` begins with a header block (RFC 5322) that has Content-Type or MIME-Version; an
/// mbox "From " line and blank lines may come first.
[[nodiscard]] bool looks_like_mime(std::string_view text);

/// All leaves of a MIME message (RFC 2045, 2046), in order. Errc::invalid_input: more than
/// kMaxMimeParts parts or kMaxMimeDepth levels, or a multipart without its closing delimiter, which
/// means that the message was cut off. `name` is for messages.
[[nodiscard]] core::Result<std::vector<MimePart>> split_mime(std::string_view text,
                                                             std::string_view name);

}  // namespace amilift::job
