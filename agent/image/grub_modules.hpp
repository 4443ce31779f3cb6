// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/boot_disk.hpp"
#include "image/grub_files.hpp"

namespace amilift::image {

/// The module of GRUB 2 for x86_64-efi that has the command; empty: GRUB's kernel has it, or it is
/// none that decides what is booted. Source: command.lst of GRUB 2.06.
[[nodiscard]] std::string_view grub_module_of(std::string_view command);

/// The modules of a GRUB 2 that is a program of UEFI: those inside of it, and those that it loads
/// from below its prefix. What is given is not owned.
class GrubModules {
  public:
    GrubModules(const BootDisk& disk, const GrubFiles& files,
                std::set<std::string, std::less<>> inside)
        : disk_(disk), files_(files), loaded_(std::move(inside)) {}

    [[nodiscard]] bool has(std::string_view name) const { return loaded_.contains(name); }
    /// As `insmod`: false where `prefix` ("(hd0,gpt1)/boot/grub") has no such module, or is on a
    /// device that cannot be read with what is loaded already. Error: io_error.
    [[nodiscard]] core::Result<bool> load(std::string_view name, const std::string& prefix,
                                          SubvolumeView view);
    /// The partition map that it takes to find `device` ("hd0,gpt1"), if it is not loaded. Nothing
    /// but `insmod` loads one.
    [[nodiscard]] std::string_view missing_map(std::string_view device) const;
    /// What it takes to read files there, if it is not loaded: a filesystem, or that of the archive
    /// in the program. GRUB loads one when it comes to such a device.
    [[nodiscard]] std::string_view missing_filesystem(std::string_view device) const;

    [[nodiscard]] const std::set<std::string, std::less<>>& loaded() const { return loaded_; }
    void restore(std::set<std::string, std::less<>> loaded) { loaded_ = std::move(loaded); }

    /// Either of the two, for a file that is named with its device.
    [[nodiscard]] std::string_view needed_to_read(std::string_view file) const;

    /// Where load() looks.
    [[nodiscard]] static std::string file_of(std::string_view name, std::string_view prefix);

  private:
    const BootDisk& disk_;
    const GrubFiles& files_;
    std::set<std::string, std::less<>> loaded_;
    /// Files that were looked for: are they there? To ask costs a process on some devices.
    std::map<std::string, bool, std::less<>> seen_;
};

}  // namespace amilift::image
