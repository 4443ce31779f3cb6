// SPDX-License-Identifier: Apache-2.0
#include "core/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "core/fd.hpp"

namespace amilift::core {

Result<> write_file_atomically(const std::string& path, std::string_view contents, unsigned mode) {
    auto directory = std::filesystem::path(path).parent_path().string();
    if (directory.empty()) directory = ".";
    std::string temporary = path + ".XXXXXX";
    const Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot make a temporary file beside '{}'", path));
    }
    auto write = [&]() -> Result<> {
        AMILIFT_CHECK(write_all(fd, contents, temporary));
        if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 ||
            ::rename(temporary.c_str(), path.c_str()) != 0) {
            const int saved = errno;
            return fail_errno(saved, fmt::format("cannot replace '{}'", path));
        }
        return {};
    };
    if (auto written = write(); !written) {
        ::unlink(temporary.c_str());
        return written;
    }
    AMILIFT_TRY(const Fd dir, open_file(directory, O_RDONLY | O_DIRECTORY));
    if (::fsync(dir.get()) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot make the new name '{}' durable", path));
    }
    return {};
}

}  // namespace amilift::core
