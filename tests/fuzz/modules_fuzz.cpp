// SPDX-License-Identifier: Apache-2.0
// What an image says of kernel modules: .modinfo of ELF files, the indexes of depmod, modprobe.d.
#include "image/kernel_modules.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = fuzz::as_text(data, size);
    (void)image::parse_modinfo(bytes);
    (void)image::parse_builtin_modinfo(bytes, "nvme_core");

    image::ModuleIndex index;
    image::parse_modules_dep(bytes, "/lib/modules/6.1.0", index);
    image::parse_modules_builtin(bytes, index);
    image::parse_modules_softdep(bytes, index);
    for (const auto& [name, module] : index.modules) {
        fuzz::require(!module.file.empty() && module.file.front() != '/');
        if (!image::with_dependencies(index, name).empty()) break;  // one is enough
    }
    image::ModuleRules rules;
    rules.add_settings(bytes, "/etc/modprobe.d/x.conf");
    rules.add_command_line(bytes);
    (void)rules.block_of("nvme", {"nvme_core"});
    return 0;
}
