// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/mount.hpp"
#include "dev/partition_table.hpp"
#include "dev/used_extents.hpp"
#include "image/safe_root.hpp"
#include "worker/conversion.hpp"

namespace amilift::worker {

enum class JournalReplay { never, allowed };

/// A second descriptor of the mounted root, as image::SafeRoot wants to own one.
[[nodiscard]] core::Result<image::SafeRoot> open_root(const dev::Mount& mount);

/// Errc::conflict if the disk is mounted, claimed, or (a file) behind a writable loop device.
[[nodiscard]] core::Result<> require_not_in_use(const dev::BlockDevice& disk);

/// The source: open, known to be a PV root that can be read as it is, mounted read-only.
class SourceImage {
  public:
    /// Errors: see convert().
    [[nodiscard]] static core::Result<SourceImage> open(const DiskRef& ref, JournalReplay replay);

    [[nodiscard]] const dev::BlockDevice& disk() const { return disk_; }
    [[nodiscard]] const dev::DiskContents& contents() const { return contents_; }
    [[nodiscard]] const dev::FilesystemInfo& filesystem() const { return filesystem_; }
    /// Must not be called after unmount().
    [[nodiscard]] const image::SafeRoot& root() const { return *root_; }
    [[nodiscard]] core::Result<dev::ExtentMap> used_extents() const;

    /// Errc::refused (id "filesystem-full") when the filesystem has no room for the few files that
    /// a conversion adds and replaces, and `bytes` besides.
    [[nodiscard]] core::Result<> require_room(std::uint64_t bytes) const;

    /// Nothing of the source is mounted while it is copied.
    [[nodiscard]] core::Result<> unmount();

  private:
    explicit SourceImage(dev::BlockDevice disk) : disk_(std::move(disk)) {}
    core::Result<> look_at_disk();
    core::Result<> replay_journal();
    core::Result<dev::Mount> mount(dev::Access access);

    dev::BlockDevice disk_;
    dev::DiskContents contents_;
    dev::FilesystemInfo filesystem_;
    // Destroyed in reverse: the root's descriptor would keep the mount busy, the mount the loop.
    std::optional<dev::LoopDevice> loop_;
    std::optional<dev::Mount> mount_;
    std::optional<image::SafeRoot> root_;
};

}  // namespace amilift::worker
