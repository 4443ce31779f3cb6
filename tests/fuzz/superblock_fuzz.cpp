// SPDX-License-Identifier: Apache-2.0
// Superblocks of ext and XFS: a filesystem that is believed fits its device.
#include "dev/filesystem.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace dev = amilift::dev;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kDevice = std::uint64_t{1} << 40;
    dev::XfsShape shape;
    const auto info =
        dev::parse_filesystem_info(fuzz::as_bytes(data, size), kDevice, "disk", &shape);
    if (!info) return 0;
    fuzz::require(info->size_bytes <= kDevice);
    if (shape.has_internal_log) {
        fuzz::require(shape.log_offset_bytes <= info->size_bytes &&
                      shape.log_bytes <= info->size_bytes - shape.log_offset_bytes);
    }
    return 0;
}
