// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

struct EfiFile {
    FileKind kind = FileKind::missing;
    std::string bytes;  ///< of a regular file, as many as were asked for
};

/// An EFI system partition as its firmware and its boot loaders see it: paths begin with '/', and
/// "/EFI/BOOT" is "/efi/boot". What is not there is no error; errors are io_error (it cannot be
/// read, or not in time) and not_installed (what reads it is missing on the helper).
class EfiFiles {
  public:
    EfiFiles() = default;
    EfiFiles(const EfiFiles&) = delete;
    EfiFiles& operator=(const EfiFiles&) = delete;
    virtual ~EfiFiles() = default;

    /// The first `limit` bytes, which must be more than 0.
    [[nodiscard]] virtual core::Result<EfiFile> read(std::string_view path, std::size_t limit) = 0;
    /// The names in a directory; none if there is no such directory. A name with blanks is told in
    /// parts, which read() does not find.
    [[nodiscard]] virtual core::Result<std::vector<std::string>> list(std::string_view path) = 0;
    /// As read(), of the filesystem or tar archive that these bytes are.
    [[nodiscard]] virtual core::Result<EfiFile> read_inside(std::string_view archive,
                                                            std::string_view path,
                                                            std::size_t limit) = 0;
};

}  // namespace amilift::image
