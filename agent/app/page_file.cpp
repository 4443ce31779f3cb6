// SPDX-License-Identifier: Apache-2.0
#include "app/page_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <string_view>

#include "core/fd.hpp"
#include "dev/block_device.hpp"

namespace amilift::app {
namespace {

constexpr std::string_view kPageStart = "<!DOCTYPE html>";

core::Result<bool> is_page(const std::string& path) {
    AMILIFT_TRY(const auto file, core::open_file(path, O_RDONLY | O_NONBLOCK));
    std::string start(kPageStart.size(), '\0');
    const auto bytes = std::as_writable_bytes(std::span(start));
    return core::read_exactly_at(file, bytes, 0, path).has_value() && start == kPageStart;
}

}  // namespace

core::Result<> require_page_place(const std::string& path, const std::string& source) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return {};
    if (!source.empty()) {
        const auto page = dev::identity_of(path);
        const auto disk = dev::identity_of(source);
        if (page && disk && *page == *disk) {
            return core::fail(core::Errc::invalid_input,
                              fmt::format("the page is to be written to '{}', which is the disk "
                                          "that is looked at",
                                          path),
                              "name another file with --html");
        }
    }
    if (S_ISREG(status.st_mode)) {
        AMILIFT_TRY(const bool page, is_page(path));
        if (page || status.st_size == 0) return {};
    }
    return core::fail(core::Errc::already_exists,
                      fmt::format("'{}' exists and is no HTML page", path),
                      "remove it, or name another file with --html");
}

}  // namespace amilift::app
