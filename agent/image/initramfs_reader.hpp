// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
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
/// several that look need the same: the last few are remembered. What is read in all is bounded,
/// for a menu may name many.
class InitramfsReader {
  public:
    /// What a kernel has that boots with these files, in this order. A file that cannot be read, or
    /// that is one too many, is told in contents.problem. `root` must be the same tree each time.
    /// Errors: those of SafeRoot for the disk itself.
    [[nodiscard]] core::Result<std::shared_ptr<const InitramfsRead>> read(
        const SafeRoot& root, const std::vector<std::string>& initrds);

    /// Gives the memory back: the tree will not be read any more, or is about to change.
    void forget() { remembered_.clear(); }

  private:
    core::Result<InitramfsRead> unpack(const SafeRoot& root,
                                       const std::vector<std::string>& initrds);

    using Remembered = std::pair<std::vector<std::string>, std::shared_ptr<const InitramfsRead>>;
    std::deque<Remembered> remembered_;
    /// Bytes of files that may still be read and unpacked.
    std::uint64_t budget_ = std::uint64_t{3} << 30;
};

}  // namespace amilift::image
