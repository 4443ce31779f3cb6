// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "aws/ec2.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "dev/copy_engine.hpp"
#include "dev/device_monitor.hpp"
#include "flow/observer.hpp"
#include "job/job.hpp"

namespace amilift::flow {

/// What the disk worker is asked: convert this volume to that one, or the target as it is.
struct ConvertOrder {
    std::string source_path;  ///< empty: the target was made from the source's snapshot
    std::string source_volume;
    std::string target_path;
    std::string target_volume;
    job::ConversionOptions options;
    bool target_is_untouched = false;  ///< just made, and nothing has been written to it yet
    std::string source_device{};       ///< the names asked of EC2, by which Xen disks are known
    std::string target_device{};
};

struct ConvertOutcome {
    /// One line for each path of the image that was touched, with its hash before and after.
    std::vector<std::string> changes;
    std::vector<std::string> proofs;
    std::string kernel_version;  ///< of the kernel that will boot
    std::string ena_driver;      ///< where that kernel has it; empty: it has none
    bool boots_by_uefi = false;  ///< besides BIOS
};

/// Error id of a conversion whose process was killed: it can be asked again, and goes on.
inline constexpr const char* kWorkerKilled = "disk-worker-killed";

/// The other process, as a seam: it holds the disks, this one holds the network.
class DiskWorker {
  public:
    DiskWorker() = default;
    DiskWorker(const DiskWorker&) = delete;
    DiskWorker& operator=(const DiskWorker&) = delete;
    virtual ~DiskWorker() = default;
    /// `say` gets lines for people, `progress` where the copy or its check is. Errors: those of the
    /// conversion; any with the id kWorkerKilled.
    [[nodiscard]] virtual core::Result<ConvertOutcome> convert(
        const ConvertOrder& order, const std::function<void(Update::Kind, std::string)>& say,
        const std::function<void(const dev::CopyProgress&)>& progress,
        const core::Cancel& cancel) = 0;
};

/// Who this helper is, from IMDS.
struct HelperIdentity {
    std::string instance_id;
    std::string availability_zone;
    std::string region;
};

/// What bounds and ends the helper's life; a seam, because a test must outlive it.
class HelperControl {
  public:
    HelperControl() = default;
    HelperControl(const HelperControl&) = delete;
    HelperControl& operator=(const HelperControl&) = delete;
    virtual ~HelperControl() = default;
    /// From now on the job has this long. When it has passed, Services::job_cancel is requested;
    /// some minutes later the deadline unit outside this process powers the helper off.
    [[nodiscard]] virtual core::Result<> arm_deadline(std::chrono::seconds left) = 0;
    /// No deadline applies any longer: the user wants to keep the helper.
    [[nodiscard]] virtual core::Result<> disarm_deadline() = 0;
    /// Powers the helper off; what EC2 makes of it depends on its shutdown behaviour.
    [[nodiscard]] virtual core::Result<> power_off() = 0;
};

/// How long after the job's deadline the unit outside this process powers the helper off: time for
/// the agent to clean up after itself.
inline constexpr std::chrono::seconds kDeadlineGrace = std::chrono::minutes(10);

/// How long to wait, and how often to look. One budget per kind of wait.
struct WaitPolicy {
    core::Duration first_interval;
    core::Duration max_interval;
    core::Duration timeout;
};

struct Waits {
    WaitPolicy volume_available{std::chrono::milliseconds(300), std::chrono::seconds(5),
                                std::chrono::minutes(5)};
    WaitPolicy volume_attached{std::chrono::milliseconds(300), std::chrono::seconds(3),
                               std::chrono::minutes(2)};
    WaitPolicy volume_detached{std::chrono::milliseconds(300), std::chrono::seconds(5),
                               std::chrono::minutes(5)};
    /// A snapshot takes hours if the volume is large: the job's deadline is its time-out.
    WaitPolicy snapshot_completed{std::chrono::milliseconds(500), std::chrono::seconds(15),
                                  core::Duration::zero()};
    WaitPolicy image_available{std::chrono::milliseconds(300), std::chrono::seconds(10),
                               std::chrono::minutes(10)};
    /// How long an object that was just created may be "NotFound" (eventual consistency).
    core::Duration create_visible = std::chrono::seconds(150);
    /// How often a clean-up is tried again while EC2 does not answer. The time-out counts from the
    /// job's deadline. It leaves of the grace what EC2 may still take without answering: two
    /// minutes for the call that was begun last, and nearly three for telling the outcome.
    WaitPolicy clean_up{std::chrono::seconds(5), std::chrono::seconds(60),
                        kDeadlineGrace - std::chrono::minutes(5)};
};

/// Everything that the flow needs of the world.
struct Services {
    aws::Ec2Api& ec2;
    dev::DeviceMonitor& devices;
    DiskWorker& worker;
    HelperControl& control;
    core::Clock& clock;
    /// The agent is told to stop (SIGTERM): everything returns at once, the record stays as it is.
    const core::Cancel& stop;
    /// The same, or the job's deadline has passed: the job fails, cleaning up still runs.
    const core::Cancel& job_cancel;
    Observer& observer;
    /// Reads the job (user-data, S3). Called at every start; the record holds no copy of it.
    std::function<core::Result<job::Job>()> fetch_job;
    HelperIdentity helper;
    std::string record_path;  ///< /var/lib/amilift/flow.json
    std::string version;      ///< of amilift, for provenance tags
    /// Whether this instance exists only for the job and may be ended.
    bool throwaway = false;
    Waits waits{};
    std::string boot_id{};  ///< another one after each start of this helper; empty: unknown
};

}  // namespace amilift::flow
