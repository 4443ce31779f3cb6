// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "worker/conversion.hpp"

namespace amilift::worker {

/// What an output file is called while it is made. A file of that name that nobody holds a lock on
/// is taken for what a killed conversion has left.
[[nodiscard]] std::string partial_name(const std::string& name);

/// The disk that is written: an existing block device, or a file. A file has its partial_name()
/// until keep() gives it its own, so that half a conversion is never taken for a whole one; without
/// keep() it is removed.
class TargetDisk {
  public:
    /// Opens an existing block device, or a file that holds what is to be converted, for writing
    /// and checks that it is the right volume.
    [[nodiscard]] static core::Result<TargetDisk> open_device(const DiskRef& ref);
    /// Makes a sparse file of `size_bytes`. What a killed conversion has left is replaced. Errors:
    /// already_exists, conflict (another conversion writes it), no_space (the directory's
    /// filesystem has less than `used_bytes` free), not_found (no such directory).
    [[nodiscard]] static core::Result<TargetDisk> create_file(const std::string& path,
                                                              std::uint64_t size_bytes,
                                                              std::uint64_t used_bytes);

    TargetDisk(const TargetDisk&) = delete;
    TargetDisk& operator=(const TargetDisk&) = delete;
    TargetDisk(TargetDisk&& other) noexcept;
    TargetDisk& operator=(TargetDisk&& other) = delete;
    ~TargetDisk();

    [[nodiscard]] const dev::BlockDevice& disk() const { return disk_; }
    /// The conversion is whole: flushes a file and gives it its name, in its directory as well. Of
    /// a block device nothing is left to do. Errors: already_exists, io_error.
    [[nodiscard]] core::Result<> keep();

  private:
    TargetDisk(dev::BlockDevice disk, std::string name, core::Fd lock)
        : disk_(std::move(disk)), name_(std::move(name)), lock_(std::move(lock)) {}
    dev::BlockDevice disk_;
    std::string name_;  ///< of a file that keep() has not named yet; else empty
    core::Fd lock_;     ///< held by a file's conversion as long as it runs
};

}  // namespace amilift::worker
