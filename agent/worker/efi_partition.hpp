// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/command.hpp"
#include "dev/loop_device.hpp"
#include "image/efi_files.hpp"
#include "image/efi_start.hpp"
#include "worker/source_image.hpp"

namespace amilift::worker {

/// What all reads of a disk's EFI system partitions may take together.
struct EfiReadBudget {
    core::Duration time = std::chrono::seconds(60);
    int reads = 200;
    core::Duration spent{};
    int made = 0;
};

/// An EFI system partition, read by GRUB's own filesystem code (grub-fstest): neither the kernel's
/// vfat driver nor another reader of FAT is needed. Nothing is mounted or written. However the
/// filesystem is damaged, its reads end when the budget is spent or `cancel` is requested. Root is
/// needed for read_inside() only, which makes a loop device.
class EfiPartition final : public image::EfiFiles {
  public:
    /// `disk` is a device or a file. All that is given by reference must outlive this.
    EfiPartition(std::string disk, bool is_gpt, int partition, core::CommandRunner& commands,
                 EfiReadBudget& budget, const core::Cancel& cancel);

    [[nodiscard]] core::Result<image::EfiFile> read(std::string_view path,
                                                    std::size_t limit) override;
    [[nodiscard]] core::Result<std::vector<std::string>> list(std::string_view path) override;
    /// GRUB goes on where it cannot read its archive: there is nothing then.
    [[nodiscard]] core::Result<image::EfiFile> read_inside(std::string_view archive,
                                                           std::string_view path,
                                                           std::size_t limit) override;

  private:
    core::Result<core::CommandOutput> cat(const std::string& disk, const std::string& name,
                                          std::size_t limit);
    core::Result<core::CommandOutput> ask(const std::string& disk, std::vector<std::string> words,
                                          std::size_t limit);
    core::Result<std::string> disk_of(std::string_view archive);

    std::string disk_;
    bool is_gpt_;
    std::string device_;  ///< "(loop0,gpt15)"
    core::CommandRunner& commands_;
    EfiReadBudget& budget_;
    const core::Cancel& cancel_;
    std::string archive_;  ///< what archive_disk_ has
    std::optional<dev::LoopDevice> archive_disk_;
};

/// What UEFI firmware makes of the disk; absent if it has no EFI system partition. Of several, the
/// first four are looked at, and the first one with a program for removable media counts. Error:
/// cancelled.
[[nodiscard]] core::Result<std::optional<image::EfiStart>> look_at_efi_start(
    const SourceImage& source, const image::ImageFacts& facts, core::CommandRunner& commands,
    const core::Cancel& cancel, EfiReadBudget budget = {});

}  // namespace amilift::worker
