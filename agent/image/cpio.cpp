// SPDX-License-Identifier: Apache-2.0
#include "image/cpio.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kHeaderBytes = 110;
constexpr std::string_view kTrailer = "TRAILER!!!";
/// PATH_MAX; the kernel passes over members with longer names, and nobody makes them.
constexpr std::uint32_t kNameLimit = 4096;

// Fields of the header, each 8 hexadecimal digits behind the 6 digits of the magic number.
constexpr std::size_t kMode = 1;
constexpr std::size_t kFileSize = 6;
constexpr std::size_t kNameSize = 11;

std::uint64_t padding_to_4(std::uint64_t bytes) {
    return (4 - bytes % 4) % 4;
}

Result<std::uint32_t> field(std::string_view header, std::size_t index) {
    const auto text = header.substr(6 + 8 * index, 8);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' in a cpio header is no hexadecimal number", printable(text)));
    }
    return value;
}

CpioType type_of(std::uint32_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return CpioType::regular;
        case S_IFDIR:
            return CpioType::directory;
        case S_IFLNK:
            return CpioType::link;
        default:
            return CpioType::other;
    }
}

}  // namespace

void CpioReader::expect_header() {
    state_ = State::header;
    held_.clear();
    needed_ = kHeaderBytes;
    padding_ = 0;
    keeps_ = true;
}

Result<> CpioReader::read_header() {
    if (!held_.starts_with("070701") && !held_.starts_with("070702")) {
        return fail(Errc::corrupt, fmt::format("'{}' where a cpio member should begin",
                                               printable(held_.substr(0, 6))));
    }
    AMILIFT_TRY(const auto mode, field(held_, kMode));
    AMILIFT_TRY(const auto size, field(held_, kFileSize));
    AMILIFT_TRY(const auto name_size, field(held_, kNameSize));
    if (name_size == 0 || name_size > kNameLimit) {
        return fail(Errc::corrupt,
                    fmt::format("a cpio member has a name of {} bytes, expected 1 to {}", name_size,
                                kNameLimit));
    }
    archive_ended_ = false;
    member_ = {{}, type_of(mode), size};
    name_bytes_ = name_size;
    state_ = State::name;
    held_.clear();
    needed_ = name_size;
    padding_ = padding_to_4(kHeaderBytes + name_size);
    return {};
}

Result<> CpioReader::read_name() {
    member_.name.assign(held_, 0, std::min(held_.find('\0'), held_.size()));
    held_.clear();
    if (member_.name == kTrailer) {
        expect_header();
        archive_ended_ = true;
        return {};
    }
    keeps_ =
        member_.type == CpioType::regular && member_.size_bytes <= kBodyLimit && wants_(member_);
    state_ = State::body;
    needed_ = member_.size_bytes;
    padding_ = padding_to_4(member_.size_bytes);
    return {};
}

Result<> CpioReader::end_member() {
    AMILIFT_CHECK(on_member_(member_, held_));
    expect_header();
    return {};
}

Result<std::size_t> CpioReader::take(std::string_view bytes) {
    std::size_t at = 0;
    while (true) {
        if (needed_ > 0) {
            if (at == bytes.size()) return at;
            const auto piece =
                static_cast<std::size_t>(std::min<std::uint64_t>(needed_, bytes.size() - at));
            if (keeps_) held_.append(bytes, at, piece);
            at += piece;
            needed_ -= piece;
            continue;
        }
        // The part is whole; what is done with it may wait for its padding.
        const auto piece =
            static_cast<std::size_t>(std::min<std::uint64_t>(padding_, bytes.size() - at));
        at += piece;
        padding_ -= piece;
        if (padding_ > 0) return at;
        switch (state_) {
            case State::header:
                AMILIFT_CHECK(read_header());
                break;
            case State::name:
                AMILIFT_CHECK(read_name());
                if (archive_ended_) return at;
                break;
            case State::body:
                AMILIFT_CHECK(end_member());
                return at;
        }
    }
}

void CpioWriter::member(std::string_view name, std::uint32_t mode, std::string_view contents) {
    const auto append_padding = [this] { bytes_.append(padding_to_4(bytes_.size()), '\0'); };
    bytes_ += fmt::format(
        "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}"
        "{:08X}{:08X}",
        ++inode_, mode, 0, 0, 1, 0, contents.size(), 0, 0, 0, 0, name.size() + 1, 0);
    bytes_ += name;
    bytes_ += '\0';
    append_padding();
    bytes_ += contents;
    append_padding();
}

void CpioWriter::directory(std::string_view name) {
    member(name, S_IFDIR | 0755U, {});
}

void CpioWriter::file(std::string_view name, std::string_view contents) {
    member(name, S_IFREG | 0644U, contents);
}

std::string CpioWriter::finish() && {
    member(kTrailer, 0, {});
    return std::move(bytes_);
}

}  // namespace amilift::image
