// SPDX-License-Identifier: Apache-2.0
#include "image/drivers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "image/initramfs.hpp"
#include "image/initramfs_modules.hpp"
#include "image/initramfs_reader.hpp"
#include "image/kernel.hpp"
#include "image/kernel_modules.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Result;

constexpr std::size_t kBuiltinModinfoLimit = std::size_t{16} << 20;
/// A module is unpacked to be looked into; nobody keeps more kernels than this.
constexpr std::size_t kKernelsLookedInto = 32;

struct Wanted {
    const char* module;
    const char* option;    ///< of the kernel's config
    const char* xenlinux;  ///< what the module is called in XenLinux kernels
    Driver Kernel::* driver;
};
constexpr std::array kWanted{
    Wanted{"nvme", "CONFIG_BLK_DEV_NVME", nullptr, &Kernel::nvme},
    Wanted{"ena", "CONFIG_ENA_ETHERNET", nullptr, &Kernel::ena},
    Wanted{"xen_blkfront", "CONFIG_XEN_BLKDEV_FRONTEND", "xenblk", &Kernel::xen_blkfront},
    Wanted{"xen_netfront", "CONFIG_XEN_NETDEV_FRONTEND", "xennet", &Kernel::xen_netfront}};

constexpr std::size_t kConfigLimit = std::size_t{1} << 20;

constexpr std::string_view kBuiltIn = "built in";

/// {4, 15} for "4.15.0-1021-aws".
std::pair<unsigned, unsigned> release_of(std::string_view version) {
    std::pair<unsigned, unsigned> release{0, 0};
    const std::string text(version);
    const auto* const end = text.data() + text.size();
    const auto [dot, error] = std::from_chars(text.data(), end, release.first);
    if (error == std::errc{} && dot != end && *dot == '.') {
        (void)std::from_chars(dot + 1, end, release.second);
    }
    return release;
}

/// The parameter's largest value, if these are the fields of a module that has it.
std::optional<std::uint32_t> largest_timeout(const ModuleFields& fields) {
    for (const auto& [key, value] : fields) {
        if (key != "parmtype" || !value.starts_with("io_timeout:")) continue;
        return value == "io_timeout:byte" ? 255U : 4294967295U;
    }
    return std::nullopt;
}

/// What is known of an initramfs for one kernel.
struct Seen {
    Initramfs initramfs;
    std::array<bool, kWanted.size()> has{};
    ModuleRules rules;
};

}  // namespace

struct DriverFinder::Cache {
    struct Modules {
        ModuleIndex index;
        std::array<std::string, kWanted.size()> names;  ///< of the modules, as this kernel has them
        std::array<Driver, kWanted.size()> drivers;
        std::optional<NvmeTimeout> nvme_timeout;
    };
    std::map<std::string, Modules> modules;  ///< by version
    std::map<std::pair<std::string, std::vector<std::string>>, Seen> seen;
    std::optional<ModuleRules> rules;
};

namespace {

Result<Driver> find_driver(const SafeRoot& root, std::string_view version, const ModuleIndex& index,
                           const std::string& name, bool looks_into_module) {
    Driver driver;
    if (index.built_in.contains(name)) {
        driver.place = kBuiltIn;
        return driver;
    }
    const auto module = index.modules.find(name);
    if (module == index.modules.end()) return driver;
    const auto path = fmt::format("/lib/modules/{}/{}", version, module->second.file);
    const auto status = root.status(path);
    if (!status && !is_content_problem(status.error())) return std::unexpected(status.error());
    if (!status || status->kind != FileKind::regular) return driver;
    driver.place = path;
    if (!looks_into_module) return driver;
    AMILIFT_TRY(const auto fields, read_modinfo(root, path));
    if (!fields) return driver;
    const auto field = std::ranges::find(*fields, "version", &ModuleFields::value_type::first);
    if (field != fields->end()) driver.version = field->second;
    return driver;
}

/// Does the kernel's config build the driver in? Before 2.6.33 nothing else says so.
Result<bool> config_builds_in(const SafeRoot& root, const Kernel& kernel, std::string_view option) {
    if (kernel.config_path.empty()) return false;
    const auto config = root.read(kernel.config_path, kConfigLimit);
    if (!config && !is_content_problem(config.error())) return std::unexpected(config.error());
    if (!config) return false;
    const auto wanted = fmt::format("{}=y", option);
    return std::ranges::any_of(split_lines(*config),
                               [&](const Line& line) { return trim(line.body) == wanted; });
}

/// Names of the modules of that kernel which its programs can load.
std::set<std::string> modules_in(const InitramfsContents& contents, const std::string& version) {
    if (contents.builder != InitramfsBuilder::mkinitrd_nash) {
        return loadable_modules(contents, version);
    }
    // Its script names files and needs no index.
    constexpr std::string_view kTop = "lib/";
    std::set<std::string> names;
    for (auto m = contents.members.lower_bound(std::string(kTop));
         m != contents.members.end() && m->first.starts_with(kTop); ++m) {
        if (auto name = module_name(m->first); !name.empty()) names.insert(std::move(name));
    }
    return names;
}

bool has_driver(const std::set<std::string>& there, const ModuleIndex& index,
                const std::string& name) {
    const auto module = index.modules.find(name);
    if (module == index.modules.end() || !there.contains(name)) return false;
    return std::ranges::all_of(module->second.dependencies, [&](const std::string& needed) {
        return there.contains(needed) || index.built_in.contains(needed) ||
               !index.modules.contains(needed);
    });
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

DriverFinder::DriverFinder(const SafeRoot& root, InitramfsReader& reader)
    : root_(root), reader_(reader), cache_(new Cache) {}
DriverFinder::~DriverFinder() = default;

Result<> DriverFinder::look(Kernel& kernel, const std::vector<std::string>& initrds,
                            std::string_view arguments) {
    auto modules = cache_->modules.find(kernel.version);
    if (modules == cache_->modules.end()) {
        Cache::Modules found;
        const bool looks_into_modules = cache_->modules.size() < kKernelsLookedInto;
        AMILIFT_TRY(found.index, read_module_index(root_, kernel.version));
        for (std::size_t i = 0; i < kWanted.size(); ++i) {
            const auto& wanted = kWanted[i];
            const bool is_xenlinux = wanted.xenlinux != nullptr &&
                                     !found.index.modules.contains(wanted.module) &&
                                     found.index.modules.contains(wanted.xenlinux);
            found.names[i] = is_xenlinux ? wanted.xenlinux : wanted.module;
            AMILIFT_TRY(found.drivers[i], find_driver(root_, kernel.version, found.index,
                                                      found.names[i], looks_into_modules));
            if (found.drivers[i].exists() || !found.index.built_in.empty()) continue;
            AMILIFT_TRY(const bool built_in, config_builds_in(root_, kernel, wanted.option));
            if (built_in) found.drivers[i].place = kBuiltIn;
        }
        if (looks_into_modules) {
            AMILIFT_TRY(found.nvme_timeout, find_nvme_timeout(root_, kernel.version));
        }
        modules = cache_->modules.emplace(kernel.version, std::move(found)).first;
    }
    if (!cache_->rules) {
        AMILIFT_TRY(cache_->rules, read_module_rules(root_));
    }
    const auto& index = modules->second.index;

    const std::pair key(kernel.version, initrds);
    auto seen = cache_->seen.find(key);
    if (seen == cache_->seen.end()) {
        Seen found;
        AMILIFT_TRY(const auto read, reader_.read(root_, initrds));
        const auto& contents = read->contents;
        found.initramfs.path = read->path;
        found.initramfs.builder = contents.builder;
        found.initramfs.segments = contents.segments;
        found.initramfs.problem = contents.problem;
        found.initramfs.obstacle = obstacle_to_addition(contents);
        // Without a version nothing is known to be of another one.
        if (!kernel.version.empty()) {
            found.initramfs.other_kernel = other_kernel(contents, kernel.version);
        }
        if (!found.initramfs.other_kernel.empty() && found.initramfs.obstacle.empty()) {
            found.initramfs.obstacle = fmt::format(
                "was made for kernel {}, whose modules kernel {} cannot load",
                printable(found.initramfs.other_kernel, 80), printable(kernel.version, 80));
        }
        for (const auto& [name, text] : contents.settings) {
            found.rules.add_settings(text, fmt::format("{}:/{}", found.initramfs.path, name));
        }
        const auto there = modules_in(contents, kernel.version);
        for (std::size_t i = 0; i < kWanted.size(); ++i) {
            found.has[i] =
                contents.problem.empty() && has_driver(there, index, modules->second.names[i]);
        }
        seen = cache_->seen.emplace(key, std::move(found)).first;
    }

    kernel.initramfs = seen->second.initramfs;
    kernel.nvme_timeout = modules->second.nvme_timeout;
    ModuleRules arguments_rules;
    arguments_rules.add_command_line(arguments);
    for (std::size_t i = 0; i < kWanted.size(); ++i) {
        auto& driver = kernel.*kWanted[i].driver;
        driver = modules->second.drivers[i];
        if (!driver.exists() || driver.is_built_in()) continue;
        driver.in_initramfs = seen->second.has[i];
        const auto& name = modules->second.names[i];
        const auto needed = with_dependencies(index, name);
        const std::array<const ModuleRules*, 3> all_rules{&*cache_->rules, &seen->second.rules,
                                                          &arguments_rules};
        for (const auto* rules : all_rules) {
            if (driver.blocked_by.empty()) {
                driver.blocked_by = rules->block_of(name, needed);
            }
        }
    }
    return {};
}

Result<std::optional<NvmeTimeout>> find_nvme_timeout(const SafeRoot& root,
                                                     std::string_view version) {
    AMILIFT_TRY(const auto index, read_module_index(root, version));
    const auto directory = fmt::format("/lib/modules/{}", version);
    for (const std::string module : {"nvme_core", "nvme"}) {
        if (index.built_in.contains(module)) {
            auto text = root.read(directory + "/modules.builtin.modinfo", kBuiltinModinfoLimit);
            if (!text && !is_content_problem(text.error())) return std::unexpected(text.error());
            if (text) {
                const auto largest = largest_timeout(parse_builtin_modinfo(*text, module));
                if (largest) return NvmeTimeout{module + ".io_timeout", *largest};
                continue;
            }
            const auto release = release_of(version);
            if (release < std::pair{3U, 15U}) return std::nullopt;
            return NvmeTimeout{module + ".io_timeout",
                               release < std::pair{4U, 15U} ? 255U : 4294967295U};
        }
        const auto known = index.modules.find(module);
        if (known == index.modules.end()) continue;
        AMILIFT_TRY(const auto fields,
                    read_modinfo(root, fmt::format("{}/{}", directory, known->second.file)));
        if (!fields) continue;
        if (const auto largest = largest_timeout(*fields)) {
            return NvmeTimeout{module + ".io_timeout", *largest};
        }
    }
    return std::nullopt;
}

}  // namespace amilift::image
