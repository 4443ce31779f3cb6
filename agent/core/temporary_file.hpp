// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::core {

/// A file of the helper that is gone when its owner is.
class TemporaryFile {
  public:
    /// With these contents, in the directory for temporary files. Errors: of the filesystem.
    static Result<TemporaryFile> make(std::string_view contents = {});

    TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    TemporaryFile& operator=(TemporaryFile&&) = delete;
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile();
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

/// A file without a name, in memory: nothing of it is left, however this process ends. `name` is
/// for messages and /proc only. Errors: of memfd_create(2) and write(2).
[[nodiscard]] Result<Fd> make_memory_file(const char* name, std::string_view contents);

}  // namespace amilift::core
