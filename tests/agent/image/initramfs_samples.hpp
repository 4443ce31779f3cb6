// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/command.hpp"
#include "temporary_root.hpp"

namespace amilift::image {

/// Output of a program of this machine: what the tests compare ours with is not made by us.
inline std::string output_of(std::vector<std::string> argv, std::string_view input) {
    core::ProcessRunner commands;
    core::Command command{.argv = std::move(argv), .input = std::string(input)};
    command.output_limit = std::size_t{64} << 20;
    const auto ran = commands.run_ok(command);
    EXPECT_TRUE(ran.has_value()) << (ran ? "" : ran.error().message());
    return ran ? ran->out : std::string();
}

/// What goes into a sample: name -> contents. A name that ends with '/' is a directory, contents
/// that begin with "->" make a link.
using Sample = std::map<std::string, std::string>;

/// An archive by cpio(1).
inline std::string cpio_of(const Sample& sample) {
    const TemporaryRoot tree;
    std::string names;
    for (const auto& [name, text] : sample) {
        const auto inside = "/" + name;
        if (name.ends_with('/')) {
            tree.directory(inside);
            names += name.substr(0, name.size() - 1) + "\n";
            continue;
        }
        if (text.starts_with("->")) {
            tree.link(inside, text.substr(2));
        } else {
            tree.file(inside, text);
        }
        names += name + "\n";
    }
    return output_of({"cpio", "--quiet", "-o", "-H", "newc", "-D", tree.on_host("/").string()},
                     names);
}

/// The names in an archive, as cpio(1) reads it.
inline std::string names_by_cpio(std::string_view archive) {
    return output_of({"cpio", "--quiet", "-t"}, archive);
}

/// Packed the way that the kernel's build packs for each format.
inline std::string packed(std::string_view format, std::string_view bytes) {
    static const std::map<std::string_view, std::vector<std::string>> kTools{
        {"gzip", {"gzip", "-9n"}},         {"xz", {"xz", "--check=crc32", "--lzma2=dict=1MiB"}},
        {"lzma", {"xz", "--format=lzma"}}, {"zstd", {"zstd", "-qc19"}},
        {"bzip2", {"bzip2", "-9"}},        {"lz4", {"lz4", "-l", "-9", "-c"}}};
    return output_of(kTools.at(format), bytes);
}

/// A module file: an ELF object with a .modinfo section of these texts, and no more.
template <class Header = Elf64_Ehdr, class Section = Elf64_Shdr>
std::string module_file(const std::vector<std::string>& texts) {
    std::string info;
    for (const auto& text : texts) info += text + '\0';
    const std::string names("\0.modinfo\0.shstrtab\0", 20);
    Header header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = sizeof(Header) == sizeof(Elf64_Ehdr) ? ELFCLASS64 : ELFCLASS32;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_REL;
    header.e_shentsize = sizeof(Section);
    header.e_shnum = 3;
    header.e_shstrndx = 2;
    header.e_shoff = sizeof(Header);
    std::array<Section, 3> sections{};
    const auto at = sizeof(Header) + sizeof(sections);
    sections[1].sh_name = 1;
    sections[1].sh_type = SHT_PROGBITS;
    sections[1].sh_offset = static_cast<decltype(Section::sh_offset)>(at);
    sections[1].sh_size = static_cast<decltype(Section::sh_size)>(info.size());
    sections[2].sh_name = 10;
    sections[2].sh_type = SHT_STRTAB;
    sections[2].sh_offset = static_cast<decltype(Section::sh_offset)>(at + info.size());
    sections[2].sh_size = static_cast<decltype(Section::sh_size)>(names.size());
    std::string out(at, '\0');
    std::memcpy(out.data(), &header, sizeof(header));
    std::memcpy(out.data() + sizeof(header), sections.data(), sizeof(sections));
    return out + info + names;
}

}  // namespace amilift::image
