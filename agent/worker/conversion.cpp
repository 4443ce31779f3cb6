// SPDX-License-Identifier: Apache-2.0
#include "worker/conversion.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "modules/bootloader.hpp"
#include "modules/module.hpp"
#include "modules/partition.hpp"
#include "modules/registry.hpp"
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

Result<> require_two_disks(const ConversionRequest& request) {
    // A loop device is the file behind it, a hard link is the file itself.
    const auto source = dev::identity_of(request.source.path);
    const auto target = dev::identity_of(request.target.path);
    if (!source || !target || *source != *target) return {};
    return fail(Errc::invalid_input,
                fmt::format("source '{}' and target '{}' are the same disk", request.source.path,
                            request.target.path),
                "name another target: the source is never changed");
}

/// The image's content, with every finding told.
Result<Inspection> inspect_content(const SourceImage& source, ConversionObserver& observer) {
    Inspection inspection;
    inspection.disk = source.contents();
    inspection.filesystem = source.filesystem();
    AMILIFT_TRY(inspection.facts, image::inspect_image(source.root()));
    if (!inspection.filesystem.clean) {
        inspection.facts.findings.push_back(
            {image::Severity::warning, "filesystem-not-clean", source.disk().path(),
             "the filesystem was in use when the image was made",
             "all of it is copied, not only what is in use, and the first boot checks it",
             "stop the instance before making the image, if a slow first boot matters"});
    }
    for (const auto& finding : inspection.facts.findings) observer.on_finding(finding);
    return inspection;
}

Result<> require_convertible(const image::ImageFacts& facts) {
    const auto* refusal = facts.first_refusal();
    if (refusal == nullptr) return {};
    return fail(Errc::refused,
                fmt::format("'{}': {}; {}", refusal->where, refusal->seen, refusal->consequence),
                refusal->action, refusal->id);
}

struct Plan {
    PlanText text;
    std::vector<modules::Step> steps;
    std::vector<modules::BootFile> boot_files;
};

Result<Plan> make_plan(const ConversionRequest& request, const SourceImage& source,
                       std::optional<std::uint64_t> target_bytes, core::CommandRunner& commands,
                       ConversionObserver& observer) {
    if (request.options.virtualization == job::Virtualization::paravirtual) {
        return fail(Errc::refused, "this disk worker makes no paravirtual images yet",
                    "set target.virtualization: hvm", "paravirtual-target");
    }
    Plan plan;
    observer.on_stage("inspect");
    AMILIFT_TRY(plan.text.inspection, inspect_content(source, observer));
    const auto& inspection = plan.text.inspection;
    AMILIFT_CHECK(require_convertible(inspection.facts));
    AMILIFT_CHECK(source.require_room());
    AMILIFT_CHECK(modules::Manifest::require_place(source.root(), modules::kManifestPath));

    observer.on_stage("plan");
    AMILIFT_TRY(const auto used, source.used_extents());
    plan.text.used_bytes = used.used_bytes;
    plan.text.target_bytes = modules::target_bytes_needed(inspection.filesystem.size_bytes);
    const modules::PlanContext context{.options = request.options,
                                       .facts = inspection.facts,
                                       .filesystem = inspection.filesystem,
                                       .source_root = source.root(),
                                       .used = used,
                                       .target_bytes = target_bytes,
                                       .commands = commands,
                                       .source_path = source.disk().path()};
    for (const auto& module : modules::registry()) {
        auto steps = module.plan(context);
        if (!steps) return std::unexpected(std::move(steps).error());
        for (auto& step : *steps) {
            plan.text.steps.push_back(fmt::format("{}: {}", step.module, step.text));
            plan.steps.push_back(std::move(step));
        }
    }
    AMILIFT_TRY(plan.boot_files, modules::read_boot_files(inspection.facts, source.root()));
    return plan;
}

class Application final : public modules::ApplyContext {
  public:
    Application(const dev::BlockDevice& source, const dev::BlockDevice& target,
                dev::TargetContent content, const dev::FilesystemInfo& filesystem,
                ConversionResult& result, core::CommandRunner& commands,
                ConversionObserver& observer, const core::Cancel& cancel)
        : source_(source),
          target_(target),
          content_(content),
          filesystem_(filesystem),
          result_(result),
          commands_(commands),
          observer_(observer),
          cancel_(cancel) {}

    const dev::BlockDevice& source() const override { return source_; }
    const dev::BlockDevice& target() const override { return target_; }
    dev::TargetContent target_content() const override { return content_; }
    Result<const image::SafeRoot*> target_root() override {
        if (!mounted_) {
            AMILIFT_TRY(mounted_,
                        MountedTarget::mount(target_, filesystem_, dev::Access::read_write));
        }
        return &mounted_->root();
    }
    modules::Manifest& manifest() override { return result_.manifest; }
    core::CommandRunner& commands() override { return commands_; }
    const core::Cancel& cancel() const override { return cancel_; }
    void progress(const dev::CopyProgress& p) override { observer_.on_progress(p); }
    void copied(const dev::CopyStats& stats) override { result_.copy = stats; }

    /// Writes the manifest, unmounts and flushes: from here on the disk holds everything.
    Result<> finish() {
        AMILIFT_TRY(const auto* root, target_root());
        AMILIFT_CHECK(result_.manifest.write_itself(*root));
        AMILIFT_CHECK(mounted_->unmount());
        mounted_.reset();
        return target_.flush();
    }

  private:
    const dev::BlockDevice& source_;
    const dev::BlockDevice& target_;
    dev::TargetContent content_;
    const dev::FilesystemInfo& filesystem_;
    ConversionResult& result_;
    core::CommandRunner& commands_;
    ConversionObserver& observer_;
    const core::Cancel& cancel_;
    std::optional<MountedTarget> mounted_;
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
Result<> verify(const ConversionRequest& request, const std::string& target_path,
                const std::vector<modules::BootFile>& boot_files, ConversionResult& result,
                core::CommandRunner& commands, ConversionObserver& observer,
                const core::Cancel& cancel) {
    observer.on_stage("verify");
    const auto& inspection = result.plan.inspection;
    AMILIFT_TRY(const auto target, dev::BlockDevice::open(target_path, dev::Access::read_only));
    AMILIFT_TRY(auto mounted,
                MountedTarget::mount(target, inspection.filesystem, dev::Access::read_only));
    {
        const modules::VerifyContext context{.options = request.options,
                                             .facts = inspection.facts,
                                             .filesystem = inspection.filesystem,
                                             .target = target,
                                             .target_root = mounted.root(),
                                             .manifest = result.manifest,
                                             .commands = commands,
                                             .boot_files = boot_files};
        for (const auto& module : modules::registry()) {
            AMILIFT_CHECK(cancel.check());
            auto proofs = module.verify(context);
            if (!proofs) {
                return std::unexpected(std::move(proofs).error().with_context(
                    fmt::format("verifying '{}'", module.name)));
            }
            for (auto& proof : *proofs) {
                result.proofs.push_back(fmt::format("{}: {}", module.name, proof));
            }
        }
    }
    return mounted.unmount();
}

}  // namespace

Result<Inspection> inspect(const DiskRef& source, core::CommandRunner& /*commands*/,
                           ConversionObserver& observer) {
    AMILIFT_CHECK(enter_own_mounts());
    observer.on_stage("inspect");
    AMILIFT_TRY(auto opened, SourceImage::open(source, JournalReplay::never));
    AMILIFT_TRY(auto inspection, inspect_content(opened, observer));
    AMILIFT_CHECK(opened.unmount());
    return inspection;
}

Result<PlanText> plan(const ConversionRequest& request, core::CommandRunner& commands,
                      ConversionObserver& observer) {
    AMILIFT_CHECK(enter_own_mounts());
    AMILIFT_CHECK(require_two_disks(request));
    std::optional<std::uint64_t> target_bytes;
    if (kind_of_target(request.target.path) == TargetKind::block_device) {
        AMILIFT_TRY(const auto target,
                    dev::BlockDevice::open(request.target.path, dev::Access::read_only));
        target_bytes = target.size_bytes();
    }
    AMILIFT_TRY(auto source, SourceImage::open(request.source, JournalReplay::never));
    AMILIFT_TRY(auto plan, make_plan(request, source, target_bytes, commands, observer));
    AMILIFT_CHECK(source.unmount());
    return std::move(plan.text);
}

Result<ConversionResult> convert(const ConversionRequest& request, core::CommandRunner& commands,
                                 ConversionObserver& observer, const core::Cancel& cancel) {
    AMILIFT_CHECK(enter_own_mounts());
    AMILIFT_CHECK(require_two_disks(request));
    const auto kind = kind_of_target(request.target.path);
    if (kind == TargetKind::none) {
        return fail(Errc::invalid_input, "no target disk is given", "name an output file");
    }
    if (kind == TargetKind::file) {
        return fail(Errc::already_exists,
                    fmt::format("output file '{}' exists", request.target.path),
                    "remove it or choose another name");
    }
    std::optional<TargetDisk> target;
    std::optional<std::uint64_t> target_bytes;
    if (kind == TargetKind::block_device) {
        AMILIFT_TRY(auto opened, TargetDisk::open_device(request.target));
        target.emplace(std::move(opened));
        target_bytes = target->disk().size_bytes();
    }
    AMILIFT_TRY(auto source, SourceImage::open(request.source, request.may_replay_source_journal
                                                                   ? JournalReplay::allowed
                                                                   : JournalReplay::never));
    AMILIFT_TRY(auto plan, make_plan(request, source, target_bytes, commands, observer));
    AMILIFT_CHECK(source.unmount());
    AMILIFT_CHECK(cancel.check());

    auto content = request.target_content;
    if (!target) {
        AMILIFT_TRY(auto made, TargetDisk::create_file(request.target.path, plan.text.target_bytes,
                                                       plan.text.used_bytes));
        target.emplace(std::move(made));
        content = dev::TargetContent::zeros;
    }
    ConversionResult result;
    result.plan = std::move(plan.text);
    {
        Application application(source.disk(), target->disk(), content,
                                result.plan.inspection.filesystem, result, commands, observer,
                                cancel);
        AMILIFT_CHECK(apply(plan.steps, application, observer, cancel));
    }
    AMILIFT_CHECK(verify(request, target->disk().path(), plan.boot_files, result, commands,
                         observer, cancel));
    AMILIFT_CHECK(target->keep());
    return result;
}

}  // namespace amilift::worker
