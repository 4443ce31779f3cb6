// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

namespace amilift::aws {

/// Text that must never reach a message or a log: it cannot be formatted or streamed, only
/// revealed on purpose.
class Secret {
  public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}
    [[nodiscard]] const std::string& reveal() const noexcept { return value_; }
    [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
    [[nodiscard]] bool operator==(const Secret&) const = default;

  private:
    std::string value_;
};

}  // namespace amilift::aws
