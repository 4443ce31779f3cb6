// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::image {

enum class CpioType { regular, directory, link, other };

struct CpioMember {
    std::string name;  ///< as written: "./usr/lib", "/init" and "init" all occur
    CpioType type = CpioType::other;
    std::uint64_t size_bytes = 0;
};

/// Reads "newc" cpio archives, however their bytes arrive. Contents are skipped but for the members
/// that the caller asks for. Source: Linux, Documentation/driver-api/early-userspace/
/// buffer-format.rst.
class CpioReader {
  public:
    /// Are the contents of this member wanted? Only asked for regular files of at most kBodyLimit.
    using Wants = std::function<bool(const CpioMember&)>;
    /// Hears each member, with its contents if they were wanted. Its error ends the reading.
    using OnMember = std::function<core::Result<>(const CpioMember&, std::string_view)>;
    static constexpr std::uint64_t kBodyLimit = std::uint64_t{16} << 20;

    CpioReader(Wants wants, OnMember on_member)
        : wants_(std::move(wants)), on_member_(std::move(on_member)) {}

    /// Takes bytes up to the end of a member, or all of them, and gives their number. Errors:
    /// corrupt for what is no member header, or a name longer than the kernel allows.
    [[nodiscard]] core::Result<std::size_t> take(std::string_view bytes);
    /// No member has been begun and not ended. Zeros may follow here, or another archive.
    [[nodiscard]] bool is_between_members() const {
        return state_ == State::header && held_.empty();
    }
    /// The last member that was taken was an archive's end mark (or there was none yet).
    [[nodiscard]] bool is_between_archives() const {
        return is_between_members() && archive_ended_;
    }

  private:
    enum class State { header, name, body };
    core::Result<> read_header();
    core::Result<> read_name();
    core::Result<> end_member();
    void expect_header();

    Wants wants_;
    OnMember on_member_;
    State state_ = State::header;
    CpioMember member_;
    std::size_t name_bytes_ = 0;  ///< with the final NUL
    std::string held_;            ///< of the part that is being read
    std::uint64_t needed_ = 110;  ///< bytes that the part has, without padding
    std::uint64_t padding_ = 0;   ///< bytes behind the part that are skipped
    bool keeps_ = true;           ///< the part goes to held_
    bool archive_ended_ = true;
};

/// Writes a "newc" archive into memory: owner root, no timestamps, so that the same members give
/// the same bytes.
class CpioWriter {
  public:
    void directory(std::string_view name);
    void file(std::string_view name, std::string_view contents);
    /// The whole archive; its length is a multiple of 4.
    [[nodiscard]] std::string finish() &&;

  private:
    void member(std::string_view name, std::uint32_t mode, std::string_view contents);
    std::string bytes_;
    std::uint32_t inode_ = 0;
};

}  // namespace amilift::image
