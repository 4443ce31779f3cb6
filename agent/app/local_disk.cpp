// SPDX-License-Identifier: Apache-2.0
#include "app/local_disk.hpp"

#include <unistd.h>

#include "core/command.hpp"
#include "dev/block_device.hpp"
#include "worker/client.hpp"

namespace amilift::app {
namespace {

bool can_enclose() {
    return ::geteuid() == 0;
}

}  // namespace

core::Result<worker::Inspection> inspect_disk(const std::string& path,
                                              worker::ConversionObserver& observer,
                                              const core::Cancel& cancel) {
    worker::InspectionRequest request{{.path = path}, false};
    if (!can_enclose()) {
        core::ProcessRunner commands;
        return worker::inspect(request.disk, commands, observer, cancel);
    }
    AMILIFT_TRY(const auto disk, dev::BlockDevice::open(path, dev::Access::read_only));
    request.disk.descriptor = disk.fd().get();
    return worker::WorkerClient().inspect(request, observer, cancel);
}

core::Result<worker::PlanText> plan_disk(worker::ConversionRequest request,
                                         worker::ConversionObserver& observer,
                                         const core::Cancel& cancel) {
    if (!can_enclose()) {
        core::ProcessRunner commands;
        return worker::plan(request, commands, observer, cancel);
    }
    AMILIFT_TRY(const auto disk,
                dev::BlockDevice::open(request.source.path, dev::Access::read_only));
    request.source.descriptor = disk.fd().get();
    return worker::WorkerClient().plan(request, observer, cancel);
}

}  // namespace amilift::app
