// SPDX-License-Identifier: Apache-2.0
#include "image/grub_start.hpp"

#include <fmt/format.h>

namespace amilift::image::grub_script {

void set_start_variables(Environment& environment, const BootDisk& disk, std::string_view path,
                         std::string_view text) {
    // SUSE's GRUB has this in its core image, and repeats it in the configuration.
    if (text.find("btrfs_relative_path=\"y") != std::string_view::npos ||
        text.find("btrfs_relative_path=y") != std::string_view::npos) {
        environment.set("btrfs_relative_path", "y");
    }
    const auto* volume = disk.holder_of(path);
    const auto device = volume == nullptr ? std::string("hd0") : grub2_device(disk, *volume);
    const auto inside =
        volume == nullptr ? std::string(path) : path_on_volume(*volume, path, view_of(environment));
    const auto directory = inside.substr(0, inside.rfind('/'));
    environment.set("root", device);
    environment.set("prefix", fmt::format("({}){}", device, directory));
    environment.set("grub_cpu", "i386");
    environment.set("grub_platform", "pc");
    environment.set("cmdpath", "(hd0)");
    for (const char* name : {"chainloader_bpb", "default_font_path", "menuentry_id",
                             "menuentry_options", "nativedisk_cmd", "ntldr", "platform_search_hint",
                             "timeout_style", "all_video_module", "200_final"}) {
        environment.set(fmt::format("feature_{}", name), "y");
    }
    set_config_place(environment, device, inside);
    environment.export_all();
}

void set_program_variables(Environment& environment, const GrubProgram& program) {
    const auto own_device = environment.get("root");
    const auto directory = program.path.substr(0, program.path.rfind('/'));
    std::string device;
    std::string path = program.contents.prefix;
    if (const auto end = path.rfind(')'); path.starts_with('(') && end != std::string::npos) {
        device = path.substr(1, end - 1);
        path.erase(0, end + 1);
    }
    if (device.empty()) device = own_device;
    if (device.starts_with(',')) device = own_device.substr(0, own_device.find(',')) + device;
    if (path.empty()) path = directory;
    environment.set("root", device);
    environment.set("prefix", fmt::format("({}){}", device, path));
    environment.set("cmdpath", fmt::format("({}){}", own_device, directory));
    environment.set("grub_cpu", "x86_64");
    environment.set("grub_platform", "efi");
    environment.export_all();
}

void set_config_place(Environment& environment, const std::string& device,
                      const std::string& inside) {
    environment.set("config_file", fmt::format("({}){}", device, inside));
    environment.set("config_directory",
                    fmt::format("({}){}", device, inside.substr(0, inside.rfind('/'))));
}

SubvolumeView view_of(const Environment& environment) {
    const auto& wanted = environment.get("btrfs_relative_path");
    return wanted.starts_with('y') || wanted.starts_with('1') ? SubvolumeView::default_subvolume
                                                              : SubvolumeView::top_level;
}

}  // namespace amilift::image::grub_script
