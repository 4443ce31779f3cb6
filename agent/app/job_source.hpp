// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "aws/imds.hpp"
#include "aws/s3_client.hpp"
#include "core/result.hpp"
#include "job/job.hpp"

namespace amilift::app {

/// The job of this helper: from user-data, or from the S3 object that user-data points to.
[[nodiscard]] core::Result<job::Job> fetch_job(aws::Imds& imds, aws::S3Client& s3);

}  // namespace amilift::app
