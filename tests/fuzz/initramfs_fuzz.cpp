// SPDX-License-Identifier: Apache-2.0
// Initramfs files: any bytes can be listed within bounds, and something be appended.
#include "image/initramfs.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t kLimit = 4U << 20;
    const auto bytes = fuzz::as_text(data, size);
    const auto contents = image::read_initramfs(bytes, kLimit);
    fuzz::require(contents.unpacked_bytes <= kLimit);
    if (!contents.problem.empty() || !image::can_be_extended(contents)) return 0;
    const auto directory = image::module_directory(contents, "6.1.0");
    const auto name = directory + "/added.ko";
    const auto addition = image::make_addition(contents, size, {{name, "module"}}, false);
    if (!addition) return 0;
    const auto after = image::read_initramfs(std::string(bytes) + *addition, 2 * kLimit);
    fuzz::require(after.unpacked_bytes <= 2 * kLimit);
    fuzz::require(after.problem.empty() && after.members.contains(name));
    return 0;
}
