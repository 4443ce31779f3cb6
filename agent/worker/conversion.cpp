// SPDX-License-Identifier: Apache-2.0
#include "worker/conversion.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "image/kernel_arguments.hpp"
#include "image/pv_boot.hpp"
#include "modules/bootloader.hpp"
#include "modules/console.hpp"
#include "modules/copy.hpp"
#include "modules/disk_grow.hpp"
#include "modules/module.hpp"
#include "modules/partition.hpp"
#include "modules/platform_check.hpp"
#include "modules/registry.hpp"
#include "worker/boot_check.hpp"
#include "worker/efi_partition.hpp"
#include "worker/mounted_tree.hpp"
#include "worker/source_image.hpp"
#include "worker/target_disk.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// Each thread that works on disks gets its own mount namespace, once.
Result<> enter_own_mounts() {
    thread_local bool entered = false;
    if (entered) return {};
    AMILIFT_CHECK(dev::enter_private_mount_namespace());
    entered = true;
    return {};
}

enum class TargetKind { none, missing_file, file, block_device };

TargetKind kind_of_target(const std::string& path) {
    struct stat status{};
    if (path.empty()) return TargetKind::none;
    if (::stat(path.c_str(), &status) != 0) return TargetKind::missing_file;
    return S_ISBLK(status.st_mode) ? TargetKind::block_device : TargetKind::file;
}

/// The target holds the source already.
bool is_own_volume(const ConversionRequest& request) {
    return request.source.path.empty();
}

Result<> require_two_disks(const ConversionRequest& request) {
    if (is_own_volume(request)) return {};
    // A loop device is the file behind it, a hard link is the file itself.
    const auto source = dev::identity_of(request.source.path);
    for (const auto& path : {request.target.path, partial_name(request.target.path)}) {
        const auto target = dev::identity_of(path);
        if (!source || !target || *source != *target) continue;
        return fail(
            Errc::invalid_input,
            fmt::format("source '{}' and target '{}' are the same disk", request.source.path, path),
            "name another target: the source is never changed");
    }
    return {};
}

/// The disk that holds what is converted.
const DiskRef& content_of(const ConversionRequest& request) {
    return is_own_volume(request) ? request.target : request.source;
}

bool is_paravirtual(const job::ConversionOptions& options) {
    return options.virtualization == job::Virtualization::paravirtual;
}

/// The image's content, with every finding told. For a paravirtual target it is judged by what
/// PV-GRUB boots. No options: it is only looked at.
Result<Inspection> inspect_content(const SourceImage& source, core::CommandRunner& commands,
                                   ConversionObserver& observer, const core::Cancel& cancel,
                                   const job::ConversionOptions* options = nullptr) {
    Inspection inspection;
    inspection.disk = source.contents();
    inspection.filesystem = source.filesystem();
    inspection.partitions = source.partitions();
    AMILIFT_TRY(inspection.facts, image::inspect_image(source.root(), source.boot_disk()));
    if (options != nullptr && is_paravirtual(*options)) {
        AMILIFT_CHECK(
            image::choose_pv_boot(source.root(), inspection.facts, options->architecture));
    }
    AMILIFT_TRY(inspection.facts.efi_start,
                look_at_efi_start(source, inspection.facts, commands, cancel));
    auto& findings = inspection.facts.findings;
    if (options == nullptr || !is_paravirtual(*options)) {
        const auto& consoles =
            options != nullptr ? options->consoles : job::ConversionOptions{}.consoles;
        AMILIFT_TRY(auto logins,
                    modules::console_findings(source.root(), inspection.facts, consoles));
        std::ranges::move(logins, std::back_inserter(findings));
    }
    findings.insert(findings.begin(), source.findings().begin(), source.findings().end());
    if (const auto& entry = inspection.facts.boot_entry; entry) {
        const auto flags =
            image::last_value(inspection.facts.boot_entries[*entry].arguments, "rootflags");
        if (auto finding = source.other_root(flags.value_or(""))) {
            findings.push_back(*std::move(finding));
        }
    }
    const bool all_clean = std::ranges::all_of(
        source.places(), [](const VolumePlace& place) { return place.filesystem.clean; });
    if (!all_clean) {
        inspection.facts.findings.push_back(
            {image::Severity::warning, "filesystem-not-clean", source.disk().path(),
             "a filesystem was in use when the image was made, and has no journal",
             "a copy takes all of it, not only what is in use, and e2fsck checks that before it is "
             "edited; what was not written yet is lost",
             "stop the instance before making the image"});
    }
    for (const auto& finding : findings) observer.on_finding(finding);
    findings.insert(findings.begin(), source.repairs().begin(), source.repairs().end());
    return inspection;
}

Result<> require_convertible(const image::ImageFacts& facts) {
    const auto* refusal = facts.first_refusal();
    if (refusal == nullptr) return {};
    return fail(Errc::refused,
                fmt::format("'{}': {}; {}", refusal->where, refusal->seen, refusal->consequence),
                refusal->action, refusal->id);
}

/// A conversion that died while it put bytes behind a file of this volume left a part of them
/// there. They are taken away before anything is read: the plan is made from what the file was.
Result<> take_back_unfinished_appends(const ConversionRequest& request,
                                      core::CommandRunner& commands, ConversionObserver& observer) {
    AMILIFT_TRY(auto volume,
                SourceImage::open(request.target, commands, observer, JournalReplay::allowed));
    AMILIFT_TRY(const auto files,
                modules::Manifest::unfinished_appends(volume.root(), request.target.volume_id));
    const auto places = volume.places();
    AMILIFT_CHECK(volume.unmount());
    if (files.empty()) return {};
    AMILIFT_TRY(auto mounted, MountedTree::mount(volume.disk(), places, dev::Access::read_write));
    for (const auto& file : files) {
        AMILIFT_CHECK(mounted.root().truncate(file.path, file.old_bytes));
    }
    return mounted.unmount();
}

/// Notes that nobody of us made must not be taken over after a crash.
Result<> require_no_notes(const image::SafeRoot& root) {
    AMILIFT_TRY(const auto notes, root.link_status(modules::kPendingPath));
    if (notes.kind == image::FileKind::missing) return {};
    return fail(
        Errc::refused,
        fmt::format("the image has a '{}', which amilift has to write", modules::kPendingPath),
        "remove it from the source image", "path-taken");
}

struct Plan {
    PlanText text;
    std::vector<modules::Step> steps;
    std::vector<modules::BootFile> boot_files;
    std::vector<VolumePlace> target_places;  ///< the root first
    std::vector<std::byte> boot_area;        ///< of a disk with partitions
};

/// A bare filesystem becomes the first partition of a new table, or stays where it is; so do all
/// subvolumes of a btrfs.
std::vector<VolumePlace> new_places(const SourceImage& source, job::Layout layout,
                                    std::uint64_t root_bytes) {
    auto places = source.places();
    for (auto& place : places) {
        place.partition = layout == job::Layout::in_place ? 0 : 1;
        place.offset_bytes = modules::root_offset(layout);
        place.filesystem.size_bytes = root_bytes;
    }
    return places;
}

/// A disk with partitions keeps them.
Result<> require_no_new_layout(const ConversionRequest& request) {
    if (request.options.layout != job::Layout::gpt) return {};
    return fail(Errc::refused,
                fmt::format("'{}' has a partition table, which stays as it is: target.layout: gpt "
                            "is for bare filesystems",
                            content_of(request).path),
                "take it out of the job", "layout-of-partitions");
}

/// A bare filesystem is moved into a partition of a second disk, unless the job says otherwise.
Result<> require_in_place_layout(const ConversionRequest& request) {
    if (!is_own_volume(request) || request.options.layout == job::Layout::in_place) return {};
    return fail(Errc::refused,
                fmt::format("'{}' is made from the source's snapshot, and it is a filesystem "
                            "without a partition table",
                            request.target.path),
                "convert it with target.layout: in-place", "no-partition-table");
}

/// The disk as it is, but for a root partition that grows.
Result<> plan_partitions(const ConversionRequest& request, const SourceImage& source, Plan& plan) {
    AMILIFT_CHECK(require_no_new_layout(request));
    plan.target_places = source.places();
    plan.text.target_bytes = source.disk().size_bytes();
    AMILIFT_TRY(plan.boot_area, modules::read_boot_area(source.disk(), source.partitions()));
    const auto& root = source.places().front();
    AMILIFT_TRY(
        const auto growth,
        modules::plan_root_growth(request.options, source.disk(), source.contents().layout,
                                  source.partitions(), root.partition, is_own_volume(request)));
    if (!growth) return {};
    for (auto& place : plan.target_places) {
        if (place.partition == growth->partition) place.filesystem.size_bytes = growth->new_bytes;
    }
    plan.text.target_bytes =
        std::max(plan.text.target_bytes, std::uint64_t{request.options.size_gib} << 30);
    return {};
}

/// A paravirtual target is the root filesystem alone.
VolumePlace bare_filesystem(const SourceImage& source) {
    auto place = source.places().front();
    place.partition = 0;
    place.offset_bytes = 0;
    return place;
}

/// Has the source room for what the steps add to the filesystem?
Result<> require_room(const SourceImage& source, const std::vector<modules::Step>& steps,
                      RoomIn where) {
    std::uint64_t added = 0;
    std::uint64_t files = 0;
    for (const auto& step : steps) {
        added += step.added_bytes;
        files += step.added_files;
    }
    return source.require_room(added, files, where);
}

Result<Plan> make_plan(const ConversionRequest& request, const SourceImage& source,
                       std::optional<std::uint64_t> target_bytes, core::CommandRunner& commands,
                       ConversionObserver& observer, const core::Cancel& cancel) {
    Plan plan;
    observer.on_stage("inspect");
    AMILIFT_TRY(plan.text.inspection,
                inspect_content(source, commands, observer, cancel, &request.options));
    auto& inspection = plan.text.inspection;
    const bool paravirtual = is_paravirtual(request.options);
    for (auto& finding :
         paravirtual ? modules::paravirtual_findings(inspection.facts)
                     : modules::platform_findings(inspection.facts, request.options.platform)) {
        observer.on_finding(finding);
        inspection.facts.findings.push_back(std::move(finding));
    }
    AMILIFT_CHECK(require_convertible(inspection.facts));
    if (paravirtual) AMILIFT_CHECK(source.require_one_filesystem(inspection.facts.fstab_text));
    AMILIFT_CHECK(modules::Manifest::require_place(source.root(), modules::kManifestPath));
    AMILIFT_CHECK(modules::Manifest::require_unprotected(source.root(), modules::kManifestPath));
    if (is_own_volume(request) && !request.is_interrupted) {
        AMILIFT_CHECK(require_no_notes(source.root()));
    }

    observer.on_stage("plan");
    // What is edited where it lies is not copied: its maps stay unread.
    dev::ExtentMap used;
    if (!is_own_volume(request)) {
        AMILIFT_TRY(used, source.used_extents());
        plan.text.used_bytes = used.used_bytes;
    }
    if (paravirtual) {
        plan.target_places = {bare_filesystem(source)};
        plan.text.target_bytes = inspection.filesystem.size_bytes;
    } else if (inspection.facts.disk.is_partitioned()) {
        AMILIFT_CHECK(plan_partitions(request, source, plan));
    } else {
        AMILIFT_CHECK(require_in_place_layout(request));
        AMILIFT_TRY(const auto disk,
                    modules::plan_disk(request.options, inspection.filesystem, target_bytes));
        plan.target_places = new_places(source, request.options.layout, disk.root_bytes());
        plan.text.target_bytes = disk.needed_bytes();
    }
    const modules::PlanContext context{.options = request.options,
                                       .facts = inspection.facts,
                                       .filesystem = inspection.filesystem,
                                       .source_root = source.root(),
                                       .used = used,
                                       .target_bytes = target_bytes,
                                       .commands = commands,
                                       .source = &source.disk(),
                                       .source_path = source.path_for_programs(),
                                       .source_bytes = source.disk().size_bytes(),
                                       .partitions = inspection.partitions,
                                       .target_has_content = is_own_volume(request)};
    for (const auto* module : modules::modules_for(inspection.facts, request.options)) {
        AMILIFT_CHECK(cancel.check());
        auto steps = module->plan(context);
        if (!steps) return std::unexpected(std::move(steps).error());
        for (auto& step : *steps) {
            if (!step.path.empty()) {
                AMILIFT_CHECK(modules::Manifest::require_unprotected(source.root(), step.path));
            }
            plan.text.steps.push_back(fmt::format("{}: {}", step.module, step.text));
            plan.steps.push_back(std::move(step));
        }
    }
    AMILIFT_CHECK(require_ready(request.options, inspection));
    AMILIFT_CHECK(
        require_room(source, plan.steps, paravirtual ? RoomIn::root : RoomIn::each_filesystem));
    AMILIFT_TRY(plan.boot_files, modules::read_boot_files(inspection.facts, source.root()));
    inspection.facts.initramfs_reader.reset();
    return plan;
}

class Application final : public modules::ApplyContext {
  public:
    Application(const ConversionRequest& request, const dev::BlockDevice& source,
                const dev::BlockDevice& target, dev::TargetContent content,
                const std::vector<VolumePlace>& places, dev::CopyJournal* journal,
                ConversionResult& result, core::CommandRunner& commands,
                ConversionObserver& observer, const core::Cancel& cancel)
        : request_(request),
          source_(source),
          target_(target),
          content_(content),
          places_(places),
          journal_(journal),
          result_(result),
          commands_(commands),
          observer_(observer),
          cancel_(cancel) {}

    const dev::BlockDevice& source() const override { return source_; }
    const dev::BlockDevice& target() const override { return target_; }
    dev::TargetContent target_content() const override { return content_; }
    Result<const image::SafeRoot*> target_root() override {
        if (!mounted_) {
            AMILIFT_TRY(auto mounted,
                        MountedTree::mount(target_, places_, dev::Access::read_write));
            mounted_.emplace(std::move(mounted));
            if (is_own_volume(request_) && !std::exchange(notes_changes_, true)) {
                AMILIFT_CHECK(result_.manifest.note_changes(
                    mounted_->root(), request_.is_interrupted, request_.target.volume_id));
            }
        }
        return &mounted_->root();
    }
    Result<> release_target_root() override {
        if (!mounted_) return {};
        AMILIFT_CHECK(mounted_->unmount());
        mounted_.reset();
        return target_.flush();
    }
    modules::Manifest& manifest() override { return result_.manifest; }
    core::CommandRunner& commands() override { return commands_; }
    const core::Cancel& cancel() const override { return cancel_; }
    void progress(const dev::CopyProgress& p) override { observer_.on_progress(p); }
    dev::CopyJournal* copy_journal() override { return journal_; }
    void say_of_journal(const std::string& text) override {
        observer_.on_finding({image::Severity::info, "copy-journal", target_.path(), text, "", ""});
    }
    void copied(const dev::CopyStats& stats) override {
        result_.copy = stats;
        if (stats.verified_bytes == 0) return;
        result_.proofs.push_back(
            fmt::format("copy: {} MiB of the target, read back, are what was read of the source",
                        stats.verified_bytes >> 20U));
    }

    /// Writes the manifest, unmounts and flushes: from here on the disk holds everything.
    Result<> finish() {
        AMILIFT_TRY(const auto* root, target_root());
        AMILIFT_CHECK(result_.manifest.write_itself(*root));
        return release_target_root();
    }

  private:
    const ConversionRequest& request_;
    const dev::BlockDevice& source_;
    const dev::BlockDevice& target_;
    dev::TargetContent content_;
    const std::vector<VolumePlace>& places_;
    dev::CopyJournal* journal_;
    ConversionResult& result_;
    core::CommandRunner& commands_;
    ConversionObserver& observer_;
    const core::Cancel& cancel_;
    std::optional<MountedTree> mounted_;
    bool notes_changes_ = false;
};

Result<> apply(const std::vector<modules::Step>& steps, Application& application,
               ConversionObserver& observer, const core::Cancel& cancel) {
    observer.on_stage("apply");
    for (std::size_t i = 0; i < steps.size(); ++i) {
        AMILIFT_CHECK(cancel.check());
        const auto text = fmt::format("{}: {}", steps[i].module, steps[i].text);
        observer.on_step(i, steps.size(), text);
        if (auto done = steps[i].apply(application); !done) {
            return std::unexpected(
                std::move(done).error().with_context(fmt::format("step '{}'", text)));
        }
    }
    return application.finish();
}

/// From a fresh mount, so that what is proved has been on the disk and not only in memory.
Result<> verify(const ConversionRequest& request, const std::string& target_path, const Plan& plan,
                ConversionResult& result, core::CommandRunner& commands,
                ConversionObserver& observer, const core::Cancel& cancel) {
    observer.on_stage("verify");
    const auto& inspection = result.plan.inspection;
    AMILIFT_TRY(const auto target, dev::BlockDevice::open(target_path, dev::Access::read_only));
    AMILIFT_TRY(auto mounted,
                MountedTree::mount(target, plan.target_places, dev::Access::read_only));
    {
        const modules::VerifyContext context{.options = request.options,
                                             .facts = inspection.facts,
                                             .filesystem = inspection.filesystem,
                                             .target = target,
                                             .target_root = mounted.root(),
                                             .manifest = result.manifest,
                                             .commands = commands,
                                             .boot_files = plan.boot_files,
                                             .boot_area = plan.boot_area};
        for (const auto* module : modules::modules_for(inspection.facts, request.options)) {
            AMILIFT_CHECK(cancel.check());
            auto proofs = module->verify(context);
            if (!proofs) {
                return std::unexpected(std::move(proofs).error().with_context(
                    fmt::format("verifying '{}'", module->name)));
            }
            for (auto& proof : *proofs) {
                result.proofs.push_back(fmt::format("{}: {}", module->name, proof));
            }
        }
    }
    return mounted.unmount();
}

Result<> look_at_result(const ConversionRequest& request, const std::string& target_path,
                        core::CommandRunner& commands, ConversionObserver& observer,
                        const core::Cancel& cancel, ConversionResult& result) {
    // What is found of the image was told before.
    ConversionObserver silent;
    AMILIFT_TRY(auto image,
                SourceImage::open({target_path, {}}, commands, silent, JournalReplay::never));
    AMILIFT_TRY(const auto inspection,
                inspect_content(image, commands, silent, cancel, &request.options));
    AMILIFT_CHECK(image.unmount());
    AMILIFT_TRY(auto proofs,
                prove_default_entry(request.options, result.plan.inspection, inspection));
    std::ranges::move(proofs, std::back_inserter(result.proofs));
    result.boots_by_uefi = can_boot_by_uefi(inspection);
    if (const auto& start = inspection.facts.efi_start; start && !start->is_proven()) {
        observer.on_finding({image::Severity::warning, start->id, start->where, start->seen,
                             "nothing proves that UEFI starts the result", start->action});
    }
    return {};
}

}  // namespace

image::Readiness readiness_of(const Inspection& inspection) {
    image::DiskForm disk;
    disk.has_partition_table = inspection.disk.layout != dev::DiskLayout::bare_filesystem;
    disk.has_efi_partition = inspection.facts.disk.has_system_partition;
    return image::assess(inspection.facts, disk);
}

Result<Inspection> inspect(const DiskRef& source, core::CommandRunner& commands,
                           ConversionObserver& observer, const core::Cancel& cancel,
                           bool may_replay_journal) {
    AMILIFT_CHECK(enter_own_mounts());
    observer.on_stage("inspect");
    AMILIFT_TRY(auto opened, SourceImage::open(source, commands, observer,
                                               may_replay_journal ? JournalReplay::allowed
                                                                  : JournalReplay::never));
    AMILIFT_CHECK(cancel.check());
    AMILIFT_TRY(auto inspection, inspect_content(opened, commands, observer, cancel));
    AMILIFT_CHECK(cancel.check());
    AMILIFT_CHECK(opened.unmount());
    return inspection;
}

Result<PlanText> plan(const ConversionRequest& request, core::CommandRunner& commands,
                      ConversionObserver& observer, const core::Cancel& cancel) {
    AMILIFT_CHECK(enter_own_mounts());
    AMILIFT_CHECK(require_two_disks(request));
    std::optional<std::uint64_t> target_bytes;
    if (!is_own_volume(request) &&
        kind_of_target(request.target.path) == TargetKind::block_device) {
        AMILIFT_TRY(const auto target,
                    dev::BlockDevice::open(request.target.path, dev::Access::read_only));
        target_bytes = target.size_bytes();
    }
    AMILIFT_TRY(auto source,
                SourceImage::open(content_of(request), commands, observer, JournalReplay::never));
    AMILIFT_TRY(auto plan, make_plan(request, source, target_bytes, commands, observer, cancel));
    AMILIFT_CHECK(source.unmount());
    return std::move(plan.text);
}

Result<ConversionResult> convert(const ConversionRequest& request, core::CommandRunner& commands,
                                 ConversionObserver& observer, const core::Cancel& cancel,
                                 core::Fd copy_journal) {
    AMILIFT_CHECK(enter_own_mounts());
    AMILIFT_CHECK(require_two_disks(request));
    std::optional<dev::CopyJournal> journal;
    if (copy_journal) {
        AMILIFT_TRY(auto opened,
                    dev::CopyJournal::open(std::move(copy_journal), "the helper's copy journal",
                                           request.journaled_disks));
        journal.emplace(std::move(opened));
    }
    const auto kind = kind_of_target(request.target.path);
    if (kind == TargetKind::none) {
        return fail(Errc::invalid_input, "no target disk is given", "name an output file");
    }
    const bool own = is_own_volume(request);
    if (kind == TargetKind::file && !own) {
        return fail(Errc::already_exists,
                    fmt::format("output file '{}' exists", request.target.path),
                    "remove it or choose another name");
    }
    std::optional<TargetDisk> target;
    std::optional<std::uint64_t> target_bytes;
    if (kind == TargetKind::block_device && !own) {
        AMILIFT_TRY(auto opened, TargetDisk::open_device(request.target));
        target.emplace(std::move(opened));
        target_bytes = target->disk().size_bytes();
    }
    if (own && request.is_interrupted)
        AMILIFT_CHECK(take_back_unfinished_appends(request, commands, observer));
    const bool may_replay = own || request.may_replay_source_journal;
    // A replay writes to the source: what has been copied of it before is of no use then.
    const auto forget_copy = [&]() -> Result<> {
        return journal && journal->has_begun() ? journal->clear() : Result<>();
    };
    AMILIFT_TRY(
        auto source,
        SourceImage::open(content_of(request), commands, observer,
                          may_replay ? JournalReplay::allowed : JournalReplay::never, forget_copy));
    AMILIFT_TRY(auto plan, make_plan(request, source, target_bytes, commands, observer, cancel));
    AMILIFT_CHECK(source.unmount());
    AMILIFT_CHECK(cancel.check());
    // The look at kernels and initramfs takes memory that the allocator keeps, and the copy is
    // long.
    (void)::malloc_trim(0);

    auto content = request.target_content;
    if (own) {
        // Claimed once more, as the target.
        source.release_claim();
        AMILIFT_TRY(auto opened, TargetDisk::open_device(request.target));
        target.emplace(std::move(opened));
    } else if (!target) {
        AMILIFT_TRY(auto made, TargetDisk::create_file(request.target.path, plan.text.target_bytes,
                                                       plan.text.used_bytes));
        target.emplace(std::move(made));
        content = dev::TargetContent::zeros;
    }
    ConversionResult result;
    result.plan = std::move(plan.text);
    {
        Application application(request, source.disk(), target->disk(), content, plan.target_places,
                                journal ? &*journal : nullptr, result, commands, observer, cancel);
        AMILIFT_CHECK(apply(plan.steps, application, observer, cancel));
    }
    AMILIFT_CHECK(verify(request, target->disk().path(), plan, result, commands, observer, cancel));
    const auto path = target->disk().path();
    // A device that we hold open is in use for whoever looks at it.
    if (target->disk().is_block_device()) target.reset();
    if (!is_paravirtual(request.options)) {
        AMILIFT_CHECK(look_at_result(request, path, commands, observer, cancel, result));
    }
    if (target) AMILIFT_CHECK(target->keep());
    return result;
}

}  // namespace amilift::worker
