// SPDX-License-Identifier: Apache-2.0
// Files that configure the network, crypttab and modprobe.d: any text can be edited, and a second
// edit finds nothing to do.
#include "image/device_files.hpp"
#include "image/network_files.hpp"
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
    is_stable(text, [](std::string_view t) { return image::edit_udev_names(t); });
    is_stable(text, [](std::string_view t) { return image::edit_ifcfg(t).edited; });
    is_stable(text, [](std::string_view t) { return image::edit_sysconfig_network(t); });
    is_stable(text, [](std::string_view t) { return image::edit_suse_routes(t); });
    is_stable(text, [](std::string_view t) { return image::edit_keyfile(t).edited; });
    is_stable(text, [](std::string_view t) { return image::edit_crypttab(t); });
    is_stable(text, [](std::string_view t) { return image::edit_modprobe(t); });
    is_stable(text,
              [](std::string_view t) { return image::edit_initramfs_resume(t, {"UUID=1"}, "2"); });
    for (const auto kind : {image::NetworkdFile::network, image::NetworkdFile::link}) {
        is_stable(text,
                  [kind](std::string_view t) { return image::edit_networkd(t, kind).edited; });
    }
    for (const auto& name : image::interfaces_names(text)) {
        is_stable(text, [&](std::string_view t) { return image::edit_interfaces(t, name).edited; });
        break;  // one is enough
    }
    // Only run: in a text whose indentation is no YAML's, a second edit may find more.
    for (const auto& card : image::netplan_interfaces(text)) {
        (void)image::edit_netplan(text, card.id);
        break;
    }
    return 0;
}
