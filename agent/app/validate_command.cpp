// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/output.hpp"
#include "core/fd.hpp"
#include "job/job_pointer.hpp"
#include "job/job_yaml.hpp"
#include "job/user_data.hpp"

namespace amilift::app {
namespace {

constexpr std::size_t kMaxInput = 1U << 20;

core::Result<std::string> read_input(const std::string& path) {
    if (path != "-") return core::read_file(path, kMaxInput);
    core::Fd input(::dup(STDIN_FILENO));
    return core::read_all(input, kMaxInput, "standard input");
}

/// A job file as it is, or user-data as an instance would get it (MIME, gzip, base64,
/// cloud-config).
core::Result<job::ParsedJob> read_job(const std::string& path) {
    AMILIFT_TRY(const auto bytes, read_input(path));
    const auto name = path == "-" ? std::string("<stdin>") : path;
    auto decoded = job::decode_user_data(bytes);
    if (decoded) return job::parse_job(decoded->text, name);
    // A plain job file needs no "#amilift" line.
    if (decoded.error().id == "no-job") return job::parse_job(bytes, name);
    return std::unexpected(std::move(decoded).error());
}

}  // namespace

ExitCode run_validate(const ValidateOptions& options) {
    const auto parsed = read_job(options.job);
    if (!parsed) return tell_error(parsed.error(), options.json);
    const auto* pointer = std::get_if<job::JobPointer>(&*parsed);
    if (options.json) {
        print_json(
            {{"version", 1}, {"ok", true}, {"kind", pointer != nullptr ? "pointer" : "job"}});
    } else if (pointer != nullptr) {
        fmt::print("{}: a valid pointer to the job {}\n", options.job, job::to_string(*pointer));
    } else {
        fmt::print("{}: a valid job for {}\n", options.job, std::get<job::Job>(*parsed).source.ami);
    }
    return ExitCode::ok;
}

}  // namespace amilift::app
