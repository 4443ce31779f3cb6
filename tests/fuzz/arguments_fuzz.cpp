// SPDX-License-Identifier: Apache-2.0
// Files with kernel command lines, of GRUB 2, BLS and extlinux: any text can be edited, and a
// second edit finds nothing to do.
#include "image/grub2_edit.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

namespace {

template <class Edit>
void is_stable(std::string_view text, Edit edit) {
    const image::EditedText once = edit(text);
    fuzz::require(once.changes.empty() == (once.text == text));
    const image::EditedText again = edit(once.text);
    fuzz::require(again.text == once.text && again.changes.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    image::ArgumentEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = "LABEL=/";
    edit.old_root_devices = {"/dev/sda1", "/dev/xvda1"};
    edit.kernels = {{"/boot/vmlinuz-1", {{"nvme_core.io_timeout", "4294967295", 4294967295U}}}};
    edit.later_kernels = edit.kernels.front().arguments;
    is_stable(text, [&](std::string_view t) { return image::edit_grub_cfg(t, edit); });
    is_stable(text, [&](std::string_view t) { return image::edit_default_grub(t, edit); });
    is_stable(text, [&](std::string_view t) { return image::edit_bls_entry(t, edit); });
    // Only run: in a text that is no line of arguments, a second edit may find more.
    (void)image::edit_kernel_cmdline(text, edit);
    is_stable(text, [&](std::string_view t) { return image::edit_extlinux(t, edit); });
    const auto block = image::edit_grubenv(text, edit);
    if (!block) return 0;
    fuzz::require(block->text.size() == text.size());
    const auto again = image::edit_grubenv(block->text, edit);
    fuzz::require(again && again->text == block->text);
    return 0;
}
