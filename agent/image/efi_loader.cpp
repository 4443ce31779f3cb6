// SPDX-License-Identifier: Apache-2.0
#include "image/efi_loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "image/byte_view.hpp"

namespace amilift::image {
namespace {

// PE: the DOS header names the place of the real one, which is followed by the optional header and
// the table of sections.
constexpr std::size_t kNewHeader = 0x3c;
constexpr std::size_t kFileHeaderBytes = 24;  // with the signature
constexpr std::size_t kSectionBytes = 40;
constexpr std::size_t kMaxSections = 96;
constexpr std::uint64_t kMachineX86_64 = 0x8664;
constexpr std::uint64_t kPe32Plus = 0x20b;
constexpr std::uint64_t kEfiApplication = 10;
constexpr std::uint64_t kShortestOptional = 112;

// GRUB's module area: a header, then objects, each with its type and its size, header included.
constexpr std::uint64_t kModuleMagic = 0x676d696d;  // "mimg"
constexpr std::uint64_t kModuleInfoBytes = 24;
constexpr std::uint64_t kObjectHeaderBytes = 8;
enum ObjectType : std::uint64_t { kElf = 0, kMemdisk = 1, kConfig = 2, kPrefix = 3 };

std::string_view up_to_nul(std::string_view bytes) {
    return bytes.substr(0, bytes.find('\0'));
}

struct Section {
    std::string_view name;
    std::string_view bytes;  ///< what of it is in the file
    std::uint64_t address = 0;
    std::uint64_t memory_bytes = 0;
};

/// The sections of a program that firmware would start, or why it would not.
struct Image {
    std::string problem;
    std::vector<Section> sections;

    [[nodiscard]] const Section* find(std::string_view name) const {
        const auto found = std::ranges::find(sections, name, &Section::name);
        return found == sections.end() ? nullptr : &*found;
    }
};

Image no_image(std::string problem) {
    return {std::move(problem), {}};
}

Image read_image(std::string_view bytes) {
    if (!bytes.starts_with("MZ")) return no_image("it is no PE image");
    const auto start = number_at(bytes, kNewHeader, 4);
    const auto header = start ? slice(bytes, *start, kFileHeaderBytes) : std::nullopt;
    if (!header || !header->starts_with(std::string_view("PE\0\0", 4))) {
        return no_image("it is no PE image");
    }
    const auto machine = number_at(*header, 4, 2).value_or(0);
    if (machine != kMachineX86_64) {
        return no_image(
            fmt::format("it is for machine {:#06x}, x86-64 is {:#06x}", machine, kMachineX86_64));
    }
    const auto count = number_at(*header, 6, 2).value_or(0);
    const auto optional_bytes = number_at(*header, 20, 2).value_or(0);
    const auto optional = slice(bytes, *start + kFileHeaderBytes, optional_bytes);
    if (!optional) return no_image("it ends within its headers");
    if (optional_bytes < kShortestOptional || number_at(*optional, 0, 2) != kPe32Plus) {
        return no_image("it is no PE32+ image");
    }
    if (number_at(*optional, 68, 2) != kEfiApplication) {
        return no_image("it is no application for UEFI");
    }
    if (count == 0 || count > kMaxSections) {
        return no_image(fmt::format("it has {} sections", count));
    }
    Image image;
    const auto entry = number_at(*optional, 16, 4).value_or(0);
    bool has_entry = false;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto at = *start + kFileHeaderBytes + optional_bytes + i * kSectionBytes;
        const auto line = slice(bytes, at, kSectionBytes);
        if (!line) return no_image("it ends within its headers");
        Section section;
        section.name = up_to_nul(line->substr(0, 8));
        section.address = number_at(*line, 12, 4).value_or(0);
        section.memory_bytes = number_at(*line, 8, 4).value_or(0);
        const auto file_bytes = number_at(*line, 16, 4).value_or(0);
        const auto inside = slice(bytes, number_at(*line, 20, 4).value_or(0), file_bytes);
        if (file_bytes > 0 && !inside) {
            return no_image(fmt::format("it is cut off: it ends before its section {}", i + 1));
        }
        section.bytes = inside.value_or(std::string_view());
        if (entry >= section.address && entry - section.address < section.bytes.size()) {
            has_entry = true;
        }
        image.sections.push_back(section);
    }
    if (!has_entry) return no_image("its entry point lies in none of its sections");
    return image;
}

/// The name of a module, an ELF object of 64 bits: the text of its section .modname. Empty: none.
std::string_view module_name(std::string_view object) {
    if (!object.starts_with("\177ELF\2\1")) return {};
    const auto table = number_at(object, 0x28, 8).value_or(0);
    const auto entry_bytes = number_at(object, 0x3a, 2).value_or(0);
    const auto count = number_at(object, 0x3c, 2).value_or(0);
    constexpr std::uint64_t kSectionHeaderBytes = 0x40;
    const auto headers = slice(object, table, count * entry_bytes);
    if (entry_bytes < kSectionHeaderBytes || !headers) return {};
    const auto content = [&](std::uint64_t index) {
        const auto at = index * entry_bytes;
        const auto offset = number_at(*headers, at + 0x18, 8);
        const auto size = number_at(*headers, at + 0x20, 8);
        return offset && size ? slice(object, *offset, *size).value_or(std::string_view())
                              : std::string_view();
    };
    const auto names = content(number_at(object, 0x3e, 2).value_or(0));
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto name_at = number_at(*headers, i * entry_bytes, 4).value_or(0);
        if (name_at >= names.size()) continue;
        const auto name = names.substr(static_cast<std::size_t>(name_at));
        if (name.starts_with(std::string_view(".modname\0", 9))) return up_to_nul(content(i));
    }
    return {};
}

/// False when the area makes no sense.
bool read_module_area(std::string_view section, EfiProgram& program) {
    const auto objects_at = number_at(section, 8, 8);
    const auto area_bytes = number_at(section, 16, 8);
    if (!objects_at || !area_bytes || *objects_at < kModuleInfoBytes || *objects_at > *area_bytes) {
        return false;
    }
    const auto area = slice(section, 0, *area_bytes);
    if (!area) return false;
    bool has_config = false;
    for (std::uint64_t at = *objects_at; at + kObjectHeaderBytes <= area->size();) {
        const auto type = number_at(*area, at, 4).value_or(0);
        const auto size = number_at(*area, at + 4, 4).value_or(0);
        const auto object = slice(*area, at, size);
        if (size < kObjectHeaderBytes || !object) return false;
        const auto content = object->substr(kObjectHeaderBytes);
        if (type == kElf) {
            if (const auto name = module_name(content); !name.empty())
                program.modules.emplace(name);
        }
        if (type == kMemdisk && program.archive.empty()) program.archive = content;
        if (type == kPrefix) program.prefix = up_to_nul(content);
        // GRUB runs the first one only.
        if (type == kConfig && !has_config) program.config = up_to_nul(content);
        has_config = has_config || type == kConfig;
        at += size;
    }
    return true;
}

/// What shim starts, and its fallback program: as its makers name them, and as SUSE does.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kShimNames{
    {{"grubx64.efi", "fbx64.efi"}, {"grub.efi", "fallback.efi"}}};

/// An ASCII text as UEFI programs have theirs: in UTF-16.
std::string utf16(std::string_view text) {
    std::string wide;
    for (const char c : text) {
        wide += c;
        wide += '\0';
    }
    return wide;
}

}  // namespace

EfiProgram read_efi_program(std::string_view bytes) {
    EfiProgram program;
    const auto image = read_image(bytes);
    program.problem = image.problem;
    if (!image.problem.empty()) return program;
    program.kind = EfiProgramKind::unknown;
    const auto* modules = image.find("mods");
    if (modules != nullptr && number_at(modules->bytes, 0, 4) == kModuleMagic) {
        program.kind = EfiProgramKind::grub2;
        if (!read_module_area(modules->bytes, program)) {
            program = {};
            program.problem = "the list of its modules makes no sense";
        }
        return program;
    }
    if (image.find(".linux") != nullptr) {
        program.kind = EfiProgramKind::unified_kernel;
    } else if (bytes.find("#### LoaderInfo: systemd-boot") != std::string_view::npos) {
        program.kind = EfiProgramKind::systemd_boot;
    } else if (bytes.find("UEFI SHIM\n$Version: ") != std::string_view::npos) {
        // The names are chosen when shim is built.
        for (const auto& [second, fallback] : kShimNames) {
            if (bytes.find(utf16(second)) == std::string_view::npos) continue;
            program.kind = EfiProgramKind::shim;
            program.second = second;
            program.fallback = fallback;
            break;
        }
    }
    return program;
}

}  // namespace amilift::image
