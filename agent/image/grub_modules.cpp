// SPDX-License-Identifier: Apache-2.0
#include "image/grub_modules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace amilift::image {
namespace {

using core::Result;

constexpr std::string_view kArchive = "memdisk";

constexpr std::array<std::pair<std::string_view, std::string_view>, 31> kCommands{{
    {".", "configfile"},
    {"[", "test"},
    {"blscfg", "blscfg"},
    {"boot", "boot"},
    {"configfile", "configfile"},
    {"exit", "minicmd"},
    {"export", "normal"},
    {"false", "true"},
    {"fwsetup", "efifwsetup"},
    {"halt", "halt"},
    {"initrd", "linux"},
    {"initrdefi", "linuxefi"},
    {"legacy_configfile", "legacycfg"},
    {"legacy_source", "legacycfg"},
    {"linux", "linux"},
    {"linuxefi", "linuxefi"},
    {"load_env", "loadenv"},
    {"menuentry", "normal"},
    {"multiboot", "multiboot"},
    {"multiboot2", "multiboot2"},
    {"normal", "normal"},
    {"normal_exit", "normal"},
    {"reboot", "reboot"},
    {"regexp", "regexp"},
    {"search", "search"},
    {"search.file", "search_fs_file"},
    {"search.fs_label", "search_label"},
    {"search.fs_uuid", "search_fs_uuid"},
    {"source", "configfile"},
    {"test", "test"},
    {"true", "true"},
}};

}  // namespace

std::string_view grub_module_of(std::string_view command) {
    const auto* const found =
        std::ranges::find(kCommands, command, [](const auto& c) { return c.first; });
    return found == kCommands.end() ? std::string_view() : found->second;
}

Result<bool> GrubModules::load(std::string_view name, const std::string& prefix,
                               SubvolumeView view) {
    if (has(name)) return true;
    if (!prefix.starts_with('(') || !needed_to_read(prefix).empty()) return false;
    const auto path = files_.path(file_of(name, prefix), {}, view);
    if (!path) return false;
    auto seen = seen_.find(*path);
    if (seen == seen_.end()) {
        AMILIFT_TRY(const auto status, files_.status(*path));
        seen = seen_.emplace(*path, status.kind == FileKind::regular).first;
    }
    if (seen->second) loaded_.emplace(name);
    return seen->second;
}

std::string_view GrubModules::missing_map(std::string_view device) const {
    const auto* volume = find_grub2_device(disk_, device);
    if (volume == nullptr || volume->partition == 0) return {};
    const std::string_view map = disk_.is_gpt ? "part_gpt" : "part_msdos";
    return has(map) ? std::string_view() : map;
}

std::string_view GrubModules::missing_filesystem(std::string_view device) const {
    if (device == kArchive) return has(kArchive) ? std::string_view() : kArchive;
    const auto* volume = find_grub2_device(disk_, device);
    if (volume == nullptr || volume->grub_module.empty() || has(volume->grub_module)) return {};
    return volume->grub_module;
}

std::string_view GrubModules::needed_to_read(std::string_view file) const {
    if (!file.starts_with('(')) return {};
    const auto device = file.substr(1, file.find(')') - 1);
    const auto map = missing_map(device);
    return map.empty() ? missing_filesystem(device) : map;
}

std::string GrubModules::file_of(std::string_view name, std::string_view prefix) {
    return fmt::format("{}/x86_64-efi/{}.mod", prefix, name);
}

}  // namespace amilift::image
