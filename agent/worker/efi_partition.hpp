// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/command.hpp"
#include "image/efi_files.hpp"
#include "image/efi_start.hpp"
#include "worker/source_image.hpp"

namespace amilift::worker {

/// An EFI system partition, read by GRUB's own filesystem code (grub-fstest): neither the kernel's
/// vfat driver nor another reader of FAT is needed. Nothing is mounted or written. However the
/// filesystem is damaged, all reads together end within about a minute.
class EfiPartition final : public image::EfiFiles {
  public:
    /// `disk` is a device or a file; `commands` must outlive this.
    EfiPartition(std::string disk, bool is_gpt, int partition, core::CommandRunner& commands);

    [[nodiscard]] core::Result<image::EfiFile> read(std::string_view path,
                                                    std::size_t limit) override;
    [[nodiscard]] core::Result<std::vector<std::string>> list(std::string_view path) override;
    [[nodiscard]] core::Result<image::EfiFile> read_inside(std::string_view archive,
                                                           std::string_view path,
                                                           std::size_t limit) override;

  private:
    core::Result<image::EfiFile> read_of(const std::string& disk, const std::string& name,
                                         std::size_t limit);
    core::Result<core::CommandOutput> ask(std::vector<std::string> argv, std::size_t limit);

    std::string disk_;
    std::string device_;  ///< "(loop0,gpt15)"
    core::CommandRunner& commands_;
    core::Duration left_;
    int asked_ = 0;
};

/// What UEFI firmware makes of the disk; absent if it has no EFI system partition. Of several, the
/// first one with a program for removable media counts.
[[nodiscard]] std::optional<image::EfiStart> look_at_efi_start(const SourceImage& source,
                                                               const image::ImageFacts& facts,
                                                               core::CommandRunner& commands);

}  // namespace amilift::worker
