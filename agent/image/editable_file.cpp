// SPDX-License-Identifier: Apache-2.0
#include "image/editable_file.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

constexpr std::size_t kMostNames = 1000;

Result<FileKind> kind_of(Result<FileStatus> status) {
    if (status) return status->kind;
    if (status.error().is(Errc::corrupt)) return FileKind::missing;
    return std::unexpected(std::move(status).error());
}

bool is_leftover(std::string_view name) {
    constexpr std::array<std::string_view, 11> kEndings{
        "~",        ".bak",    ".old",      ".orig",      ".swp",     ".rpmsave",
        ".rpmorig", ".rpmnew", ".dpkg-old", ".dpkg-dist", ".dpkg-new"};
    return name.starts_with('.') || std::ranges::any_of(kEndings, [&](std::string_view ending) {
               return name.ends_with(ending);
           });
}

}  // namespace

Result<std::optional<EditableFile>> editable_file(const SafeRoot& root, std::string_view path,
                                                  std::size_t limit) {
    auto real = root.resolve(path);
    if (!real) {
        const auto& error = real.error();
        if (error.is(Errc::not_found) || error.is(Errc::refused) || error.is(Errc::corrupt)) {
            return std::nullopt;
        }
        return std::unexpected(error);
    }
    AMILIFT_TRY(const auto status, root.status(*real));
    if (status.kind != FileKind::regular || status.size_bytes > limit) return std::nullopt;
    AMILIFT_TRY(auto text, root.read(*real, limit));
    return EditableFile{*std::move(real), std::move(text)};
}

Result<FileKind> link_kind(const SafeRoot& root, std::string_view path) {
    return kind_of(root.link_status(path));
}

Result<FileKind> file_kind(const SafeRoot& root, std::string_view path) {
    return kind_of(root.status(path));
}

Result<std::vector<std::string>> config_names(const SafeRoot& root, std::string_view directory) {
    AMILIFT_TRY(const auto kind, file_kind(root, directory));
    if (kind != FileKind::directory) return std::vector<std::string>{};
    auto names = root.list(directory, kMostNames);
    if (!names) {
        if (names.error().is(Errc::corrupt)) return std::vector<std::string>{};
        return std::unexpected(std::move(names).error());
    }
    std::erase_if(*names, is_leftover);
    return names;
}

Result<bool> is_masked(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const auto kind, link_kind(root, path));
    if (kind == FileKind::symlink) {
        AMILIFT_TRY(const auto text, root.read_link(path));
        if (text == "/dev/null") return true;
    }
    auto status = root.status(path);
    if (!status) return false;
    return status->kind == FileKind::regular && status->size_bytes == 0;
}

}  // namespace amilift::image
