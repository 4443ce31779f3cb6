// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/command.hpp"
#include "core/result.hpp"
#include "dev/copy_engine.hpp"
#include "dev/mount.hpp"
#include "dev/partition_table.hpp"
#include "dev/partitions.hpp"
#include "image/facts.hpp"
#include "image/readiness.hpp"
#include "job/job.hpp"
#include "modules/manifest.hpp"

namespace amilift::worker {

/// One disk of a conversion.
struct DiskRef {
    std::string path;
    /// Of an EBS volume, which the open descriptor must be: by its NVMe serial, or as a Xen disk by
    /// the device name that was asked of EC2. Empty: local.
    std::string volume_id{};
    std::string requested_device{};
    /// Of the source of plan() and inspect(): the disk, open for reading; `path` then only names it
    /// (dev::BlockDevice::duplicate()). It must stay open during the call. -1: `path` is opened.
    int descriptor = -1;
};

struct ConversionRequest {
    /// Without a path: the target holds the source's content and is converted in place. That takes
    /// a disk with partitions, or layout in_place. It is our own volume then: a dirty journal is
    /// replayed on it, and what has none is checked.
    DiskRef source;
    DiskRef target;  ///< a regular file that does not exist yet is made to measure (sparse); plan()
                     ///< takes an empty path too
    job::ConversionOptions options;
    /// The source is our own volume: a dirty journal may be replayed on it. Never set for a user's
    /// file or device, where a dirty filesystem is refused instead.
    bool may_replay_source_journal = false;
    /// Of a target that exists. A file that convert() makes is known to be zeros.
    dev::TargetContent target_content = dev::TargetContent::unknown;
    /// In place only: a conversion of this target may have been interrupted. What it has done
    /// stays, and the result is the same.
    bool is_interrupted = false;
    /// What the disks are called in the copy journal that convert() may get.
    dev::CopyDisks journaled_disks{};
};

/// Hears what happens, from the thread that runs the conversion.
class ConversionObserver {
  public:
    ConversionObserver() = default;
    ConversionObserver(const ConversionObserver&) = delete;
    ConversionObserver& operator=(const ConversionObserver&) = delete;
    virtual ~ConversionObserver() = default;
    virtual void on_stage(const std::string& /*stage*/) {}  ///< inspect, plan, apply, verify
    virtual void on_finding(const image::Finding& /*finding*/) {}
    /// A step of the plan begins; `index` counts from 0.
    virtual void on_step(std::size_t /*index*/, std::size_t /*count*/,
                         const std::string& /*text*/) {}
    virtual void on_progress(const dev::CopyProgress& /*progress*/) {}
};

struct Inspection {
    dev::DiskContents disk;
    std::vector<dev::Partition> partitions{};  ///< empty: there is no partition table
    dev::FilesystemInfo filesystem;            ///< of the root
    image::ImageFacts facts;
};

/// Where the image can run: its content judged with the form of its disk.
[[nodiscard]] image::Readiness readiness_of(const Inspection& inspection);

struct PlanText {
    Inspection inspection;
    std::vector<std::string> steps;  ///< "module: text"
    std::uint64_t used_bytes = 0;
    std::uint64_t target_bytes = 0;  ///< what the target disk needs at least
};

struct ConversionResult {
    PlanText plan;
    modules::Manifest manifest;
    std::vector<std::string> proofs;  ///< lines of verify()
    dev::CopyStats copy;
    /// Besides BIOS: the way from the firmware to the kernel that boots was followed.
    bool boots_by_uefi = false;
};

/// What the disk worker does, in this process: that is the sandboxed child, which is asked by the
/// agent and by `amilift inspect|plan`, or `amilift convert` itself. All three need root (loop
/// devices, mounts); the calling thread is moved to a mount namespace of its own, so that the host
/// never sees a mount of an image.
///
/// The source is a PV root, which is a bare filesystem, or a disk with partitions. What cannot be
/// read gives Errc::refused with an id: "empty-disk", "unknown-filesystem", "truncated",
/// "filesystem-has-errors", "dirty-filesystem"; of a disk with partitions "no-root-partition",
/// "several-roots", "lvm-root", "luks-root", "raid-root", "sector-size"; of btrfs "several-roots"
/// (subvolumes) and "btrfs-several-devices"; and for a conversion "filesystem-full" and
/// "path-taken". A source that is mounted or otherwise written to gives conflict.

/// What is on the source. Refusals of its content are findings with severity refusal. A dirty
/// journal is replayed if the source is our own volume and `may_replay_journal` says so.
[[nodiscard]] core::Result<Inspection> inspect(const DiskRef& source, core::CommandRunner& commands,
                                               ConversionObserver& observer,
                                               const core::Cancel& cancel = core::Cancel(),
                                               bool may_replay_journal = false);

/// What convert() would do, without writing anywhere. A refusal of the content is an error here:
/// Errc::refused with the id of the first finding; all findings have gone to `observer`.
[[nodiscard]] core::Result<PlanText> plan(const ConversionRequest& request,
                                          core::CommandRunner& commands,
                                          ConversionObserver& observer,
                                          const core::Cancel& cancel = core::Cancel());

/// Plans, applies and verifies. All refusals come before the first byte is written, but for
/// "filesystem-has-errors" of a copy: a source that has no journal and was not unmounted is
/// checked where we may write. With a
/// `copy_journal` (dev/copy_journal.hpp; only for volumes of our own, which nobody else writes to)
/// a copy that was cut off goes on; it is empty as soon as the copy is whole. After a failure
/// no mount and no loop device is left, and no output file if convert() had made it. Errors besides
/// those of plan(): already_exists (the output file exists), invalid_input (source and target are
/// the same), no_space, cancelled, corrupt (a proof failed).
[[nodiscard]] core::Result<ConversionResult> convert(const ConversionRequest& request,
                                                     core::CommandRunner& commands,
                                                     ConversionObserver& observer,
                                                     const core::Cancel& cancel,
                                                     core::Fd copy_journal = {});

}  // namespace amilift::worker
