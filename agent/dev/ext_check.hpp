// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/command.hpp"
#include "core/result.hpp"
#include "dev/filesystem.hpp"

namespace amilift::dev {

/// A filesystem of the ext family whose maps of free space may be older than its files, and that
/// has no journal to mend them by: what runs without a journal and was not unmounted (an ext2 of a
/// live snapshot). Nothing may be written to it, and its bitmap means nothing, before check_ext().
[[nodiscard]] bool needs_check(const FilesystemInfo& info);

/// Runs the helper's `e2fsck -f -p` on an ext filesystem that is not mounted: `device` is a block
/// device (a loop device, say) that begins with it, `name` is what messages call it. What can be
/// mended without asking is. Errors: refused (id "filesystem-has-errors", with e2fsck's last
/// words: errors are left), io_error (it could not check), not_installed, timed_out. Source of the
/// exit codes: e2fsck(8).
[[nodiscard]] core::Result<> check_ext(core::CommandRunner& commands, const std::string& device,
                                       const std::string& name);

}  // namespace amilift::dev
