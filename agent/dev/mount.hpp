// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/filesystem.hpp"
#include "dev/loop_device.hpp"

namespace amilift::dev {

/// A mounted filesystem of an image, in a directory that only the mount knows; unmounted in the
/// destructor. Always nosuid,nodev,noexec; never follows anything of the image. An ext superblock
/// that asks for a kernel panic on errors is overruled.
///
/// Of a btrfs one subvolume is mounted: `subvolume` is its number, 0 the default one. Its name is
/// the image's and never becomes a mount option.
class Mount {
  public:
    /// Mounts block device `device_path`. Read-only mounts of a dirty ext filesystem use "noload",
    /// of XFS "norecovery,nouuid",
    /// of btrfs "rescue=nologreplay", so that the device is not written. The directory is made in
    /// /run/amilift, or in $TMPDIR (/tmp) where that cannot be. Errors: invalid_input (no
    /// mountable type), corrupt (the kernel finds no such filesystem), permission_denied,
    /// conflict (the device is in use), not_installed (the kernel has no such filesystem).
    [[nodiscard]] static core::Result<Mount> mount(const std::string& device_path, Filesystem type,
                                                   Access access, std::uint64_t subvolume = 0);
    /// Mounts it on the directory `below` ("boot", "boot/efi") of another mount. That directory
    /// must be there and no link may lead to it, so that nothing of the image decides where the
    /// mount lands; not_found and corrupt tell otherwise. Needs a mount namespace of our own, and
    /// /proc. Ends before `parent` does.
    [[nodiscard]] static core::Result<Mount> mount_below(const Mount& parent,
                                                         const std::string& below,
                                                         const std::string& device_path,
                                                         Filesystem type, Access access,
                                                         std::uint64_t subvolume = 0);
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    Mount(Mount&& other) noexcept;
    Mount& operator=(Mount&& other) noexcept;
    /// Detaches the mount even if something still holds it: it ends with its last user then.
    ~Mount();

    /// O_DIRECTORY descriptor of the root directory: what image::SafeRoot and map_used_extents()
    /// take. Duplicates of it hold the mount: close them before unmount().
    [[nodiscard]] const core::Fd& root() const { return root_; }
    [[nodiscard]] const std::string& directory() const { return directory_; }
    /// syncfs + umount2; reports failure (conflict names what holds it, where that can be seen;
    /// then the mount stays and unmount() can be called again). Unmounting twice is fine.
    [[nodiscard]] core::Result<> unmount();

  private:
    Mount() = default;
    void abandon() noexcept;
    void leave_directory() noexcept;
    std::string directory_;
    bool is_own_directory_ = true;  ///< made by us, removed in the end
    core::Fd root_;
};

/// Moves the calling process to a mount namespace of its own with private propagation, so that no
/// mount of an image is ever seen by the host. Needs CAP_SYS_ADMIN. Call it before any thread is
/// started: the namespace is the calling thread's and of those it starts.
[[nodiscard]] core::Result<> enter_private_mount_namespace();

}  // namespace amilift::dev
