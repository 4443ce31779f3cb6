// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.hpp"
#include "image/readiness.hpp"
#include "job/job.hpp"
#include "worker/conversion.hpp"

namespace amilift::worker {

/// Does the result start by UEFI, besides BIOS? The kernel that boots starts from there, and what
/// lies in the EFI system partition leads to it. `result` is the target, looked at.
[[nodiscard]] bool can_boot_by_uefi(const Inspection& result);

/// Errc::refused, with the id of the reason, when the source is refused on a platform that the
/// job wants and no conversion mends that. Without `target.platform` the image is to run on Nitro
/// as far as its drivers let it: then only what keeps the kernel from its root counts, and so it is
/// for a paravirtual target.
[[nodiscard]] core::Result<> require_ready(const job::ConversionOptions& options,
                                           const Inspection& source);

/// The modules have proved what they did. Whether that is all that was needed, the result tells,
/// looked at like any other disk: what a menu does is more than the lines that an editor knows.
/// Gives a line for each platform, or Errc::refused (id "not-ready").
[[nodiscard]] core::Result<std::vector<std::string>> prove_default_entry(
    const job::ConversionOptions& options, const Inspection& source, const Inspection& result);

}  // namespace amilift::worker
