// SPDX-License-Identifier: Apache-2.0
// fstab: any text can be read and edited, and a second edit finds nothing to do.
#include <array>

#include "image/fstab.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    const auto entries = image::parse_fstab(text);
    constexpr std::array kMissing{
        image::MissingDevice::nofail, image::MissingDevice::nofail_without_check,
        image::MissingDevice::without_check, image::MissingDevice::nobootwait};
    for (const auto missing : kMissing) {
        image::FstabEdit edit;
        edit.root_devices = {"/dev/sda1", "/dev/xvda1"};
        edit.root_spec = "LABEL=/";
        edit.root_label = "/";
        edit.root_uuid = "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11";
        edit.missing_device = missing;
        const auto once = image::edit_fstab(text, edit);
        fuzz::require(once.changes.empty() == (once.text == text));
        const auto again = image::edit_fstab(once.text, edit);
        fuzz::require(again.text == once.text && again.changes.empty());
        fuzz::require(image::parse_fstab(once.text).size() == entries.size());
    }
    return 0;
}
