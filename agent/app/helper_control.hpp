// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "core/clock.hpp"
#include "core/command.hpp"
#include "flow/services.hpp"

namespace amilift::app {

/// The helper it runs on: systemd powers it off, amilift-deadline.timer watches `deadline_path`.
class SystemHelperControl final : public flow::HelperControl {
  public:
    SystemHelperControl(core::CommandRunner& commands, core::Cancel& job_cancel,
                        std::string deadline_path);
    SystemHelperControl(const SystemHelperControl&) = delete;
    SystemHelperControl& operator=(const SystemHelperControl&) = delete;
    ~SystemHelperControl() override;

    [[nodiscard]] core::Result<> arm_deadline(std::chrono::seconds left) override;
    [[nodiscard]] core::Result<> disarm_deadline() override;
    [[nodiscard]] core::Result<> power_off() override;

  private:
    void stop_timer();

    core::CommandRunner& commands_;
    core::Cancel& job_cancel_;
    std::string deadline_path_;
    core::Cancel timer_cancel_;
    std::thread timer_;
};

}  // namespace amilift::app
