// SPDX-License-Identifier: Apache-2.0
#include "image/drivers.hpp"

#include <fmt/format.h>

#include <array>

namespace amilift::image {
namespace {

constexpr std::size_t kIndexLimit = std::size_t{16} << 20;
constexpr std::size_t kConfigLimit = std::size_t{1} << 20;

/// The file's text; empty if it is not there.
core::Result<std::string> read_if_there(const SafeRoot& root, const std::string& path,
                                        std::size_t limit) {
    AMILIFT_TRY(const auto status, root.status(path));
    if (status.kind != FileKind::regular) return std::string();
    return root.read(path, limit);
}

/// Calls `use` for each line of `text` until it gives true.
template <class Use>
bool any_line(std::string_view text, Use use) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        if (use(text.substr(0, end))) return true;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return false;
}

/// "kernel/drivers/net/ethernet/amazon/ena/ena.ko.xz" is the module "ena": '-' and '_' are the
/// same.
bool names_module(std::string_view path, std::string_view driver) {
    if (const auto slash = path.rfind('/'); slash != std::string_view::npos) {
        path.remove_prefix(slash + 1);
    }
    constexpr std::array<std::string_view, 4> kEndings{".ko", ".ko.xz", ".ko.gz", ".ko.zst"};
    for (const auto ending : kEndings) {
        if (!path.ends_with(ending)) continue;
        path.remove_suffix(ending.size());
        if (path.size() != driver.size()) return false;
        for (std::size_t i = 0; i < path.size(); ++i) {
            const char a = path[i] == '-' ? '_' : path[i];
            const char b = driver[i] == '-' ? '_' : driver[i];
            if (a != b) return false;
        }
        return true;
    }
    return false;
}

/// "blacklist ena", or "install ena ..." which runs a command in place of the module.
bool line_blocks(std::string_view line, std::string_view driver) {
    constexpr std::string_view kBlank = " \t\r";
    const auto word = [&line, kBlank]() {
        line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
        const auto end = std::min(line.find_first_of(kBlank), line.size());
        const auto found = line.substr(0, end);
        line.remove_prefix(end);
        return found;
    };
    const auto command = word();
    return (command == "blacklist" || command == "install") && word() == driver;
}

core::Result<bool> is_blocked(const SafeRoot& root, std::string_view driver) {
    for (const std::string directory :
         {"/etc/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}) {
        AMILIFT_TRY(const auto status, root.status(directory));
        if (status.kind != FileKind::directory) continue;
        AMILIFT_TRY(const auto names, root.list(directory));
        for (const auto& name : names) {
            if (!name.ends_with(".conf")) continue;
            AMILIFT_TRY(const auto text,
                        read_if_there(root, fmt::format("{}/{}", directory, name), kConfigLimit));
            if (any_line(text, [&](std::string_view l) { return line_blocks(l, driver); })) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace

std::string_view to_string(InitramfsBuilder builder) noexcept {
    switch (builder) {
        case InitramfsBuilder::dracut:
            return "dracut";
        case InitramfsBuilder::initramfs_tools:
            return "initramfs-tools";
        case InitramfsBuilder::mkinitrd_nash:
            return "mkinitrd (nash)";
        case InitramfsBuilder::mkinitrd_suse:
            return "mkinitrd (SUSE)";
        case InitramfsBuilder::unknown:
            break;
    }
    return "unknown";
}

core::Result<std::string> find_driver(const SafeRoot& root, const std::string& version,
                                      std::string_view driver) {
    // The version comes from the kernel's header: it names one directory and nothing above it.
    if (version.empty() || version.find('/') != std::string::npos || version.starts_with('.')) {
        return std::string();
    }
    const auto directory = fmt::format("/lib/modules/{}", version);
    AMILIFT_TRY(const auto builtin,
                read_if_there(root, directory + "/modules.builtin", kIndexLimit));
    if (any_line(builtin, [&](std::string_view line) { return names_module(line, driver); })) {
        return std::string("built in");
    }
    AMILIFT_TRY(const auto dep, read_if_there(root, directory + "/modules.dep", kIndexLimit));
    std::string module;
    any_line(dep, [&](std::string_view line) {
        const auto path = line.substr(0, line.find(':'));
        if (!names_module(path, driver)) return false;
        // Old indexes have absolute paths.
        module = path.starts_with('/') ? std::string(path) : fmt::format("{}/{}", directory, path);
        return true;
    });
    if (module.empty()) return std::string();
    AMILIFT_TRY(const auto status, root.status(module));
    if (status.kind != FileKind::regular) return std::string();
    AMILIFT_TRY(const bool blocked, is_blocked(root, driver));
    return blocked ? std::string() : module;
}

}  // namespace amilift::image
