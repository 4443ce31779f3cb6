// SPDX-License-Identifier: Apache-2.0
// Menus of GRUB 2, with an environment block and an entry of the boot loader specification, and of
// extlinux: whatever they say, they are read within bounds and the choice is one of the entries.
// The input is cut at bytes 0 into grub.cfg, grubenv and the entry.
#include <array>
#include <string>

#include "fuzz.hpp"
#include "image/boot_menu.hpp"
#include "tests/agent/image/temporary_root.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

namespace {

void is_bounded(const image::BootMenu& menu) {
    fuzz::require(menu.entries.size() <= image::kMaxSimulatedEntries);
    fuzz::require(menu.findings.size() <= 64);
    for (const auto index : menu.order) fuzz::require(index < menu.entries.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const image::TemporaryRoot tree;
    static const auto root = tree.open();
    auto rest = fuzz::as_text(data, size);
    std::array<std::string_view, 3> parts{};
    for (auto& part : parts) {
        part = rest.substr(0, rest.find('\0'));
        rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    }
    tree.file("/boot/grub/grub.cfg", parts[0]);
    tree.file("/boot/grub/grubenv", parts[1]);
    tree.file("/boot/loader/entries/a.conf", parts[2]);
    tree.file("/boot/extlinux.conf", parts[0]);

    image::BootDisk disk;
    disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "0b5e7a52", .label = "root"}};
    const auto grub2 = image::simulate_grub2(root, disk, "/boot/grub/grub.cfg");
    fuzz::require(grub2.has_value());
    is_bounded(*grub2);
    const auto extlinux = image::simulate_extlinux(root, disk, "/boot/extlinux.conf");
    fuzz::require(extlinux.has_value());
    is_bounded(*extlinux);
    return 0;
}
