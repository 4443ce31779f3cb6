// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "job/job.hpp"

namespace amilift::job {

/// How much of a pointer's object needs to be fetched at most (bytes): a job document is never
/// larger.
inline constexpr std::size_t kMaxJobObjectBytes = std::size_t{64} * 1024;

/// "s3://bucket/key", with "?versionId=..." if the pointer has one: the name for messages.
[[nodiscard]] std::string to_string(const JobPointer& pointer);

/// Reads the job out of the bytes that the pointer's object has. Errc::invalid_input: the SHA-256
/// is not the pointer's (id "job-digest"; nothing of the object is looked at), the document is
/// itself a pointer (id "invalid-job"), or parse_job()'s errors.
[[nodiscard]] core::Result<Job> read_pointed_job(const JobPointer& pointer, std::string_view bytes);

}  // namespace amilift::job
