// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/fstab.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// Adds what users should know of the guest's own files, beside kernels and menus: mounts of
/// devices that will not be there, the network, drivers of XenLinux, kudzu, whether a stop through
/// the API reaches the guest, SELinux. Needs facts.fstab_text and facts.init. Never a refusal.
[[nodiscard]] core::Result<> report_guest(const SafeRoot& root, ImageFacts& facts);

/// For people: what edit_fstab() makes of an entry that is named by its device. It gets the name of
/// the root or of another partition of the disk, or becomes optional.
[[nodiscard]] std::string what_fstab_edit_does(const ImageFacts& facts, const FstabEntry& entry);

/// Links by which sysvinit starts kudzu, which asks on the console what to do about new hardware
/// and moves the files of the old card away.
[[nodiscard]] core::Result<std::vector<std::string>> kudzu_links(const SafeRoot& root);

/// Files of modprobe's configuration that exist, resolved.
[[nodiscard]] core::Result<std::vector<std::string>> modprobe_files(const SafeRoot& root);

}  // namespace amilift::image
