// SPDX-License-Identifier: Apache-2.0
// Network configuration, crypttab and modprobe files: any text can be read and edited, and a second
// edit finds nothing to do.
#include <array>

#include "image/device_files.hpp"
#include "image/network_files.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    using Edit = image::EditedText (*)(std::string_view);
    using image::NetworkdFile;
    constexpr std::array<Edit, 12> kEdits{
        image::edit_udev_names,
        image::edit_sysconfig_network,
        image::edit_suse_routes,
        image::edit_crypttab,
        image::edit_modprobe,
        [](std::string_view t) { return image::edit_initramfs_resume(t, {"UUID=a"}, "b"); },
        [](std::string_view t) { return image::edit_ifcfg(t).edited; },
        [](std::string_view t) { return image::edit_interfaces(t, "eth0").edited; },
        [](std::string_view t) { return image::edit_netplan(t, "eth0").edited; },
        [](std::string_view t) { return image::edit_networkd(t, NetworkdFile::network).edited; },
        [](std::string_view t) { return image::edit_networkd(t, NetworkdFile::link).edited; },
        [](std::string_view t) { return image::edit_keyfile(t).edited; }};
    for (const auto apply : kEdits) {
        const auto once = apply(text);
        fuzz::require(once.changes.empty() == (once.text == text));
        const auto again = apply(once.text);
        fuzz::require(again.text == once.text && again.changes.empty());
    }
    (void)image::netplan_interfaces(text);
    (void)image::interfaces_names(text);
    (void)image::keyfile_interface(text);
    return 0;
}
