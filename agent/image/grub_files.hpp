// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/boot_disk.hpp"
#include "image/boot_menu.hpp"
#include "image/efi_files.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// The files of a disk as GRUB 2 sees them. It names them "(hd0,1)/boot/x", or "/boot/x" on the
/// device in its variable root; here they have paths in the image's tree, and those on an EFI
/// system partition begin with kEfiMount. What is given is not owned.
class GrubFiles {
  public:
    /// `instead`: files whose planned text counts.
    GrubFiles(const SafeRoot& root, const BootDisk& disk, std::span<const FileInstead> instead)
        : root_(root), disk_(disk), instead_(instead) {}
    /// For GRUB as a program of UEFI, with the archive (memdisk) inside of it, which may be empty.
    GrubFiles(const SafeRoot& root, const BootDisk& disk, std::string_view archive, EfiFiles& efi)
        : root_(root), disk_(disk), archive_(archive), efi_(&efi) {}

    /// Where the file `name` of GRUB's lies; absent for what is no place of the image: `device`
    /// then receives the name of a device that the image does not have.
    [[nodiscard]] std::optional<std::string> path(std::string_view name,
                                                  std::string_view root_device, SubvolumeView view,
                                                  std::string* device = nullptr) const;
    /// By a path as path() gives it. What cannot be looked at is missing; error: io_error.
    [[nodiscard]] core::Result<FileStatus> status(const std::string& path) const;
    /// The same; errors as SafeRoot::read(), for a file longer than `limit` bytes too.
    [[nodiscard]] core::Result<std::string> read(const std::string& path, std::size_t limit) const;

  private:
    [[nodiscard]] bool is_efi(std::string_view path) const;
    [[nodiscard]] core::Result<EfiFile> read_efi(std::string_view path, std::size_t limit) const;

    const SafeRoot& root_;
    const BootDisk& disk_;
    std::span<const FileInstead> instead_;
    std::string_view archive_;
    EfiFiles* efi_ = nullptr;  ///< null: started by a BIOS
};

}  // namespace amilift::image
