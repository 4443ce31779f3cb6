// SPDX-License-Identifier: Apache-2.0
// Kernel files: header, version, packing, and the config beside them.
#include <algorithm>

#include "image/kernel.hpp"
#include "image/pv_kernel.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = fuzz::as_text(data, size);
    const auto header = image::parse_kernel_header(bytes);
    // The version names a directory below /lib/modules.
    fuzz::require(header.version.size() <= 128 && std::ranges::none_of(header.version, [](char c) {
                      return c == '/' || c <= ' ' || c >= 0x7f;
                  }));
    fuzz::require(header.format == image::KernelFormat::bz_image || header.payload_at == 0);
    (void)image::payload_compression(bytes);
    (void)image::config_has_xen_pv(bytes);
    (void)image::xen_only_option(bytes);
    const auto pv = image::parse_pv_kernel(bytes);
    fuzz::require(!pv || pv->compression == "lzo" || pv->notes.xen_version.starts_with("xen-3.0"));
    fuzz::require(pv || !pv.error().id.empty());
    return 0;
}
