// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs_modules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "image/module_index_file.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Result;

/// An index file of the initramfs; nullptr if it has none of that name.
const std::string* own_file(const InitramfsContents& contents, std::string_view version,
                            std::string_view name) {
    const auto found = contents.module_indexes.find(
        fmt::format("{}/{}", module_directory(contents, version), name));
    return found == contents.module_indexes.end() ? nullptr : &found->second;
}

std::string own_text(const InitramfsContents& contents, std::string_view version,
                     std::string_view name) {
    const auto* text = own_file(contents, version, name);
    return text == nullptr ? std::string{} : *text;
}

/// The initramfs's own dependencies as lines of modules.dep.
std::string own_dependencies(const InitramfsContents& contents, std::string_view version) {
    if (const auto* binary = own_file(contents, version, "modules.dep.bin")) {
        if (const auto entries = read_index_file(*binary)) {
            std::string text;
            for (const auto& entry : *entries) text += entry.value + "\n";
            return text;
        }
    }
    return own_text(contents, version, "modules.dep");
}

/// How libkmod's alias_normalize() writes a key: '_' for '-', but for ranges of characters.
std::string normalized_alias(std::string_view alias) {
    std::string key(alias);
    bool in_range = false;
    for (auto& c : key) {
        if (c == '[') in_range = true;
        if (c == ']') in_range = false;
        if (c == '-' && !in_range) c = '_';
    }
    return key;
}

struct AliasLine {
    std::string_view line;
    IndexEntry entry;
};

/// Calls `use` for each line "alias pattern module" of modules.alias or modules.symbols. All lines
/// at once could take far more memory than the text.
template <class Use>
void for_each_alias(std::string_view text, Use use) {
    std::uint32_t number = 0;
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto words = split_words(line);
        if (words.size() != 3 || words[0] != "alias") continue;
        use(AliasLine{line, {normalized_alias(words[1]), normalized_module(words[2]), number++}});
    }
}

/// The initramfs's own "modules.alias" or "modules.symbols", as kmod reads it.
std::vector<IndexEntry> own_aliases(const InitramfsContents& contents, std::string_view version,
                                    std::string_view name) {
    std::vector<IndexEntry> entries;
    const auto* binary = own_file(contents, version, fmt::format("{}.bin", name));
    auto known = binary == nullptr ? std::nullopt : std::optional(read_index_file(*binary));
    if (known && *known) {
        entries = *std::move(*known);
    } else {
        const auto text = own_text(contents, version, name);
        for_each_alias(text, [&](AliasLine line) { entries.push_back(std::move(line.entry)); });
    }
    std::erase_if(entries, [](const IndexEntry& e) { return !can_be_in_index_file(e); });
    return entries;
}

std::set<std::pair<std::string, std::string>> pairs_of(const std::vector<IndexEntry>& entries) {
    std::set<std::pair<std::string, std::string>> pairs;
    for (const auto& entry : entries) pairs.emplace(entry.key, entry.value);
    return pairs;
}

bool is_module_file(const InitramfsContents& contents, const std::string& name) {
    const auto member = contents.members.find(name);
    return member != contents.members.end() &&
           (member->second == CpioType::regular || member->second == CpioType::link);
}

/// Module files of that kernel which are in the initramfs, by module; of two files for one module
/// that which `own`, its index, names.
std::map<std::string, std::string> files_there(const InitramfsContents& contents,
                                               std::string_view version, const ModuleIndex& own) {
    const auto directory = module_directory(contents, version) + "/";
    std::map<std::string, std::string> files;
    for (auto m = contents.members.lower_bound(directory);
         m != contents.members.end() && m->first.starts_with(directory); ++m) {
        auto name = module_name(m->first);
        if (name.empty() || !is_module_file(contents, m->first)) continue;
        auto file = m->first.substr(directory.size());
        const auto known = own.modules.find(name);
        if (known != own.modules.end() && known->second.file == file) {
            files.insert_or_assign(std::move(name), std::move(file));
        } else {
            files.try_emplace(std::move(name), std::move(file));
        }
    }
    return files;
}

/// All modules that an index of the initramfs shall name. Of those that are `loadable` already, its
/// own knows best what they need.
std::map<std::string, ModuleIndex::Module> merged_modules(
    const ModuleIndex& own, const std::set<std::string>& loadable, const ModuleIndex& image,
    const std::map<std::string, std::string>& files) {
    // What is named and not there stays: it may come from elsewhere.
    auto modules = own.modules;
    for (const auto& [name, file] : files) {
        const auto known = image.modules.find(name);
        if (known != image.modules.end() && !loadable.contains(name)) {
            modules.insert_or_assign(name, known->second);
        }
        if (const auto named = modules.find(name); named != modules.end()) {
            named->second.file = file;
        }
    }
    for (auto& [name, module] : modules) {
        for (std::size_t i = 0; i < module.dependencies.size(); ++i) {
            const auto file = files.find(module.dependencies[i]);
            if (file != files.end()) module.dependency_files[i] = file->second;
        }
    }
    return modules;
}

Result<> add_dependencies(const std::map<std::string, ModuleIndex::Module>& modules,
                          std::string_view top, const std::string& directory, InitramfsFiles& out) {
    std::string text;
    std::vector<IndexEntry> entries;
    for (const auto& [name, module] : modules) {
        auto line = fmt::format("{}{}:", top, module.file);
        for (const auto& file : module.dependency_files) line += fmt::format(" {}{}", top, file);
        text += line + "\n";
        entries.push_back({name, std::move(line), static_cast<std::uint32_t>(entries.size())});
    }
    out[directory + "modules.dep"] = std::move(text);
    AMILIFT_TRY(out[directory + "modules.dep.bin"], write_index_file(std::move(entries)));
    return {};
}

}  // namespace

ModuleIndex initramfs_index(const InitramfsContents& contents, std::string_view version) {
    ModuleIndex index;
    parse_modules_dep(own_dependencies(contents, version), fmt::format("/lib/modules/{}", version),
                      index);
    return index;
}

std::set<std::string> loadable_modules(const InitramfsContents& contents,
                                       std::string_view version) {
    const auto directory = module_directory(contents, version) + "/";
    std::set<std::string> names;
    for (const auto& [name, module] : initramfs_index(contents, version).modules) {
        const auto is_there = [&](const std::string& file) {
            return is_module_file(contents, directory + file);
        };
        if (can_be_in_index_file({name, {}, 0}) && is_there(module.file) &&
            std::ranges::all_of(module.dependency_files, is_there)) {
            names.insert(name);
        }
    }
    return names;
}

std::map<std::string, std::string> files_to_add(const InitramfsContents& contents,
                                                std::string_view version,
                                                const std::set<std::string>& wanted,
                                                const ModuleIndex& image) {
    const auto there = files_there(contents, version, initramfs_index(contents, version));
    std::map<std::string, std::string> files;
    for (const auto& module : wanted) {
        for (const auto& name : with_dependencies(image, module)) {
            if (there.contains(name)) continue;
            const auto& file = image.modules.at(name).file;
            // Any program can load it so, whatever the image's own packs its modules with.
            files.emplace(file.substr(0, file.rfind(".ko") + 3), file);
        }
    }
    return files;
}

Result<InitramfsFiles> merged_index(const InitramfsContents& contents, std::string_view version,
                                    const std::map<std::string, std::string>& added,
                                    const ModuleIndex& image, const ModuleIndexTexts& image_texts) {
    const auto directory = module_directory(contents, version) + "/";
    const auto own = initramfs_index(contents, version);
    auto files = files_there(contents, version, own);
    for (const auto& [file, source] : added) files.insert_or_assign(module_name(file), file);

    InitramfsFiles out;
    // Programs of before 2009 want absolute names.
    const auto own_lines = own_dependencies(contents, version);
    const bool absolute = (own_lines.empty() ? image_texts.dep : own_lines).starts_with('/');
    const auto top = absolute ? fmt::format("/lib/modules/{}/", version) : std::string{};
    AMILIFT_CHECK(
        add_dependencies(merged_modules(own, loadable_modules(contents, version), image, files),
                         top, directory, out));

    struct Aliases {
        std::string_view name;
        std::string_view image_text;
    };
    for (const auto& [name, image_text] : {Aliases{"modules.alias", image_texts.alias},
                                           Aliases{"modules.symbols", image_texts.symbols}}) {
        auto entries = own_aliases(contents, version, name);
        auto text = own_text(contents, version, name);
        if (text.empty()) {
            for (const auto& e : entries) text += fmt::format("alias {} {}\n", e.key, e.value);
        }
        if (!text.empty() && !text.ends_with('\n')) text += '\n';
        auto known = pairs_of(entries);
        std::uint32_t priority = 0;
        for (const auto& entry : entries) priority = std::max(priority, entry.priority);
        for_each_alias(image_text, [&](AliasLine line) {
            auto& entry = line.entry;
            if (!files.contains(entry.value) || !known.emplace(entry.key, entry.value).second) {
                return;
            }
            entry.priority = priority < UINT32_MAX ? ++priority : priority;
            entries.push_back(std::move(entry));
            text += fmt::format("{}\n", line.line);
        });
        out[fmt::format("{}{}", directory, name)] = std::move(text);
        AMILIFT_TRY(out[fmt::format("{}{}.bin", directory, name)],
                    write_index_file(std::move(entries)));
    }

    auto soft = own_text(contents, version, "modules.softdep");
    if (!soft.empty() && !soft.ends_with('\n')) soft += '\n';
    std::set<std::string> soft_lines;
    for (const auto& line : split_lines(soft)) soft_lines.emplace(line.body);
    for (const auto& line : split_lines(image_texts.softdep)) {
        const auto words = split_words(line.body);
        if (words.size() < 3 || words[0] != "softdep" ||
            !files.contains(normalized_module(words[1])))
            continue;
        if (soft_lines.emplace(line.body).second) soft += fmt::format("{}\n", line.body);
    }
    if (!soft.empty()) out[directory + "modules.softdep"] = std::move(soft);
    return out;
}

std::string lost_modules(const InitramfsContents& before, const InitramfsContents& after,
                         std::string_view version) {
    const auto loadable = loadable_modules(after, version);
    for (const auto& name : loadable_modules(before, version)) {
        if (!loadable.contains(name)) return fmt::format("cannot load {}", printable(name, 80));
    }
    for (const auto* name : {"modules.alias", "modules.symbols"}) {
        const auto known = pairs_of(own_aliases(after, version, name));
        for (const auto& pair : pairs_of(own_aliases(before, version, name))) {
            if (!known.contains(pair))
                return fmt::format("does not know alias {}", printable(pair.first, 80));
        }
    }
    return {};
}

}  // namespace amilift::image
