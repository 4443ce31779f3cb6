// SPDX-License-Identifier: Apache-2.0
// Files that GRUB 2, extlinux and their generators read: any text can be edited, and a second edit
// finds nothing to do.
#include "image/grub2_edit.hpp"

#include <array>

#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    image::ArgumentEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = "LABEL=/";
    edit.old_root_devices = {"/dev/sda1", "/dev/xvda1"};
    edit.later_kernels = {{"nvme_core.io_timeout", "255", 255U}, {"net.ifnames", "0"}};
    edit.kernels = {{"/boot/vmlinuz-1", edit.later_kernels}};

    using Edit = image::EditedText (*)(std::string_view, const image::ArgumentEdit&);
    constexpr std::array<Edit, 6> kEdits{image::edit_grub_cfg,
                                         image::edit_bls_entry,
                                         image::edit_kernel_cmdline,
                                         image::edit_extlinux,
                                         image::edit_sysconfig_bootloader,
                                         [](std::string_view t, const image::ArgumentEdit& e) {
                                             return image::edit_default_grub(t, e);
                                         }};
    for (const auto apply : kEdits) {
        const auto once = apply(text, edit);
        fuzz::require(once.changes.empty() == (once.text == text));
        const auto again = apply(once.text, edit);
        fuzz::require(again.text == once.text && again.changes.empty());
    }
    if (const auto block = image::edit_grubenv(text, edit)) {
        fuzz::require(block->text.size() == text.size());
        const auto again = image::edit_grubenv(block->text, edit);
        fuzz::require(again && again->text == block->text);
    }
    return 0;
}
