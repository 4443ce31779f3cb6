// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {

// A disk of this machine, which anybody may have made, is read in the enclosed disk worker as those
// of a job are: on an EC2 instance this process can get the keys of the role. It opens the disk and
// hands it over. Only root can enclose a process; others read it here, as far as they may.

/// worker::inspect() of the disk at `path`. Errors besides those: of worker::WorkerClient.
[[nodiscard]] core::Result<worker::Inspection> inspect_disk(const std::string& path,
                                                            worker::ConversionObserver& observer,
                                                            const core::Cancel& cancel);
/// worker::plan() of a conversion of the disk at request.source.path, without a target.
[[nodiscard]] core::Result<worker::PlanText> plan_disk(worker::ConversionRequest request,
                                                       worker::ConversionObserver& observer,
                                                       const core::Cancel& cancel);

}  // namespace amilift::app
