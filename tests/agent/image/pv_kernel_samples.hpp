// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "temporary_root.hpp"

namespace amilift::image {

inline void put_number(std::string& bytes, std::size_t at, std::size_t size, std::uint64_t value) {
    if (bytes.size() < at + size) bytes.resize(at + size);
    for (std::size_t i = 0; i < size; ++i, value >>= 8U) {
        bytes[at + i] = static_cast<char>(value & 0xffU);
    }
}

/// One ELF note of "Xen".
inline std::string xen_note(std::uint32_t type, std::string_view value) {
    std::string out;
    put_number(out, 0, 4, 4);
    put_number(out, 4, 4, value.size());
    put_number(out, 8, 4, type);
    out += std::string_view("Xen\0", 4);
    out += value;
    out.resize((out.size() + 3) & ~std::size_t{3});
    return out;
}

/// The notes of a kernel with CONFIG_XEN_PV.
inline std::string pv_notes() {
    using std::string_view_literals::operator""sv;
    return xen_note(6, "linux\0"sv) + xen_note(5, "xen-3.0\0"sv) + xen_note(1, "\0\0\0\x82"sv) +
           xen_note(10, "!writable_page_tables\0"sv) + xen_note(9, "yes\0"sv) +
           xen_note(8, "generic\0"sv);
}

/// An ELF image for x86 with one segment of notes.
inline std::string elf_with_notes(std::string_view notes, bool is_64_bit = true) {
    std::string out(
        "\x7f"
        "ELF");
    out += is_64_bit ? '\x02' : '\x01';
    out += '\x01';
    const std::size_t header = is_64_bit ? 64 : 52;
    const std::size_t segment = is_64_bit ? 56 : 32;
    const std::size_t word = is_64_bit ? 8 : 4;
    out.resize(header + segment);
    put_number(out, 18, 2, is_64_bit ? 62 : 3);
    put_number(out, is_64_bit ? 32 : 28, word, header);
    put_number(out, is_64_bit ? 54 : 42, 2, segment);
    put_number(out, is_64_bit ? 56 : 44, 2, 1);
    put_number(out, header, 4, 4);
    put_number(out, header + (is_64_bit ? 8 : 4), word, header + segment);
    put_number(out, header + (is_64_bit ? 32 : 16), word, notes.size());
    return out + std::string(notes);
}

/// An ELF image of 32 bits whose sections have these names, types and contents.
struct ElfSection {
    std::string name;
    std::uint32_t type = 1;
    std::string contents;
};
inline std::string elf_with_sections(const std::vector<ElfSection>& sections) {
    std::string out = elf_with_notes("", false);
    std::string names(1, '\0');
    std::string table;
    const auto add = [&table](std::size_t name, std::uint32_t type, std::size_t at,
                              std::size_t size) {
        std::string entry(40, '\0');
        put_number(entry, 0, 4, name);
        put_number(entry, 4, 4, type);
        put_number(entry, 16, 4, at);
        put_number(entry, 20, 4, size);
        table += entry;
    };
    for (const auto& section : sections) {
        add(names.size(), section.type, out.size(), section.contents.size());
        names += section.name + '\0';
        out += section.contents;
    }
    add(0, 3, out.size(), names.size());
    out += names;
    put_number(out, 32, 4, out.size());
    put_number(out, 46, 2, 40);
    put_number(out, 48, 2, sections.size() + 1);
    put_number(out, 50, 2, sections.size());
    return out + table;
}

/// A bzImage with this payload, and the four bytes of its unpacked size behind it.
inline std::string bz_image_with(std::string_view payload, std::string_view version = "3.2.0",
                                 bool is_64_bit = true) {
    auto bytes = bz_image(version, is_64_bit);
    bytes.resize(5 * 512);
    constexpr std::size_t kStub = 300;  // the code that unpacks
    put_number(bytes, 0x248, 4, kStub);
    put_number(bytes, 0x24c, 4, payload.size() + 4);
    bytes.append(kStub, '\x90');
    bytes += payload;
    return bytes + "size" + std::string(100, '\x90');
}

}  // namespace amilift::image
