// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "flow/services.hpp"

namespace amilift::app {

/// The real disk worker: a sandboxed child of this process (worker/client.hpp).
class SandboxedDiskWorker final : public flow::DiskWorker {
  public:
    /// `journal_path`: where a copy notes how far it is. The agent makes the file and removes it
    /// after a conversion; what is in it only the worker reads and writes. Empty: nowhere.
    explicit SandboxedDiskWorker(std::string journal_path)
        : journal_path_(std::move(journal_path)) {}
    [[nodiscard]] core::Result<flow::ConvertOutcome> convert(
        const flow::ConvertOrder& order,
        const std::function<void(flow::Update::Kind, std::string)>& say,
        const std::function<void(const dev::CopyProgress&)>& progress,
        const core::Cancel& cancel) override;

  private:
    std::string journal_path_;
};

}  // namespace amilift::app
