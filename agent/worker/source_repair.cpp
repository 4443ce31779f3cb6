// SPDX-License-Identifier: Apache-2.0
// What makes a filesystem of the source fit to be read: the replay of its journal, or e2fsck.
#include <fmt/format.h>

#include <algorithm>

#include "dev/ext_check.hpp"
#include "dev/loop_device.hpp"
#include "worker/source_image.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

Result<> refuse(std::string what, std::string hint, std::string id) {
    return fail(Errc::refused, std::move(what), std::move(hint), std::move(id));
}

}  // namespace

/// What a filesystem needs before it is mounted for reading.
Result<> SourceImage::prepare(VolumePlace& place, JournalReplay replay) {
    const auto name = place.partition == 0
                          ? fmt::format("'{}'", disk_.path())
                          : fmt::format("partition {} of '{}'", place.partition, disk_.path());
    auto& filesystem = place.filesystem;
    const auto require_no_errors = [&]() -> Result<> {
        if (!filesystem.has_errors) return {};
        return refuse(fmt::format("the {} filesystem on {} is marked as having errors",
                                  dev::to_string(filesystem.type), name),
                      "repair it with fsck, on a copy if you need the original as it is",
                      "filesystem-has-errors");
    };
    AMILIFT_CHECK(require_no_errors());
    if (filesystem.clean) return {};
    if (filesystem.needs_recovery) {
        if (replay == JournalReplay::never) {
            return refuse(
                fmt::format("the {} filesystem on {} was not unmounted cleanly: its journal holds "
                            "changes that are not in place yet",
                            dev::to_string(filesystem.type), name),
                "mount and unmount it once, or repair it with fsck; on a copy if you need the "
                "original as it is",
                "dirty-filesystem");
        }
        AMILIFT_CHECK(replay_journal(place));
        // The kernel keeps in the journal, too, that it has seen errors.
        AMILIFT_CHECK(require_no_errors());
    }
    // A user's source stays as it is: its copy is checked.
    if (replay == JournalReplay::allowed && dev::needs_check(filesystem)) {
        AMILIFT_CHECK(check(place, name));
    }
    const auto partition = std::ranges::find(partitions_, place.partition, &dev::Partition::number);
    if (partition != partitions_.end()) partition->filesystem = filesystem;
    return {};
}

/// Of a volume of our own.
Result<> SourceImage::check(VolumePlace& place, const std::string& name) {
    if (before_replay_) AMILIFT_CHECK(before_replay_());
    AMILIFT_TRY(auto loop,
                dev::LoopDevice::attach(disk_.self_path(), place.offset_bytes,
                                        place.filesystem.size_bytes, dev::Access::read_write));
    AMILIFT_CHECK(dev::check_ext(*commands_, loop.path(), name));
    AMILIFT_CHECK(loop.detach());
    AMILIFT_CHECK(disk_.flush());
    AMILIFT_TRY(place.filesystem, dev::read_filesystem_info(disk_, place.offset_bytes));
    if (!place.filesystem.clean) {
        return fail(Errc::corrupt,
                    fmt::format("e2fsck has checked {}, but its superblock still says that it is "
                                "in use",
                                name),
                    "repair the source with fsck, then make the AMI's snapshot again");
    }
    // Now: whoever opens it again, after this conversion has died, finds a clean filesystem.
    observer_->on_finding(repairs_.emplace_back(image::Finding{
        image::Severity::warning, "filesystem-not-clean", disk_.path(),
        fmt::format("the {} filesystem on {} was in use when the image was made, and has no "
                    "journal",
                    dev::to_string(place.filesystem.type), name),
        "e2fsck has mended it; what was not written yet is lost",
        "stop the instance before making the image"}));
    return {};
}

Result<> SourceImage::replay_journal(VolumePlace& place) const {
    if (before_replay_) AMILIFT_CHECK(before_replay_());
    {
        auto at_root = place;
        at_root.mount_point = "/";
        AMILIFT_TRY(auto mounted, MountedTree::mount(disk_, at_root, dev::Access::read_write));
        AMILIFT_CHECK(mounted.unmount());
    }
    AMILIFT_CHECK(disk_.flush());
    AMILIFT_TRY(place.filesystem, dev::read_filesystem_info(disk_, place.offset_bytes));
    if (place.filesystem.needs_recovery) {
        return fail(Errc::corrupt,
                    fmt::format("the journal of '{}' was replayed, but the superblock still asks "
                                "for it",
                                disk_.path()),
                    "repair the source with fsck, then make the AMI's snapshot again");
    }
    return {};
}

}  // namespace amilift::worker
