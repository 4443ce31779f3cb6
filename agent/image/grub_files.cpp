// SPDX-License-Identifier: Apache-2.0
#include "image/grub_files.hpp"

#include <fmt/format.h>

#include <utility>

#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using core::Result;

/// Where the tree of a program's own archive begins here.
constexpr std::string_view kArchiveMount = "memdisk: ";

}  // namespace

std::optional<std::string> GrubFiles::path(std::string_view name, std::string_view root_device,
                                           SubvolumeView view, std::string* device) const {
    auto on = root_device;
    if (name.starts_with('(')) {
        const auto end = name.find(')');
        if (end == std::string_view::npos) return std::nullopt;
        on = name.substr(1, end - 1);
        name.remove_prefix(end + 1);
    }
    if (on == "memdisk" && !archive_.empty()) {
        // A name without a slash is a list of blocks for GRUB.
        if (!name.starts_with('/')) return std::nullopt;
        return fmt::format("{}{}", kArchiveMount, name);
    }
    const auto* volume = find_grub2_device(disk_, on);
    auto path = volume == nullptr ? std::nullopt : tree_path(*volume, name, view);
    if (!path && device != nullptr) {
        *device = on.starts_with('(') ? std::string(on) : fmt::format("({})", on);
    }
    return path;
}

Result<FileStatus> GrubFiles::status(const std::string& path) const {
    FileStatus status;
    if (is_efi(path)) {
        AMILIFT_TRY(const auto file, read_efi(path, 1));
        status.kind = file.kind;
        status.size_bytes = file.bytes.size();
        return status;
    }
    auto in_tree = root_.status(path);
    if (!in_tree && !in_tree.error().is(Errc::io_error)) return status;
    return in_tree;
}

Result<std::string> GrubFiles::read(const std::string& path, std::size_t limit) const {
    if (is_efi(path)) {
        AMILIFT_TRY(auto file, read_efi(path, limit + 1));
        if (file.kind == FileKind::regular && file.bytes.size() <= limit) {
            return std::move(file.bytes);
        }
        return core::fail(Errc::not_found, fmt::format("no file '{}'", printable(path)));
    }
    if (!instead_.empty()) {
        const auto real = root_.resolve(path);
        if (const auto* text = real ? text_instead(instead_, *real) : nullptr) return *text;
    }
    return root_.read(path, limit);
}

/// Is it a file of the EFI system partition, or of the archive in the program?
bool GrubFiles::is_efi(std::string_view path) const {
    return efi_ != nullptr && (path.starts_with(kEfiMount) || path.starts_with(kArchiveMount));
}

Result<EfiFile> GrubFiles::read_efi(std::string_view path, std::size_t limit) const {
    if (path.starts_with(kEfiMount)) return efi_->read(path.substr(kEfiMount.size()), limit);
    return efi_->read_inside(archive_, path.substr(kArchiveMount.size()), limit);
}

}  // namespace amilift::image
