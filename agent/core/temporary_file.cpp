// SPDX-License-Identifier: Apache-2.0
#include "core/temporary_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <span>

namespace amilift::core {

Result<TemporaryFile> TemporaryFile::make(std::string_view contents) {
    std::error_code ignored;
    auto directory = std::filesystem::temp_directory_path(ignored);
    if (directory.empty()) directory = "/tmp";
    auto path = (directory / "amilift.XXXXXX").string();
    const Fd fd(::mkostemp(path.data(), O_CLOEXEC));
    if (!fd) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot make a file in '{}'", directory.string()));
    }
    TemporaryFile file(std::move(path));
    AMILIFT_CHECK(write_all_at(fd, std::as_bytes(std::span(contents)), 0, file.path()));
    return file;
}

TemporaryFile::~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

Result<Fd> make_memory_file(const char* name, std::string_view contents) {
    Fd fd(::memfd_create(name, MFD_CLOEXEC));
    if (!fd) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot make the file '{}' in memory", name));
    }
    AMILIFT_CHECK(write_all_at(fd, std::as_bytes(std::span(contents)), 0, name));
    return fd;
}

}  // namespace amilift::core
