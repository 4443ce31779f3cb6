// SPDX-License-Identifier: Apache-2.0
// Initramfs files: any bytes can be listed within bounds, and modules be appended with which all
// can be loaded that could be before.
#include "image/initramfs.hpp"
#include "image/initramfs_modules.hpp"
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
    const auto name = directory + "/kernel/added.ko";
    image::ModuleIndex index;
    image::ModuleIndexTexts texts{
        .dep = "kernel/added.ko.xz:\n", .alias = {}, .symbols = {}, .softdep = {}};
    image::parse_modules_dep(texts.dep, "/lib/modules/6.1.0", index);
    const auto added = image::files_to_add(contents, "6.1.0", {"added"}, index);
    auto files = image::merged_index(contents, "6.1.0", added, index, texts);
    if (!files) return 0;
    (*files)[name] = "module";
    const auto addition = image::make_addition(contents, size, *files, false);
    if (!addition) return 0;
    const auto after = image::read_initramfs(std::string(bytes) + *addition, 4 * kLimit);
    fuzz::require(after.unpacked_bytes <= 4 * kLimit);
    fuzz::require(after.problem.empty() && after.members.contains(name));
    fuzz::require(image::loadable_modules(after, "6.1.0").contains("added"));
    fuzz::require(image::lost_modules(contents, after, "6.1.0").empty());
    return 0;
}
