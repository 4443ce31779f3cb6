// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/initramfs.hpp"
#include "image/kernel_modules.hpp"

namespace amilift::image {

/// Texts of /lib/modules/<version> of an image; empty where there is no such file.
struct ModuleIndexTexts {
    std::string dep;
    std::string alias;
    std::string symbols;
    std::string softdep;
};

/// What the initramfs itself knows of that kernel's modules: its modules.dep.bin, which kmod reads,
/// or modules.dep if that is missing or damaged. Its files may be missing, or end otherwise.
[[nodiscard]] ModuleIndex initramfs_index(const InitramfsContents& contents,
                                          std::string_view version);

/// The modules that programs in the initramfs can load, by name: an index names them, and the very
/// files that it names for them and for all that they need are there.
[[nodiscard]] std::set<std::string> loadable_modules(const InitramfsContents& contents,
                                                     std::string_view version);

/// Those of `wanted`, and of what they need by the image's index, which have to be put into the
/// initramfs: file names relative to its module directory, unpacked (".ko"), each with the file of
/// the image that it is made of.
[[nodiscard]] std::map<std::string, std::string> files_to_add(const InitramfsContents& contents,
                                                              std::string_view version,
                                                              const std::set<std::string>& wanted,
                                                              const ModuleIndex& image);

/// Index files of the initramfs with `added` files: what its own say, and what the image's say of
/// modules that are there or added, with the names that files have there. Both kinds are written:
/// kmod reads the .bin files, busybox and module-init-tools the texts. Errors: corrupt for indexes
/// that are too large.
[[nodiscard]] core::Result<InitramfsFiles> merged_index(
    const InitramfsContents& contents, std::string_view version,
    const std::map<std::string, std::string>& added, const ModuleIndex& image,
    const ModuleIndexTexts& image_texts);

/// What `before` could do with the modules of that kernel and `after` cannot: "cannot load ext4",
/// "does not know alias ...". Empty: nothing.
[[nodiscard]] std::string lost_modules(const InitramfsContents& before,
                                       const InitramfsContents& after, std::string_view version);

}  // namespace amilift::image
