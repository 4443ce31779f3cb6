// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::dev {

struct DeviceFacts;

enum class Access { read_only, read_write };

/// An open disk: a block device or a regular file that stands for one. Owns the descriptor.
/// Opened with O_EXCL when it is a block device that is to be written, so that a mounted or
/// otherwise claimed device is refused.
class BlockDevice {
  public:
    /// Errors: not_found, permission_denied (also: a read-only device), conflict (device is mounted
    /// or in use), unsupported kinds of file are invalid_input.
    [[nodiscard]] static core::Result<BlockDevice> open(const std::string& path, Access access);
    /// A disk that somebody else has opened for reading, as descriptor `fd`, which stays theirs.
    /// `name` is what they call it, and what messages do: it need not lead anywhere from here.
    /// Errors: those of fcntl(2); invalid_input as above.
    [[nodiscard]] static core::Result<BlockDevice> duplicate(int fd, const std::string& name);

    [[nodiscard]] const std::string& path() const { return path_; }
    /// Whether path() led to this disk when it was opened. False for some duplicates only.
    [[nodiscard]] bool is_at_path() const { return is_at_path_; }
    [[nodiscard]] const core::Fd& fd() const { return fd_; }
    [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
    [[nodiscard]] std::uint32_t logical_sector_bytes() const { return sector_bytes_; }
    [[nodiscard]] bool is_block_device() const { return is_block_; }
    [[nodiscard]] Access access() const { return access_; }

    /// NVMe serial read from the open descriptor's device (sysfs of its major:minor), or empty when
    /// the device is not NVMe. EBS: "vol" + 17 hex digits.
    [[nodiscard]] core::Result<std::string> nvme_serial() const;

    /// Errc::conflict unless the device that is open is that of EBS volume `volume_id`, which was
    /// attached as `requested_device`, by the rule of is_device_of_volume(). The last look before
    /// the first write: names and links of /dev can be stale, the descriptor's number cannot.
    [[nodiscard]] core::Result<> require_volume(const std::string& volume_id,
                                                const std::string& requested_device) const;

    /// fsync (files) or fsync + BLKFLSBUF (devices).
    [[nodiscard]] core::Result<> flush() const;

    /// A second descriptor of the very same file or device with other open(2) flags (O_DIRECT,
    /// say), never of whatever bears the name by now. Needs /proc.
    [[nodiscard]] core::Result<core::Fd> reopen(int flags) const;

    /// "/proc/self/fd/N": a path to the open disk for code that takes nothing but paths. Valid
    /// while this object lives, in this process only.
    [[nodiscard]] std::string self_path() const;

  private:
    BlockDevice() = default;
    core::Result<> measure();
    std::string path_;
    bool is_at_path_ = true;
    core::Fd fd_;
    std::uint64_t size_bytes_ = 0;
    std::uint32_t sector_bytes_ = 512;
    bool is_block_ = false;
    Access access_ = Access::read_only;
};

/// The NVMe serial of block device major:minor as sysfs tree `sysfs` ("/sys") tells it, blanks
/// trimmed; for a partition, that of its disk. Empty when the device is not NVMe. Errors:
/// not_found (no such device), io_error.
[[nodiscard]] core::Result<std::string> read_nvme_serial(const std::string& sysfs, unsigned major,
                                                         unsigned minor);

/// What sysfs tells about block device major:minor: sysname, devtype and serial; udev's part stays
/// empty. Errors: those of read_nvme_serial().
[[nodiscard]] core::Result<DeviceFacts> read_device_facts(const std::string& sysfs, unsigned major,
                                                          unsigned minor);

/// Whether an NVMe serial ("vol0abc...") is that of EBS volume `volume_id` ("vol-0abc..."): EBS
/// gives the id without its dash. False when either is empty.
[[nodiscard]] bool serial_is_volume(std::string_view serial, std::string_view volume_id);

/// What a path stands for in the end: a regular file (device and inode), or a block device (its
/// number). A loop device stands for the file behind it.
struct DiskIdentity {
    bool is_file = false;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;  ///< 0 for a block device
    friend bool operator==(const DiskIdentity&, const DiskIdentity&) = default;
};

/// Errors: those of stat(2). Source: linux/loop.h, LOOP_GET_STATUS64.
[[nodiscard]] core::Result<DiskIdentity> identity_of(const std::string& path);

}  // namespace amilift::dev
