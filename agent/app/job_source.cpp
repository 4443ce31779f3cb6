// SPDX-License-Identifier: Apache-2.0
#include "app/job_source.hpp"

#include "job/job_pointer.hpp"
#include "job/job_yaml.hpp"
#include "job/user_data.hpp"

namespace amilift::app {

core::Result<job::Job> fetch_job(aws::Imds& imds, aws::S3Client& s3) {
    AMILIFT_TRY(const auto bytes, imds.user_data());
    // Absent and empty user-data are the same mistake: decode_user_data() has the words for it.
    AMILIFT_TRY(const auto found, job::decode_user_data(bytes.value_or("")));
    AMILIFT_TRY(auto parsed, job::parse_job(found.text, found.origin));
    if (auto* job = std::get_if<job::Job>(&parsed)) return std::move(*job);
    const auto& pointer = std::get<job::JobPointer>(parsed);
    AMILIFT_TRY(const auto object, s3.get_object(pointer.bucket, pointer.key, pointer.version,
                                                 job::kMaxJobObjectBytes));
    return job::read_pointed_job(pointer, object);
}

}  // namespace amilift::app
