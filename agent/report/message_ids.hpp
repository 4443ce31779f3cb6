// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace amilift::report {

/// MESSAGE_IDs of the journal entries that an operator acts on; units/amilift.catalog explains
/// each, and a test compares the two lists. Made once with `systemd-id128 new`.
inline constexpr const char* kMessageStateEntered = "30a5a9ed34b443e7aa1bf9651dc56302";
inline constexpr const char* kMessageSucceeded = "7fcec3e28ed0487fa7b4c42ec5eeff41";
inline constexpr const char* kMessageFailed = "5cbae065203b456597b25d799f301fd1";

}  // namespace amilift::report
