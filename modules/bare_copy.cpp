// SPDX-License-Identifier: Apache-2.0
#include "modules/bare_copy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "core/fd.hpp"
#include "dev/loop_device.hpp"
#include "dev/partitions.hpp"
#include "image/tree_copy.hpp"
#include "modules/copy.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "bare-copy";

/// A GPT keeps its second copy in the last 33 sectors of a disk (UEFI specification 5.3.1).
constexpr std::uint64_t kGptTailBytes = 33 * dev::kSectorBytes;
/// What is in front of the superblock of an ext filesystem belongs to boot loaders.
constexpr std::uint64_t kExtBootBytes = 1024;

double mebibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(1U << 20);
}

/// Where a filesystem lies on the source disk.
struct Place {
    std::uint64_t offset_bytes = 0;
    dev::FilesystemInfo filesystem;
};

/// The place of what is mounted at `mount_point`; absent if it is no filesystem of its own.
std::optional<Place> place_of(const PlanContext& context, std::string_view mount_point) {
    const auto& volumes = context.facts.disk.volumes;
    const auto volume = std::ranges::find(volumes, mount_point, &image::BootVolume::mount_point);
    if (volume == volumes.end()) return std::nullopt;
    const auto partition =
        std::ranges::find(context.partitions, volume->partition, &dev::Partition::number);
    if (partition == context.partitions.end()) return std::nullopt;
    return Place{partition->offset_bytes, partition->filesystem};
}

Result<> zero(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t length) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(length));
    return core::write_all_at(disk.fd(), zeros, offset, disk.path());
}

Result<> copy_root(ApplyContext& context, const Place& root, bool verify,
                   const std::vector<dev::Extent>& extents) {
    const auto& target = context.target();
    const auto size = root.filesystem.size_bytes;
    // What an earlier use left would be believed: a GPT at the end.
    if (context.target_content() != dev::TargetContent::zeros && target.size_bytes() > size) {
        const auto tail = std::min(kGptTailBytes, target.size_bytes() - size);
        AMILIFT_CHECK(zero(target, target.size_bytes() - tail, tail));
    }
    dev::CopyPlan copy;
    copy.extents = extents;
    copy.target_content = context.target_content();
    copy.verify = verify;
    copy.journal = context.copy_journal();
    copy.say = [&](const std::string& text) { context.say_of_journal(text); };
    const auto run = [&](const dev::BlockDevice& source) -> Result<> {
        AMILIFT_TRY(const auto stats, dev::copy_extents(
                                          source, target, copy,
                                          [&](const dev::CopyProgress& p) { context.progress(p); },
                                          context.cancel()));
        context.copied(stats);
        return {};
    };
    if (root.offset_bytes == 0) return run(context.source());
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(context.source(), root.offset_bytes, size,
                                                   dev::Access::read_only));
    {
        AMILIFT_TRY(const auto source, dev::BlockDevice::open(loop.path(), dev::Access::read_only));
        // Its bytes are counted from the partition's first.
        if (auto done = run(source); !done) {
            return std::unexpected(std::move(done).error().with_context(fmt::format(
                "the partition at byte {} of {}", root.offset_bytes, context.source().path())));
        }
    }
    AMILIFT_CHECK(loop.detach());
    // A loader in the partition's first sector would look like a partition table at the disk's.
    if (root.filesystem.type == dev::Filesystem::xfs) return {};
    return zero(target, 0, kExtBootBytes);
}

/// Names below /boot of what a boot loader of GRUB 0.97 reads: it does not read holes.
Result<image::FilesWithoutHoles> files_of_loader(const PlanContext& context) {
    std::set<std::string> paths{context.facts.menu_path};
    for (const auto index : context.facts.pv_entries) {
        const auto& entry = context.facts.boot_entries.at(index);
        paths.insert(entry.kernel);
        paths.insert(entry.initrds.begin(), entry.initrds.end());
    }
    image::FilesWithoutHoles names;
    for (const auto& path : paths) {
        const auto real = context.source_root.resolve(path);
        if (!real && !image::is_content_problem(real.error())) {
            return std::unexpected(real.error());
        }
        constexpr std::string_view kBoot = "/boot/";
        if (real && real->starts_with(kBoot)) names.insert(real->substr(kBoot.size()));
    }
    return names;
}

Result<> merge_boot(ApplyContext& context, const Place& boot,
                    const image::FilesWithoutHoles& whole) {
    AMILIFT_TRY(const auto* root, context.target_root());
    AMILIFT_TRY(auto loop,
                dev::LoopDevice::attach(context.source(), boot.offset_bytes,
                                        boot.filesystem.size_bytes, dev::Access::read_only));
    AMILIFT_TRY(auto mounted,
                dev::Mount::mount(loop.path(), boot.filesystem.type, dev::Access::read_only));
    {
        AMILIFT_TRY(const auto to, root->open_directory("/boot"));
        AMILIFT_TRY(const auto copied, image::copy_tree(mounted.root(), to, whole));
        for (const auto& path : copied) {
            AMILIFT_CHECK(
                context.manifest().add_copied(*root, kName, "/boot/" + path.path, path.kind));
        }
    }
    AMILIFT_CHECK(mounted.unmount());
    return loop.detach();
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    Place root{0, context.filesystem};
    if (context.facts.disk.is_partitioned()) {
        const auto place = place_of(context, "/");
        if (!place) return fail(Errc::internal, "the root partition of the source is not known");
        root = *place;
    }
    const auto size = root.filesystem.size_bytes;
    if (context.target_bytes && *context.target_bytes < size) {
        return fail(Errc::no_space,
                    fmt::format("target disk has {} bytes, the root filesystem has {}",
                                *context.target_bytes, size),
                    fmt::format("use a target of at least {} GiB", ((size - 1) >> 30) + 1));
    }
    auto extents = extents_within(context.used.used, root.offset_bytes, size);
    std::vector<Step> steps;
    Step copy;
    copy.module = kName;
    copy.text = fmt::format(
        "copy {:.1f} MiB in use of {:.1f} MiB ({}) to the start of the target, which has no "
        "partition table; UUID {} and label '{}' stay",
        mebibytes(dev::total_bytes(extents)), mebibytes(size), dev::to_string(root.filesystem.type),
        root.filesystem.uuid, root.filesystem.label);
    const bool verify = context.options.verify_copy;
    if (verify) copy.text += "; then read it back and compare";
    copy.apply = [root, verify, extents = std::move(extents)](ApplyContext& apply_context) {
        return copy_root(apply_context, root, verify, extents);
    };
    steps.push_back(std::move(copy));
    if (auto check = check_step(kName, 0, root.filesystem, "the filesystem")) {
        steps.push_back(*std::move(check));
    }

    const auto boot = place_of(context, "/boot");
    if (!boot) return steps;
    AMILIFT_TRY(const auto directory, context.source_root.open_directory("/boot"));
    AMILIFT_TRY(auto whole, files_of_loader(context));
    AMILIFT_TRY(const auto tree, image::measure_tree(directory, whole));
    Step merge;
    merge.module = kName;
    merge.text = fmt::format(
        "copy {} files of the filesystem of /boot, {:.1f} MiB, into /boot of "
        "the root filesystem",
        tree.files, mebibytes(tree.bytes));
    // ext2 and ext3 take a block for each 256 blocks of 1 KiB to say where they lie.
    merge.added_bytes = tree.bytes + tree.bytes / 128;
    merge.added_files = tree.files;
    merge.apply = [boot = *boot, whole = std::move(whole)](ApplyContext& apply_context) {
        return merge_boot(apply_context, boot, whole);
    };
    steps.push_back(std::move(merge));
    return steps;
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto contents, dev::read_disk_contents(context.target));
    AMILIFT_TRY(const auto copied, dev::read_filesystem_info(context.target, 0));
    const auto& source = context.filesystem;
    if (contents.layout != dev::DiskLayout::bare_filesystem || copied.type != source.type ||
        copied.uuid != source.uuid || copied.label != source.label ||
        copied.size_bytes != source.size_bytes || !copied.clean) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' does not begin with the clean {} filesystem of UUID {} that "
                                "the source has",
                                context.target.path(), dev::to_string(source.type), source.uuid),
                    "the target does not keep what is written to it; use another volume");
    }
    return std::vector<std::string>{
        fmt::format("the disk is one {} filesystem, clean, UUID {}, label '{}'",
                    dev::to_string(copied.type), copied.uuid, copied.label)};
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

std::vector<dev::Extent> extents_within(const std::vector<dev::Extent>& extents,
                                        std::uint64_t offset, std::uint64_t length) {
    std::vector<dev::Extent> out;
    const auto end = offset + length;
    for (const auto& extent : extents) {
        const auto from = std::max(extent.offset, offset);
        const auto to = std::min(extent.offset + extent.length, end);
        if (from < to) out.push_back({from - offset, to - from});
    }
    return out;
}

const Module& bare_copy_module() {
    return kModule;
}

}  // namespace amilift::modules
