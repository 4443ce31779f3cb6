// SPDX-License-Identifier: Apache-2.0
#include "app/disk_worker.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "worker/client.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {
namespace {

/// "changed /etc/fstab (fstab): 1a2b3c4d5e6f 120 bytes -> 9f8e7d6c5b4a 131 bytes"
std::string describe(const modules::ManifestEntry& entry) {
    const auto version = [](const std::optional<modules::FileVersion>& v) {
        return v ? fmt::format("{} {} bytes", v->sha256.substr(0, 12), v->size_bytes)
                 : std::string("nothing");
    };
    const char* change = !entry.before ? "added" : !entry.after ? "removed" : "changed";
    return fmt::format("{} {} ({}): {} -> {}", change, entry.path, entry.module,
                       version(entry.before), version(entry.after));
}

class Relay final : public worker::ConversionObserver {
  public:
    Relay(const std::function<void(flow::Update::Kind, std::string)>& say,
          const std::function<void(const dev::CopyProgress&)>& progress)
        : say_(say), progress_(progress) {}

    void on_stage(const std::string& stage) override { say_(flow::Update::Kind::message, stage); }
    void on_finding(const image::Finding& finding) override {
        const auto kind = finding.severity == image::Severity::info ? flow::Update::Kind::message
                                                                    : flow::Update::Kind::warning;
        say_(kind, fmt::format("{}: {}: {}", finding.id, finding.where, finding.seen));
    }
    void on_step(std::size_t index, std::size_t count, const std::string& text) override {
        say_(flow::Update::Kind::message, fmt::format("step {} of {}: {}", index + 1, count, text));
    }
    void on_progress(const dev::CopyProgress& p) override {
        if (p.total_bytes != 0) progress_(p);
    }

  private:
    const std::function<void(flow::Update::Kind, std::string)>& say_;
    const std::function<void(const dev::CopyProgress&)>& progress_;
};

/// The file, durably in its directory: its notes would be lost with its name.
core::Result<core::Fd> open_journal(const std::string& path) {
    AMILIFT_TRY(auto journal, core::open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    const auto parent = std::filesystem::path(path).parent_path();
    AMILIFT_TRY(const auto directory,
                core::open_file(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY));
    if (::fsync(directory.get()) == 0) return journal;
    const int saved = errno;
    return core::fail_errno(saved, fmt::format("cannot flush the directory of '{}'", path));
}

}  // namespace

core::Result<flow::ConvertOutcome> SandboxedDiskWorker::convert(
    const flow::ConvertOrder& order,
    const std::function<void(flow::Update::Kind, std::string)>& say,
    const std::function<void(const dev::CopyProgress&)>& progress, const core::Cancel& cancel) {
    worker::ConversionRequest request;
    request.source = {order.source_path, order.source_volume, order.source_device};
    request.target = {order.target_path, order.target_volume, order.target_device};
    request.options = order.options;
    // The source volume was made for this job: replaying its journal changes nobody's data.
    request.may_replay_source_journal = true;
    request.target_content =
        order.target_is_untouched ? dev::TargetContent::zeros : dev::TargetContent::unknown;
    request.is_interrupted = order.source_path.empty() && !order.target_is_untouched;
    core::Fd journal;
    // What is converted in place is not copied.
    if (!order.source_volume.empty() && !journal_path_.empty()) {
        AMILIFT_TRY(journal, open_journal(journal_path_));
        request.journaled_disks = {order.source_volume, order.target_volume};
    }
    Relay relay(say, progress);
    worker::WorkerClient client;
    auto result = client.convert(request, relay, cancel, journal);
    if (!result) {
        auto error = std::move(result).error();
        if (error.id == worker::kWorkerKilled) error.id = flow::kWorkerKilled;
        return std::unexpected(std::move(error));
    }
    // Empty by now: the next job need not find it.
    (void)::unlink(journal_path_.c_str());
    AMILIFT_TRY(const auto manifest, modules::Manifest::from_json(result->manifest_json));
    std::vector<std::string> changes;
    for (const auto& entry : manifest.entries()) changes.push_back(describe(entry));
    return flow::ConvertOutcome{std::move(changes), std::move(result->proofs),
                                std::move(result->kernel_version), std::move(result->ena_driver),
                                result->boots_by_uefi};
}

}  // namespace amilift::app
