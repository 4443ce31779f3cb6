// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <variant>

#include "core/result.hpp"
#include "job/job.hpp"

namespace amilift::job {

using ParsedJob = std::variant<Job, JobPointer>;

/// Reads a job document: YAML of at most 64 KiB, described by conf/job.schema.json. In a document
/// whose first line is "#cloud-config", or that has the key `amilift` and none of a job's, the job
/// is the value of `amilift` and the other keys are left to cloud-init.
///
/// Errc::invalid_input with id "invalid-job": Error::what has one line for each mistake (at most
/// 20), "<source_name>:<line>:<column>: ...", in the order of the text. Nothing is guessed: an
/// unknown or repeated key, a value of another type, an alias or a tag is a mistake.
[[nodiscard]] core::Result<ParsedJob> parse_job(std::string_view text,
                                                std::string_view source_name);

/// Whether a cloud-config document has the key `amilift`. A document that is not YAML has it when a
/// line begins with it: parse_job() then says what is wrong.
[[nodiscard]] bool cloud_config_has_job(std::string_view text);

}  // namespace amilift::job
