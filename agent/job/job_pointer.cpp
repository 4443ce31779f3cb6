// SPDX-License-Identifier: Apache-2.0
#include "job/job_pointer.hpp"

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "core/sha256.hpp"
#include "job/job_yaml.hpp"

namespace amilift::job {
namespace {

using core::Errc;
using core::fail;
using core::Result;

}  // namespace

std::string to_string(const JobPointer& pointer) {
    auto name = fmt::format("s3://{}/{}", pointer.bucket, pointer.key);
    if (pointer.version) name += fmt::format("?versionId={}", *pointer.version);
    return name;
}

Result<Job> read_pointed_job(const JobPointer& pointer, std::string_view bytes) {
    const auto name = to_string(pointer);
    AMILIFT_TRY(const auto digest, core::sha256_hex(bytes));
    if (digest != pointer.sha256) {
        return fail(Errc::invalid_input,
                    fmt::format("job document '{}' has {} bytes with SHA-256 {}, expected {}", name,
                                bytes.size(), digest, pointer.sha256),
                    pointer.version ? "give the digest of that version in job.sha256"
                                    : "the object was replaced, or job.sha256 is of another file; "
                                      "name the version in job.version",
                    "job-digest");
    }
    AMILIFT_TRY(auto parsed, parse_job(bytes, name));
    if (auto* job = std::get_if<Job>(&parsed)) return std::move(*job);
    return fail(Errc::invalid_input,
                fmt::format("job document '{}' points to another document, expected a job", name),
                "let the user-data point to the job itself", "invalid-job");
}

}  // namespace amilift::job
