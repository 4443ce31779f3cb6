// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "image/initramfs.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// What several files are together.
struct InitramfsRead {
    std::string path;  ///< the last one that was looked at: with a problem, the one that has it
    InitramfsContents contents;
};

/// Reads the initramfs files of one image. To unpack them is most of the time of a look at it, and
/// several that look need the same: the last ones are remembered. What one of those that look reads
/// in all is bounded, for a menu may name many.
class InitramfsReader {
  public:
    struct Limits {
        std::size_t remembered_bytes = std::size_t{64} << 20;  ///< of names and indexes, about
        std::uint64_t read_bytes = std::uint64_t{3} << 30;     ///< of files, packed and unpacked
    };
    InitramfsReader() : InitramfsReader(Limits{}) {}
    explicit InitramfsReader(const Limits& limits) : limits_(limits), left_(limits.read_bytes) {}

    /// Somebody else begins to look, who may read as much as the one before.
    void begin() { left_ = limits_.read_bytes; }

    /// What a kernel has that boots with these files, in this order. A file that cannot be read, or
    /// that is one too many, is told in contents.problem. `root` must be the same tree each time.
    /// Errors: those of SafeRoot for the disk itself.
    [[nodiscard]] core::Result<std::shared_ptr<const InitramfsRead>> read(
        const SafeRoot& root, const std::vector<std::string>& initrds);

  private:
    core::Result<InitramfsRead> unpack(const SafeRoot& root,
                                       const std::vector<std::string>& initrds);

    struct Remembered {
        std::vector<std::string> initrds;
        std::shared_ptr<const InitramfsRead> read;
        std::size_t bytes;
    };
    Limits limits_;
    std::uint64_t left_;  ///< bytes that may still be read and unpacked
    std::deque<Remembered> remembered_;
    std::size_t remembered_bytes_ = 0;
};

}  // namespace amilift::image
