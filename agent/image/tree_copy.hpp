// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::image {

/// What a tree may have at most: a /boot has some hundred files.
inline constexpr std::size_t kMaxTreeFiles = 20000;
inline constexpr std::size_t kMaxTreeDepth = 32;

struct TreeSize {
    std::uint64_t bytes = 0;  ///< that the files will take, in blocks of 4096
    std::size_t files = 0;    ///< names of any kind
    friend bool operator==(const TreeSize&, const TreeSize&) = default;
};

/// Names of files below a directory ("vmlinuz-6.1") that get no holes: a boot loader that does not
/// read them reads these.
using FilesWithoutHoles = std::set<std::string>;

/// Counts what copy_tree() would write. Errc::refused (id "tree-not-copyable") for more than
/// kMaxTreeFiles names or kMaxTreeDepth levels, and for anything but files, directories and
/// symbolic links.
[[nodiscard]] core::Result<TreeSize> measure_tree(const core::Fd& from,
                                                  const FilesWithoutHoles& whole);

/// The first name below the directory that is no directory, "lost+found" at the top left out;
/// absent if there are directories only. The same bounds and errors.
[[nodiscard]] core::Result<std::optional<std::string>> first_file(const core::Fd& directory);

struct CopiedPath {
    std::string path;  ///< below the directory: "grub/menu.lst"
    std::string kind;  ///< "file", "directory", "link", as in the manifest
};

/// Copies what is in the directory `from` into the directory `to` of another filesystem, with
/// modes, owners, times, extended attributes (ACLs are such), hard links and holes, except those of
/// `whole`; "lost+found" at the top is left out. Mounts below `from` are not entered. A file, link
/// or empty directory that is in the way is replaced, a directory is used and gets the attributes
/// of the copied one; so does `to`. No link is followed on either side. Errors: those of
/// measure_tree(), conflict (a directory that is not empty is in the place of a file, or something
/// else in the place of a directory), no_space, io_error.
[[nodiscard]] core::Result<std::vector<CopiedPath>> copy_tree(const core::Fd& from,
                                                              const core::Fd& to,
                                                              const FilesWithoutHoles& whole);

}  // namespace amilift::image
