// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "flow/services.hpp"

namespace amilift::app {

/// The real disk worker: a sandboxed child of this process (worker/client.hpp).
class SandboxedDiskWorker final : public flow::DiskWorker {
  public:
    [[nodiscard]] core::Result<flow::ConvertOutcome> convert(
        const flow::ConvertOrder& order,
        const std::function<void(flow::Update::Kind, std::string)>& say,
        const std::function<void(const dev::CopyProgress&)>& progress,
        const core::Cancel& cancel) override;
};

}  // namespace amilift::app
