// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::aws::tests {

/// `tests/cloud/localec2 up --no-qemu --json` as a child process. It ends with this object.
class LocalEc2 {
  public:
    /// Starts it with further `arguments` and waits for its first line (at most 60 s). Runs the
    /// Python interpreter that AMILIFT_PYTHON names.
    [[nodiscard]] static core::Result<LocalEc2> start(const std::vector<std::string>& arguments);
    LocalEc2(LocalEc2&&) noexcept;
    LocalEc2& operator=(LocalEc2&&) = delete;
    LocalEc2(const LocalEc2&) = delete;
    ~LocalEc2();

    /// What the first line says: "endpoint", "access_key", ...
    [[nodiscard]] std::string fact(const char* name) const { return facts_.value(name, ""); }

    /// The interpreter, or nothing if AMILIFT_PYTHON is not set.
    [[nodiscard]] static std::optional<std::string> python();

  private:
    LocalEc2() = default;
    pid_t pid_ = -1;
    core::Fd input_;
    nlohmann::json facts_;
};

}  // namespace amilift::aws::tests
