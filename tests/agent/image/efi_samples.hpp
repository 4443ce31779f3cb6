// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace amilift::image::samples {

inline void put_le(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        bytes[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
    }
}

/// A PE32+ application for UEFI on x86-64 with these sections; the first one has the entry point.
inline std::string efi_program(
    const std::vector<std::pair<std::string_view, std::string>>& sections) {
    constexpr std::size_t kHeader = 0x80;
    constexpr std::size_t kOptional = 240;
    constexpr std::size_t kTable = kHeader + 24 + kOptional;
    std::string bytes(0x1000, '\0');
    bytes.replace(0, 2, "MZ");
    put_le(bytes, 0x3c, kHeader, 4);
    bytes.replace(kHeader, 2, "PE");
    put_le(bytes, kHeader + 4, 0x8664, 2);
    put_le(bytes, kHeader + 6, sections.size(), 2);
    put_le(bytes, kHeader + 20, kOptional, 2);
    put_le(bytes, kHeader + 24, 0x20b, 2);
    put_le(bytes, kHeader + 24 + 16, 0x1000, 4);
    put_le(bytes, kHeader + 24 + 68, 10, 2);
    for (std::size_t i = 0; i < sections.size(); ++i) {
        const auto at = kTable + i * 40;
        const auto& [name, content] = sections[i];
        bytes.replace(at, name.size(), name);
        put_le(bytes, at + 8, content.size(), 4);
        put_le(bytes, at + 12, bytes.size(), 4);
        put_le(bytes, at + 16, content.size(), 4);
        put_le(bytes, at + 20, bytes.size(), 4);
        bytes += content;
    }
    return bytes;
}

/// One object of GRUB's module area.
inline std::string grub_object(std::uint64_t type, std::string_view content) {
    std::string bytes(8, '\0');
    put_le(bytes, 0, type, 4);
    put_le(bytes, 4, 8 + content.size(), 4);
    return bytes.append(content);
}

/// A module, as far as its name (at most 15 bytes) goes: an ELF object with the sections .shstrtab
/// and .modname.
inline std::string grub_module(std::string_view module) {
    constexpr std::size_t kNames = 64;
    constexpr std::size_t kTable = 96;
    std::string bytes(kTable + 3 * 64, '\0');
    bytes.replace(0, 6, "\177ELF\2\1");
    put_le(bytes, 0x28, kTable, 8);
    put_le(bytes, 0x3a, 64, 2);
    put_le(bytes, 0x3c, 3, 2);
    put_le(bytes, 0x3e, 1, 2);
    bytes.replace(kNames, 8, ".modname");
    bytes.replace(kNames + 16, module.size(), module);
    put_le(bytes, kTable, 15, 4);
    for (const auto& [section, name, offset] :
         {std::tuple{1U, 15U, kNames}, std::tuple{2U, 0U, kNames + 16}}) {
        const auto at = kTable + section * std::size_t{64};
        put_le(bytes, at, name, 4);
        put_le(bytes, at + 0x18, offset, 8);
        put_le(bytes, at + 0x20, 16, 8);
    }
    return bytes;
}

/// The section that grub-mkimage puts these objects into.
inline std::string grub_modules(std::string_view objects) {
    std::string bytes(24, '\0');
    put_le(bytes, 0, 0x676d696d, 4);
    put_le(bytes, 8, bytes.size(), 8);
    put_le(bytes, 16, bytes.size() + objects.size(), 8);
    return bytes.append(objects);
}

inline std::string utf16(std::string_view text) {
    std::string wide;
    for (const char c : text) wide.append({c, '\0'});
    return wide;
}

/// What says that it is shim.
inline std::string shim_program(std::string_view second = "\\grubx64.efi") {
    return efi_program({{".text", "UEFI SHIM\n$Version: 15.8 $\n" + utf16(second)}});
}

}  // namespace amilift::image::samples
