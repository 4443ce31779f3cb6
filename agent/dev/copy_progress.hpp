// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "dev/copy_engine.hpp"

namespace amilift::dev {

/// Where a copy or its check is, and how long it will take if it goes on like that.
struct CopyStatus {
    CopyProgress progress;
    /// Of this pass since it began, without what an earlier copy had done. 0: not known yet.
    std::uint64_t bytes_per_second = 0;
    std::optional<std::chrono::seconds> left;  ///< of this pass; absent: not known yet
};

/// Makes a status of each progress.
class CopyMeter {
  public:
    [[nodiscard]] CopyStatus update(const CopyProgress& progress,
                                    std::chrono::steady_clock::time_point now);

  private:
    std::optional<CopyPass> pass_;
    std::chrono::steady_clock::time_point start_;
    std::uint64_t start_bytes_ = 0;
};

/// 0 to 1, of the pass.
[[nodiscard]] double fraction_of(const CopyProgress& progress);

/// "copied 42% of 7.4 GiB, 310 MiB/s, 14 s left", "verified 3% of 7.4 GiB": for people.
[[nodiscard]] std::string describe(const CopyStatus& status);

}  // namespace amilift::dev
