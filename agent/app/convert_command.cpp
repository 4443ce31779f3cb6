// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "app/commands.hpp"
#include "app/image_json.hpp"
#include "app/local_disk.hpp"
#include "app/output.hpp"
#include "app/with_signals.hpp"
#include "core/command.hpp"
#include "core/fd.hpp"
#include "job/job_yaml.hpp"
#include "job/job_yaml_values.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {
namespace {

constexpr std::size_t kMaxJobBytes = std::size_t{64} * 1024;

/// Tells a person what happens, on standard error; says nothing with --json.
class Narrator final : public worker::ConversionObserver {
  public:
    Narrator(core::Clock& clock, bool quiet) : bar_(clock), quiet_(quiet) {}
    void on_finding(const image::Finding& f) override {
        if (quiet_) return;
        fmt::print(stderr, "{}: {}: {}", image::to_string(f.severity), printable(f.where),
                   printable(f.seen));
        if (!f.consequence.empty()) fmt::print(stderr, "; {}", printable(f.consequence));
        if (!f.action.empty()) fmt::print(stderr, "; {}", printable(f.action));
        fmt::print(stderr, "\n");
    }
    void on_step(std::size_t index, std::size_t count, const std::string& text) override {
        if (quiet_) return;
        bar_.finish();
        fmt::print(stderr, "[{}/{}] {}\n", index + 1, count, printable_lines(text));
    }
    void on_progress(const dev::CopyProgress& progress) override {
        if (!quiet_) bar_.update(progress);
    }
    void on_stage(const std::string& stage) override {
        if (quiet_) return;
        bar_.finish();
        fmt::print(stderr, "-- {}\n", stage);
    }

  private:
    ProgressBar bar_;
    bool quiet_;
};

core::Result<job::ConversionOptions> conversion_options(const std::string& job_path) {
    if (job_path.empty()) return job::ConversionOptions{};
    AMILIFT_TRY(const auto text, core::read_file(job_path, kMaxJobBytes));
    AMILIFT_TRY(const auto parsed, job::parse_job(text, job_path));
    const auto* job = std::get_if<job::Job>(&parsed);
    if (job == nullptr) {
        return core::fail(
            core::Errc::invalid_input,
            fmt::format("'{}' points to a job in S3, a local conversion needs the job "
                        "itself",
                        job_path),
            "download the object and give its file");
    }
    return job->conversion;
}

core::Result<worker::ConversionRequest> make_request(const ImageOptions& options) {
    // To the worker, no source means that the target is edited where it lies: never a user's file.
    if (options.source.empty()) {
        return core::fail(core::Errc::invalid_input, "the name of the source is empty",
                          "name a disk image or a block device");
    }
    worker::ConversionRequest request;
    request.source.path = options.source;
    request.target.path = options.output;
    AMILIFT_TRY(request.options, conversion_options(options.job));
    if (!options.size.empty()) {
        const auto size = job::parse_size_gib(options.size);
        if (!size) {
            return core::fail(core::Errc::invalid_input,
                              fmt::format("--size is '{}', expected 1GiB to {}GiB, in whole GiB",
                                          printable(options.size), job::kMaxSizeGib));
        }
        request.options.size_gib = *size;
    }
    if (options.verify_copy) request.options.verify_copy = true;
    if (options.platform == "nitro") request.options.platform = job::Platform::nitro;
    if (options.platform == "xen") request.options.platform = job::Platform::xen;
    return request;
}

core::Result<> convert(const ImageOptions& options, core::Clock& clock,
                       const core::Cancel& cancel) {
    AMILIFT_TRY(const auto request, make_request(options));
    core::ProcessRunner commands;
    Narrator narrator(clock, options.json);
    AMILIFT_TRY(const auto result, worker::convert(request, commands, narrator, cancel));
    if (options.json) {
        print_json(to_json(result));
        return {};
    }
    for (const auto& proof : result.proofs) fmt::print("verified: {}\n", printable(proof));
    for (const auto& entry : result.manifest.entries()) {
        const char* change = !entry.before ? "added" : !entry.after ? "removed" : "changed";
        fmt::print("{}: {} ({})\n", change, printable(entry.path), entry.module);
    }
    fmt::print("'{}' is converted: {} read, {} written in {:.1f} s\n", options.output,
               format_bytes(result.copy.read_bytes), format_bytes(result.copy.written_bytes),
               result.copy.seconds);
    if (result.copy.verified_bytes > 0) {
        fmt::print("{} read back in {:.1f} s\n", format_bytes(result.copy.verified_bytes),
                   result.copy.verify_seconds);
    }
    return {};
}

core::Result<> plan(const ImageOptions& options, core::Clock& clock, const core::Cancel& cancel) {
    AMILIFT_TRY(auto request, make_request(options));
    Narrator narrator(clock, options.json);
    AMILIFT_TRY(const auto text, plan_disk(std::move(request), narrator, cancel));
    if (options.json) {
        print_json(to_json(text));
        return {};
    }
    fmt::print("'{}': {} in use, the target needs {}\n", options.source,
               format_bytes(text.used_bytes), format_bytes(text.target_bytes));
    for (const auto& step : text.steps) fmt::print("{}\n", printable_lines(step));
    return {};
}

}  // namespace

ExitCode run_convert(const ImageOptions& options) {
    return with_signals(options.json, [&](const core::Cancel& cancel) {
        core::SystemClock clock;
        const auto done = convert(options, clock, cancel);
        return done ? ExitCode::ok : tell_error(done.error(), options.json);
    });
}

ExitCode run_plan(const ImageOptions& options) {
    return with_signals(options.json, [&](const core::Cancel& cancel) {
        core::SystemClock clock;
        const auto done = plan(options, clock, cancel);
        return done ? ExitCode::ok : tell_error(done.error(), options.json);
    });
}

}  // namespace amilift::app
