// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev {

/// A loop device over part of a disk (or of an image file), detached in the destructor.
/// Needed because a helper's kernel may lack partition parsing, and for image files. It carries
/// LO_FLAGS_AUTOCLEAR, so that the kernel detaches it even when the process is killed.
class LoopDevice {
  public:
    /// `offset` and `size` in bytes, multiples of 512 (`size` 0: to the end of the backing file).
    /// Direct I/O is switched on where the backing file allows it. Errors: invalid_input (not
    /// within the backing file), unavailable (no loop device to be had), those of open(2).
    [[nodiscard]] static core::Result<LoopDevice> attach(const std::string& backing_path,
                                                         std::uint64_t offset, std::uint64_t size,
                                                         Access access);
    /// The same over a disk that is open already: that very disk, whatever its name means by now.
    /// The descriptor need not outlive the call. A writable loop device needs a disk that was
    /// opened read_write (invalid_input).
    [[nodiscard]] static core::Result<LoopDevice> attach(const BlockDevice& backing,
                                                         std::uint64_t offset, std::uint64_t size,
                                                         Access access);
    LoopDevice(const LoopDevice&) = delete;
    LoopDevice& operator=(const LoopDevice&) = delete;
    LoopDevice(LoopDevice&& other) noexcept = default;
    LoopDevice& operator=(LoopDevice&& other) noexcept = default;
    /// Closing the last descriptor detaches (autoclear).
    ~LoopDevice() = default;

    [[nodiscard]] const std::string& path() const { return path_; }
    /// Flushes, detaches now and reports failure (the destructor cannot): conflict when the device
    /// is still mounted or open elsewhere. Detaching twice is fine.
    [[nodiscard]] core::Result<> detach();

  private:
    LoopDevice() = default;
    std::string path_;
    core::Fd fd_;
};

}  // namespace amilift::dev
