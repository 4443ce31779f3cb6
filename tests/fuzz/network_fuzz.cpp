// SPDX-License-Identifier: Apache-2.0
// Network configuration, crypttab and modprobe files: any text can be read and edited, and a second
// edit finds nothing to do. An edited netplan file is YAML still, with the same entries, and binds
// none that it does not tell of.
#include <algorithm>
#include <array>

#include "core/text.hpp"
#include "core/yaml_tree.hpp"
#include "image/device_files.hpp"
#include "image/network_files.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace image = amilift::image;
namespace core = amilift::core;

namespace {

void check_netplan(std::string_view text) {
    const auto before = image::netplan_interfaces(text);
    for (const auto& entry : before) {
        const auto result = image::edit_netplan(text, entry.id);
        const auto& after_text = result.edited.text;
        fuzz::require(result.edited.changes.empty() == (after_text == text));
        if (!result.left.empty() && after_text == text) continue;
        fuzz::require(core::parse_yaml(core::normalized(after_text)).has_value());
        const auto after = image::netplan_interfaces(after_text);
        fuzz::require(std::ranges::equal(before, after, {}, &image::NetplanInterface::id,
                                         &image::NetplanInterface::id));
        const auto edited = std::ranges::find(after, entry.id, &image::NetplanInterface::id);
        fuzz::require(!result.left.empty() || (!edited->by_mac && !edited->is_static));
        fuzz::require(image::netplan_address_elsewhere(text).has_value() ==
                      image::netplan_address_elsewhere(after_text).has_value());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = fuzz::as_text(data, size);
    using Edit = image::EditedText (*)(std::string_view);
    using image::NetworkdFile;
    constexpr std::array<Edit, 12> kEdits{
        image::edit_udev_names,
        image::edit_sysconfig_network,
        image::edit_routes,
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
    check_netplan(text);
    (void)image::interfaces_names(text);
    (void)image::keyfile_interface(text);
    return 0;
}
