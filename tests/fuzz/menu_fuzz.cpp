// SPDX-License-Identifier: Apache-2.0
// GRUB 0.97 menus: any text can be read and edited, and a second edit finds nothing to do.
#include "image/menu.hpp"
#include "image/pv_menu.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    const auto menu = image::parse_menu(text);
    const auto first = image::default_entry(menu);
    fuzz::require(!first || *first < menu.entries.size());

    image::MenuEdit edit;
    edit.consoles = {"tty0", "ttyS0,115200n8"};
    edit.root_argument = "LABEL=/";
    edit.old_root_devices = {"/dev/sda1", "/dev/xvda1"};
    if (!menu.entries.empty()) edit.default_entry = menu.entries.size() - 1;
    const auto once = image::edit_menu(text, edit);
    fuzz::require(once.changes.empty() == (once.text == text));
    const auto again = image::edit_menu(once.text, edit);
    fuzz::require(again.text == once.text && again.changes.empty());
    fuzz::require(image::parse_menu(once.text).entries.size() == menu.entries.size());

    image::PvMenuEdit pv;
    pv.boot_device = "(hd0,0)";
    pv.swap_is_gone = true;
    pv.root_argument = edit.root_argument;
    pv.old_root_devices = edit.old_root_devices;
    pv.default_entry = edit.default_entry;
    pv.wanted = {{"net.ifnames", "0"}};
    const auto for_pv = image::edit_pv_menu(text, pv);
    fuzz::require(for_pv.changes.empty() == (for_pv.text == text));
    const auto pv_again = image::edit_pv_menu(for_pv.text, pv);
    fuzz::require(pv_again.text == for_pv.text && pv_again.changes.empty());
    fuzz::require(image::parse_menu(for_pv.text).entries.size() == menu.entries.size());
    return 0;
}
