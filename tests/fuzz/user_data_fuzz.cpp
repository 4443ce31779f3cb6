// SPDX-License-Identifier: Apache-2.0
// User-data in all its forms (MIME, gzip, base64, cloud-config), and the job in it.
#include "job/job_yaml.hpp"
#include "job/user_data.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace job = amilift::job;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto decoded = job::decode_user_data(fuzz::as_text(data, size));
    if (!decoded) {
        fuzz::require(!decoded.error().id.empty());
        return 0;
    }
    fuzz::require(decoded->text.size() <= job::kMaxUserDataBytes);
    const auto parsed = job::parse_job(decoded->text, decoded->origin);
    fuzz::require(parsed || !parsed.error().what.empty());
    return 0;
}
