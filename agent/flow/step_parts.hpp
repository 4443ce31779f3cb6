// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "aws/ec2.hpp"
#include "core/result.hpp"
#include "flow/steps.hpp"
#include "job/template.hpp"

/// What the files of steps*.cpp share; nobody else includes this.
namespace amilift::flow::steps {

/// Tags that every resource of the job carries.
[[nodiscard]] aws::Tags provenance(const Run& run);
/// The source AMI, described once for each run of the agent.
[[nodiscard]] core::Result<const aws::Image*> source_image(Run& run);
[[nodiscard]] core::Result<job::TemplateValues> template_values(Run& run);
/// All tags of the new AMI: the source's, the job's and provenance(). Errc::refused (id
/// "too-many-tags") when they are more than EC2 takes.
[[nodiscard]] core::Result<aws::Tags> image_tags(const Run& run, const aws::Image& source,
                                                 const job::TemplateValues& values);

// One function for each state, see states.hpp.
[[nodiscard]] core::Result<> fetch_job(Run& run);
[[nodiscard]] core::Result<> preflight(Run& run);
[[nodiscard]] core::Result<> create_volumes(Run& run);
[[nodiscard]] core::Result<> attach_volumes(Run& run);
[[nodiscard]] core::Result<> convert(Run& run);
[[nodiscard]] core::Result<> detach_volumes(Run& run);
[[nodiscard]] core::Result<> snapshot(Run& run);
[[nodiscard]] core::Result<> register_image(Run& run);
[[nodiscard]] core::Result<> delete_volumes(Run& run);
[[nodiscard]] core::Result<> clean_up(Run& run);
[[nodiscard]] core::Result<> finish(Run& run);

}  // namespace amilift::flow::steps
