// SPDX-License-Identifier: Apache-2.0
#include "image/xattrs.hpp"

#include <fmt/format.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstddef>

#include "image/safe_root_detail.hpp"

namespace amilift::image::detail {

using core::Fd;
using core::Result;

Result<std::optional<std::string>> read_xattr(const Fd& fd, const char* name,
                                              std::string_view path) {
    std::string value(65536, '\0');  // XATTR_SIZE_MAX of linux/limits.h
    const auto n = ::fgetxattr(fd.get(), name, value.data(), value.size());
    if (n < 0) {
        const int saved = errno;
        if (saved == ENODATA || saved == EOPNOTSUPP) return std::nullopt;
        return core::fail_errno(saved,
                                fmt::format("cannot read attribute {} of {}", name, quoted(path)));
    }
    value.resize(static_cast<std::size_t>(n));
    return value;
}

Result<> write_xattr(const Fd& fd, const char* name, const std::string& value,
                     std::string_view path) {
    if (::fsetxattr(fd.get(), name, value.data(), value.size(), 0) != 0) {
        const int saved = errno;
        return core::fail_errno(
            saved, fmt::format("cannot set attribute {} of the new {}", name, quoted(path)));
    }
    return {};
}

Result<> copy_xattrs(const Fd& from, const Fd& to, std::string_view path) {
    std::string names(65536, '\0');  // XATTR_LIST_MAX of linux/limits.h
    const auto n = ::flistxattr(from.get(), names.data(), names.size());
    if (n < 0) {
        const int saved = errno;
        if (saved == EOPNOTSUPP) return {};
        return core::fail_errno(saved, fmt::format("cannot list attributes of {}", quoted(path)));
    }
    names.resize(static_cast<std::size_t>(n));
    std::size_t at = 0;
    while (at < names.size()) {
        const std::string name(names.c_str() + at);
        at += name.size() + 1;
        if (name.empty()) continue;
        AMILIFT_TRY(const auto value, read_xattr(from, name.c_str(), path));
        if (value) AMILIFT_CHECK(write_xattr(to, name.c_str(), *value, path));
    }
    return {};
}

}  // namespace amilift::image::detail
