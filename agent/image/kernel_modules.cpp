// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_modules.hpp"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstring>

#include "image/compression.hpp"
#include "image/kernel_arguments.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kIndexLimit = std::size_t{16} << 20;
constexpr std::size_t kSettingsLimit = std::size_t{64} << 10;
constexpr std::size_t kSettingsFiles = 1000;
/// A module with debug information has a few tens of MiB.
constexpr std::size_t kModuleLimit = std::size_t{64} << 20;
constexpr std::size_t kModinfoLimit = std::size_t{1} << 20;
/// What one module can reasonably need; an index of many MiB could say anything.
constexpr std::size_t kClosureLimit = 200;

/// The file's text; nothing if there is none that can be read as one.
Result<std::optional<std::string>> text_if_there(const SafeRoot& root, const std::string& path,
                                                 std::size_t limit) {
    auto text = root.read(path, limit);
    if (text) return *std::move(text);
    if (is_content_problem(text.error())) return std::nullopt;
    return std::unexpected(std::move(text).error());
}

Result<std::vector<std::string>> names_if_there(const SafeRoot& root, std::string_view directory) {
    auto status = root.status(directory);
    if (!status && !is_content_problem(status.error())) {
        return std::unexpected(std::move(status).error());
    }
    if (!status || status->kind != FileKind::directory) return std::vector<std::string>{};
    auto names = root.list(directory, kSettingsFiles);
    if (names) return *std::move(names);
    if (is_content_problem(names.error())) return std::vector<std::string>{};
    return std::unexpected(std::move(names).error());
}

struct FileEnding {
    std::string_view ending;
    std::optional<Compression> compression;
};
constexpr std::array kEndings{
    FileEnding{".ko", std::nullopt}, FileEnding{".ko.xz", Compression::xz},
    FileEnding{".ko.gz", Compression::gzip}, FileEnding{".ko.zst", Compression::zstd}};

template <class Use>
void for_each_line(std::string_view text, Use use) {
    int number = 0;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        use(text.substr(0, end), ++number);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

/// A structure of the file format at an offset, if it lies in `bytes`.
template <class T>
std::optional<T> structure_at(std::string_view bytes, std::uint64_t at) {
    if (at > bytes.size() || bytes.size() - at < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
}

/// The bytes of a section, if they lie in `bytes`.
template <class Section>
std::optional<std::string_view> section_bytes(std::string_view bytes, const Section& section) {
    const std::uint64_t at = section.sh_offset;
    const std::uint64_t size = section.sh_size;
    if (section.sh_type == SHT_NOBITS || at > bytes.size() || size > bytes.size() - at) {
        return std::nullopt;
    }
    return bytes.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
}

template <class Header, class Section>
std::optional<std::string_view> find_modinfo(std::string_view bytes) {
    const auto header = structure_at<Header>(bytes, 0);
    if (!header || header->e_shentsize != sizeof(Section)) return std::nullopt;
    const auto section_at = [&](std::uint64_t index) {
        return structure_at<Section>(bytes, header->e_shoff + index * sizeof(Section));
    };
    // An offset near the end of the number range would wrap round.
    if (header->e_shoff > bytes.size()) return std::nullopt;
    const auto names_section = section_at(header->e_shstrndx);
    const auto names = names_section ? section_bytes(bytes, *names_section) : std::nullopt;
    if (!names) return std::nullopt;
    constexpr std::string_view kName(".modinfo\0", 9);
    for (std::uint64_t i = 0; i < header->e_shnum; ++i) {
        const auto section = section_at(i);
        if (!section) return std::nullopt;
        if (section->sh_name >= names->size()) continue;
        if (names->substr(section->sh_name).starts_with(kName))
            return section_bytes(bytes, *section);
    }
    return std::nullopt;
}

/// Calls `use` for each text of a list of them that end with NUL.
template <class Use>
void for_each_text(std::string_view bytes, Use use) {
    while (!bytes.empty()) {
        const auto end = std::min(bytes.find('\0'), bytes.size());
        if (end > 0) use(bytes.substr(0, end));
        bytes.remove_prefix(std::min(end + 1, bytes.size()));
    }
}

void add_field(std::string_view text, ModuleFields& fields) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) return;
    fields.emplace_back(text.substr(0, equals), text.substr(equals + 1));
}

/// Does this command of an `install` line load the module after all?
bool loads_anyway(const std::vector<std::string_view>& words) {
    return std::ranges::any_of(words, [](std::string_view word) {
        return word.find("modprobe") != std::string_view::npos ||
               word.find("insmod") != std::string_view::npos;
    });
}

}  // namespace

std::string normalized_module(std::string_view word) {
    std::string name(word);
    std::ranges::replace(name, '-', '_');
    return name;
}

std::string module_name(std::string_view path) {
    path.remove_prefix(std::min(path.rfind('/') + 1, path.size()));
    for (const auto& known : kEndings) {
        if (!path.ends_with(known.ending)) continue;
        path.remove_suffix(known.ending.size());
        return normalized_module(path);
    }
    return "";
}

std::optional<std::string> module_root(std::string_view version) {
    if (version.empty() || version.find('/') != std::string_view::npos ||
        version.starts_with('.')) {
        return std::nullopt;
    }
    return fmt::format("/lib/modules/{}", version);
}

void parse_modules_dep(std::string_view text, std::string_view directory, ModuleIndex& index) {
    const auto relative = [directory](std::string_view path) -> std::string_view {
        if (!path.starts_with('/')) return path;
        if (!path.starts_with(directory)) return {};
        path.remove_prefix(directory.size());
        if (!path.starts_with('/')) return {};
        path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
        return path;
    };
    for_each_line(text, [&](std::string_view line, int) {
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) return;
        const auto file = relative(trim(line.substr(0, colon)));
        auto name = module_name(file);
        // The file's name becomes one in an initramfs: it must not lead out of the directory.
        if (name.empty() || fmt::format("/{}/", file).find("/../") != std::string::npos) return;
        ModuleIndex::Module module{std::string(file), {}, {}};
        for (const auto word : split_words(line.substr(colon + 1))) {
            const auto needed_file = relative(word);
            if (auto needed = module_name(needed_file); !needed.empty()) {
                module.dependencies.push_back(std::move(needed));
                module.dependency_files.emplace_back(needed_file);
            }
        }
        index.modules.insert_or_assign(std::move(name), std::move(module));
    });
}

void parse_modules_builtin(std::string_view text, ModuleIndex& index) {
    for_each_line(text, [&](std::string_view line, int) {
        if (auto name = module_name(trim(line)); !name.empty())
            index.built_in.insert(std::move(name));
    });
}

void parse_modules_softdep(std::string_view text, ModuleIndex& index) {
    for_each_line(text, [&](std::string_view line, int) {
        const auto words = split_words(line);
        if (words.size() < 3 || words[0] != "softdep") return;
        auto& needed = index.soft_dependencies[normalized_module(words[1])];
        for (std::size_t i = 2; i < words.size(); ++i) {
            if (!words[i].ends_with(':')) needed.push_back(normalized_module(words[i]));
        }
    });
}

Result<ModuleIndex> read_module_index(const SafeRoot& root, std::string_view version) {
    ModuleIndex index;
    const auto directory = module_root(version);
    if (!directory) return index;
    AMILIFT_TRY(const auto dep, text_if_there(root, *directory + "/modules.dep", kIndexLimit));
    if (dep) parse_modules_dep(*dep, *directory, index);
    AMILIFT_TRY(const auto built_in,
                text_if_there(root, *directory + "/modules.builtin", kIndexLimit));
    if (built_in) parse_modules_builtin(*built_in, index);
    AMILIFT_TRY(const auto soft, text_if_there(root, *directory + "/modules.softdep", kIndexLimit));
    if (soft) parse_modules_softdep(*soft, index);
    return index;
}

Result<std::string> read_unpacked_module(const SafeRoot& root, const std::string& path) {
    AMILIFT_TRY(auto bytes, root.read(path, kModuleLimit));
    const auto known = std::ranges::find_if(
        kEndings, [&path](const FileEnding& e) { return path.ends_with(e.ending); });
    if (known == kEndings.end() || !known->compression) return bytes;
    auto unpacked = unpack_all(bytes, *known->compression, kModuleLimit);
    if (unpacked) return unpacked;
    return fail(Errc::corrupt,
                fmt::format("module '{}' of the image: {}", path, unpacked.error().what),
                "install the kernel's package again in the source, then make the image again");
}

std::vector<std::string> with_dependencies(const ModuleIndex& index, const std::string& name) {
    if (!index.modules.contains(name)) return {};
    std::vector<std::string> found{name};
    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto add = [&](const std::vector<std::string>& names) {
            for (const auto& needed : names) {
                if (found.size() == kClosureLimit) return;
                if (index.built_in.contains(needed) || !index.modules.contains(needed)) continue;
                if (std::ranges::find(found, needed) == found.end()) found.push_back(needed);
            }
        };
        const auto current = found[i];
        add(index.modules.at(current).dependencies);
        if (const auto soft = index.soft_dependencies.find(current);
            soft != index.soft_dependencies.end()) {
            add(soft->second);
        }
    }
    std::ranges::reverse(found);
    return found;
}

std::optional<ModuleFields> parse_modinfo(std::string_view bytes) {
    constexpr std::string_view kElf(
        "\x7f"
        "ELF");
    if (bytes.size() < EI_NIDENT || !bytes.starts_with(kElf) || bytes[EI_DATA] != ELFDATA2LSB) {
        return std::nullopt;
    }
    const auto section = bytes[EI_CLASS] == ELFCLASS64 ? find_modinfo<Elf64_Ehdr, Elf64_Shdr>(bytes)
                         : bytes[EI_CLASS] == ELFCLASS32
                             ? find_modinfo<Elf32_Ehdr, Elf32_Shdr>(bytes)
                             : std::nullopt;
    if (!section || section->size() > kModinfoLimit) return std::nullopt;
    ModuleFields fields;
    for_each_text(*section, [&](std::string_view text) { add_field(text, fields); });
    return fields;
}

ModuleFields parse_builtin_modinfo(std::string_view bytes, std::string_view module) {
    ModuleFields fields;
    for_each_text(bytes, [&](std::string_view text) {
        const auto dot = text.find('.');
        if (dot == std::string_view::npos || text.substr(0, dot) != module) return;
        add_field(text.substr(dot + 1), fields);
    });
    return fields;
}

Result<std::optional<ModuleFields>> read_modinfo(const SafeRoot& root, const std::string& path) {
    const auto bytes = read_unpacked_module(root, path);
    if (bytes) return parse_modinfo(*bytes);
    if (is_content_problem(bytes.error())) return std::nullopt;
    return std::unexpected(bytes.error());
}

void ModuleRules::add_settings(std::string_view text, std::string_view where) {
    for_each_line(text, [&](std::string_view line, int number) {
        const auto words = split_words(line);
        if (words.size() < 2) return;
        auto at = fmt::format("{}:{}", where, number);
        if (words[0] == "blacklist") {
            blacklisted_.emplace(normalized_module(words[1]), std::move(at));
        } else if (words[0] == "install" && words.size() > 2 &&
                   !loads_anyway({words.begin() + 2, words.end()})) {
            replaced_.emplace(normalized_module(words[1]), std::move(at));
        }
    });
}

void ModuleRules::add_command_line(std::string_view arguments) {
    constexpr std::array<std::string_view, 4> kBlacklists{
        "modprobe.blacklist", "rd.driver.blacklist", "rdblacklist", "blacklist"};
    for (const auto& argument : kernel_arguments(arguments)) {
        const bool never = argument.key == "module_blacklist";
        if (!never && std::ranges::find(kBlacklists, argument.key) == kBlacklists.end()) continue;
        for (auto rest = argument.value; !rest.empty();) {
            const auto comma = std::min(rest.find(','), rest.size());
            (never ? replaced_ : blacklisted_)
                .emplace(normalized_module(rest.substr(0, comma)),
                         fmt::format("kernel argument {}", printable(argument.text, 80)));
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
}

std::string ModuleRules::block_of(const std::string& name,
                                  const std::vector<std::string>& dependencies) const {
    if (const auto found = blacklisted_.find(name); found != blacklisted_.end()) {
        return found->second;
    }
    if (const auto found = replaced_.find(name); found != replaced_.end()) return found->second;
    for (const auto& needed : dependencies) {
        if (const auto found = replaced_.find(needed); found != replaced_.end()) {
            return found->second;
        }
    }
    return "";
}

Result<ModuleRules> read_module_rules(const SafeRoot& root) {
    ModuleRules rules;
    const auto read = [&](const std::string& path) -> Result<> {
        AMILIFT_TRY(const auto text, text_if_there(root, path, kSettingsLimit));
        if (text) rules.add_settings(*text, path);
        return {};
    };
    AMILIFT_CHECK(read("/etc/modprobe.conf"));
    std::set<std::string> seen;
    for (const std::string_view directory : {"/etc/modprobe.d", "/usr/local/lib/modprobe.d",
                                             "/usr/lib/modprobe.d", "/lib/modprobe.d"}) {
        AMILIFT_TRY(const auto names, names_if_there(root, directory));
        const auto is_conf = [](const std::string& name) { return name.ends_with(".conf"); };
        // Systems of before 2010 name these files without an ending.
        const bool old_names =
            directory == "/etc/modprobe.d" && std::ranges::none_of(names, is_conf);
        for (const auto& name : names) {
            if (!old_names && !is_conf(name)) continue;
            if (!seen.insert(name).second) continue;
            AMILIFT_CHECK(read(fmt::format("{}/{}", directory, name)));
        }
    }
    return rules;
}

}  // namespace amilift::image
