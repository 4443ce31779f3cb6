// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "image/kernel_modules.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kMemberLimit = 200000;
constexpr std::size_t kSegmentLimit = 64;
constexpr std::size_t kSettingsLimit = std::size_t{1} << 20;
constexpr std::size_t kScriptLimit = std::size_t{64} << 10;
/// Of all indexes of modules together; those of a whole distribution kernel have about 10 MiB.
constexpr std::size_t kIndexesLimit = std::size_t{32} << 20;

std::string_view plain_name(std::string_view name) {
    while (true) {
        if (name.starts_with("./")) {
            name.remove_prefix(2);
        } else if (name.starts_with('/')) {
            name.remove_prefix(1);
        } else {
            return name == "." ? std::string_view{} : name;
        }
    }
}

bool is_setting(std::string_view name) {
    if (name == "etc/modprobe.conf") return true;
    return std::ranges::any_of(
        std::array{"etc/modprobe.d/", "lib/modprobe.d/", "usr/lib/modprobe.d/", "run/modprobe.d/"},
        [name](std::string_view directory) { return name.starts_with(directory); });
}

bool is_module_index(std::string_view name) {
    if (!name.starts_with("lib/modules/") && !name.starts_with("usr/lib/modules/")) return false;
    if (name.ends_with(".bin")) name.remove_suffix(4);
    return std::ranges::any_of(
        std::array{"/modules.dep", "/modules.alias", "/modules.symbols", "/modules.softdep"},
        [name](std::string_view file) { return name.ends_with(file); });
}

/// Puts what a reader hears into the contents.
class Lister {
  public:
    Lister(InitramfsContents& contents, std::uint64_t limit)
        : contents_(contents),
          limit_(limit),
          reader_([this](const CpioMember& m) { return wants(m); },
                  [this](const CpioMember& m, std::string_view body) { return add(m, body); }) {}

    Result<> read(std::string_view bytes) {
        std::size_t at = 0;
        while (true) {
            // Zeros may stand between archives and behind the last one, not within one.
            const auto zeros_at = at;
            if (!contents_.has_open_archive) {
                at = std::min(bytes.find_first_not_of('\0', at), bytes.size());
            }
            if (at == bytes.size()) {
                contents_.has_zeros_at_end = at != zeros_at;
                break;
            }
            if (contents_.has_open_archive && (bytes[at] != '0' || contents_.last)) {
                return fail(Errc::corrupt,
                            fmt::format("the cpio archive before byte {} has no end mark", at));
            }
            const bool is_plain = bytes[at] == '0' && at % 4 == 0;
            AMILIFT_TRY(const auto taken, is_plain ? read_member(bytes.substr(at))
                                                   : read_packed(bytes.substr(at), at));
            at += taken;
            contents_.has_open_archive = !reader_.is_between_archives();
        }
        return {};
    }

  private:
    Result<> begin_segment(std::string name, std::optional<Compression> compression) {
        if (contents_.segments.size() == kSegmentLimit) {
            return fail(Errc::corrupt, fmt::format("it has more than {} segments", kSegmentLimit));
        }
        contents_.segments.push_back(std::move(name));
        contents_.last = compression;
        if (compression == Compression::gzip) contents_.has_gzip = true;
        return {};
    }

    Result<std::size_t> read_member(std::string_view bytes) {
        if (reader_.is_between_archives() || contents_.last) {
            AMILIFT_CHECK(begin_segment("cpio", std::nullopt));
        }
        AMILIFT_TRY(const auto taken, reader_.take(bytes));
        contents_.unpacked_bytes += taken;
        if (!reader_.is_between_members())
            return fail(Errc::corrupt, "its last cpio archive is cut");
        return taken;
    }

    Result<std::size_t> read_packed(std::string_view bytes, std::size_t at) {
        const auto compression = compression_of(bytes);
        if (!compression) {
            return fail(Errc::corrupt,
                        fmt::format("byte {} begins with {:02x} {:02x}, which is neither a cpio "
                                    "archive nor gzip, xz, lzma, zstd, bzip2 or lz4",
                                    at, static_cast<unsigned char>(bytes[0]),
                                    bytes.size() > 1 ? static_cast<unsigned char>(bytes[1]) : 0));
        }
        AMILIFT_CHECK(begin_segment(fmt::format("{} cpio", to_string(*compression)), compression));
        const auto left = limit_ - std::min(limit_, contents_.unpacked_bytes);
        const auto before = contents_.unpacked_bytes;
        AMILIFT_TRY(const auto taken,
                    unpack(bytes, *compression, left,
                           [this](std::string_view piece) { return feed(piece); }));
        if (!reader_.is_between_members()) {
            return fail(Errc::corrupt, fmt::format("the archive in its {} stream is cut",
                                                   to_string(*compression)));
        }
        if (taken == 0 || contents_.unpacked_bytes == before) {
            return fail(Errc::corrupt,
                        fmt::format("its {} stream holds nothing", to_string(*compression)));
        }
        return taken;
    }

    Result<> feed(std::string_view piece) {
        contents_.unpacked_bytes += piece.size();
        while (!piece.empty()) {
            if (reader_.is_between_archives()) {
                piece.remove_prefix(std::min(piece.find_first_not_of('\0'), piece.size()));
                if (piece.empty()) break;
            }
            AMILIFT_TRY(const auto taken, reader_.take(piece));
            piece.remove_prefix(taken);
        }
        return {};
    }

    bool wants(const CpioMember& member) {
        const auto name = plain_name(member.name);
        if (is_module_index(name)) return true;
        if (member.size_bytes > kScriptLimit) return false;
        // What /init is written for tells nash from the others.
        if (name == "init") return true;
        if (!is_setting(name) || settings_bytes_ + member.size_bytes > kSettingsLimit) return false;
        settings_bytes_ += static_cast<std::size_t>(member.size_bytes);
        return true;
    }

    Result<> add(const CpioMember& member, std::string_view body) {
        const std::string name(plain_name(member.name));
        if (name.empty()) return {};
        if (contents_.members.size() >= kMemberLimit && !contents_.members.contains(name)) {
            return fail(Errc::corrupt, fmt::format("it has more than {} members", kMemberLimit));
        }
        contents_.members[name] = member.type;
        if (is_setting(name)) contents_.settings[name] = body;
        if (is_module_index(name)) AMILIFT_CHECK(add_index(name, member, body));
        if (name == "init" && body.substr(0, 80).find("/nash") != std::string_view::npos) {
            contents_.builder = InitramfsBuilder::mkinitrd_nash;
        }
        return {};
    }

    /// An index that is left out would look like one that names no modules.
    Result<> add_index(const std::string& name, const CpioMember& member, std::string_view body) {
        contents_.module_indexes.erase(name);
        if (member.type != CpioType::regular) return {};
        std::size_t bytes = body.size();
        for (const auto& [other, text] : contents_.module_indexes) bytes += text.size();
        if (body.size() != member.size_bytes || bytes > kIndexesLimit) {
            return fail(
                Errc::corrupt,
                fmt::format("its '{}' has {} bytes, expected at most {}, and all indexes of "
                            "modules together at most {}",
                            printable(name, 120), member.size_bytes, CpioReader::kBodyLimit,
                            kIndexesLimit));
        }
        contents_.module_indexes.emplace(name, body);
        return {};
    }

    InitramfsContents& contents_;
    std::uint64_t limit_;
    CpioReader reader_;
    std::size_t settings_bytes_ = 0;
};

InitramfsBuilder builder_of(const InitramfsContents& contents) {
    if (contents.builder != InitramfsBuilder::unknown) return contents.builder;
    const auto& members = contents.members;
    const auto has = [&members](std::string_view name) {
        return members.contains(std::string(name));
    };
    /// Is there a name that begins so?
    const auto begins = [&members](std::string_view start) {
        const auto first = members.lower_bound(std::string(start));
        return first != members.end() && first->first.starts_with(start);
    };
    if (has("bin/nash") || has("sbin/nash")) return InitramfsBuilder::mkinitrd_nash;
    // dracut of RHEL 6 leaves a file of its version at the top.
    if (begins("usr/lib/dracut") || begins("lib/dracut") || begins("dracut-")) {
        return InitramfsBuilder::dracut;
    }
    if (has("conf/initramfs.conf") || has("scripts/functions")) {
        return InitramfsBuilder::initramfs_tools;
    }
    if (has("run_all.sh") || has("mkinitrd.config") || begins("lib/mkinitrd")) {
        return InitramfsBuilder::mkinitrd_suse;
    }
    return InitramfsBuilder::unknown;
}

/// What keeps the kernel from reading what is put behind the file.
std::string_view obstacle_behind(const InitramfsContents& contents) {
    if (contents.has_open_archive) return "ends without an end mark, where the kernel stops";
    if (contents.last == Compression::lzma) {
        return "ends with an lzma stream, behind which not every kernel goes on reading";
    }
    if (contents.last == Compression::lz4_legacy && contents.has_zeros_at_end) {
        return "has zeros behind an lz4 stream, which kernels before 5.13 take for a broken block";
    }
    return {};
}

}  // namespace

void read_further_initramfs(std::string_view bytes, std::uint64_t unpacked_limit,
                            InitramfsContents& contents) {
    if (!contents.problem.empty()) return;
    if (auto read = Lister(contents, unpacked_limit).read(bytes); !read) {
        contents.problem = std::move(read).error().what;
    } else if (contents.segments.empty()) {
        contents.problem = "it holds nothing but zeros";
    }
    contents.builder = builder_of(contents);
}

InitramfsContents read_initramfs(std::string_view bytes, std::uint64_t unpacked_limit) {
    InitramfsContents contents;
    read_further_initramfs(bytes, unpacked_limit, contents);
    return contents;
}

std::string module_directory(const InitramfsContents& contents, std::string_view version) {
    for (const std::string_view top : {"usr/lib/modules/", "lib/modules/"}) {
        const auto directory = fmt::format("{}{}", top, version);
        const auto first = contents.members.lower_bound(directory);
        if (first == contents.members.end()) continue;
        if (first->first == directory || first->first.starts_with(directory + "/")) {
            return directory;
        }
        // Other names may sort between the directory and what lies in it ("6.1-x" before "6.1/").
        const auto below = contents.members.lower_bound(directory + "/");
        if (below != contents.members.end() && below->first.starts_with(directory + "/")) {
            return directory;
        }
    }
    const auto lib = contents.members.find("lib");
    const bool merged = lib != contents.members.end() && lib->second == CpioType::link;
    return fmt::format("{}lib/modules/{}", merged ? "usr/" : "", version);
}

std::string other_kernel(const InitramfsContents& contents, std::string_view version) {
    std::string other;
    for (const std::string_view top : {"usr/lib/modules/", "lib/modules/"}) {
        for (auto m = contents.members.lower_bound(std::string(top));
             m != contents.members.end() && m->first.starts_with(top); ++m) {
            const auto name = std::string_view(m->first).substr(top.size());
            const auto slash = name.find('/');
            if (slash == std::string_view::npos || module_name(name).empty()) continue;
            if (name.substr(0, slash) == version) return {};
            other = name.substr(0, slash);
        }
    }
    return other;
}

bool can_be_extended(const InitramfsContents& contents) {
    return contents.problem.empty() && obstacle_behind(contents).empty();
}

std::string_view obstacle_to_addition(const InitramfsContents& contents) {
    if (contents.builder == InitramfsBuilder::mkinitrd_nash) {
        return "was made by mkinitrd with nash, which loads the modules that its script names and "
               "no others";
    }
    if (contents.builder == InitramfsBuilder::unknown) {
        return "was made by a program that amilift does not know, and perhaps nothing in it would "
               "load a module that is added";
    }
    return obstacle_behind(contents);
}

Result<std::string> make_addition(const InitramfsContents& contents, std::uint64_t file_bytes,
                                  const InitramfsFiles& files, bool gzip_is_known) {
    std::set<std::string> directories;
    for (const auto& [name, text] : files) {
        for (auto slash = name.rfind('/'); slash != std::string::npos && slash > 0;
             slash = name.rfind('/', slash - 1)) {
            auto directory = name.substr(0, slash);
            if (!contents.members.contains(directory)) directories.insert(std::move(directory));
        }
    }
    CpioWriter writer;
    // Sorted, so that a directory comes before what lies in it.
    for (const auto& directory : directories) writer.directory(directory);
    for (const auto& [name, text] : files) writer.file(name, text);
    const auto archive = std::move(writer).finish();

    const std::string padding((4 - file_bytes % 4) % 4, '\0');
    if (contents.last == Compression::lz4_legacy) {
        // Kernels before 5.13 take zeros, and whatever is no lz4, behind an lz4 stream for a broken
        // block of it; another stream of lz4 they go on with.
        return pack_lz4_legacy(archive);
    }
    if (!contents.has_gzip && !gzip_is_known) return padding + archive;
    AMILIFT_TRY(const auto packed, pack_gzip(archive));
    return padding + packed;
}

}  // namespace amilift::image
