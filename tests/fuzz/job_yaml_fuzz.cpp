// SPDX-License-Identifier: Apache-2.0
// Job documents.
#include "job/job_yaml.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace job = amilift::job;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    const auto parsed = job::parse_job(text, "job.yaml");
    // A mistake is told with its place.
    fuzz::require(parsed || parsed.error().what.find("job.yaml") != std::string::npos);
    (void)job::cloud_config_has_job(text);
    return 0;
}
