// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace amilift::core {

/// Text of unknown authorship for a terminal, a log or a page: it must not steer what shows it.
/// Control characters are written as \xNN per byte: C0, DEL, C1 (U+0080 to U+009F, encoded or as
/// raw bytes), the line and paragraph separators, and the characters that turn the direction of
/// writing. So are bytes that are no UTF-8. Everything else stays.
[[nodiscard]] std::string printable(std::string_view text);

/// "1.5 GiB", "312 MiB", "17 bytes".
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

}  // namespace amilift::core
