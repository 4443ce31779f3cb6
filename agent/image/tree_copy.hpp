// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::image {

/// What a tree may have at most: a /boot has some hundred files.
inline constexpr std::size_t kMaxTreeFiles = 20000;
inline constexpr std::size_t kMaxTreeDepth = 32;

struct TreeSize {
    std::uint64_t bytes = 0;  ///< of the files' contents, each rounded up to 4096
    std::size_t files = 0;    ///< names of any kind
    friend bool operator==(const TreeSize&, const TreeSize&) = default;
};

/// Counts what copy_tree() would copy. Errc::refused (id "tree-not-copyable") for more than
/// kMaxTreeFiles names or kMaxTreeDepth levels, and for anything but files, directories and
/// symbolic links.
[[nodiscard]] core::Result<TreeSize> measure_tree(const core::Fd& from);

struct CopiedPath {
    std::string path;  ///< below the directory: "grub/menu.lst"
    std::string kind;  ///< "file", "directory", "link", as in the manifest
};

/// Copies what is in the directory `from` into the directory `to` of another filesystem, with
/// modes, owners, times, extended attributes and hard links; "lost+found" at the top is left out.
/// Mounts below `from` are not entered. A file or link that is in the way is replaced, a directory
/// is used and gets the attributes of the copied one; so does `to`. No link is followed on either
/// side, and no file gets holes. Errors: those of measure_tree(), conflict (a directory is in the
/// place of a file, or the other way round), no_space, io_error.
[[nodiscard]] core::Result<std::vector<CopiedPath>> copy_tree(const core::Fd& from,
                                                              const core::Fd& to);

}  // namespace amilift::image
