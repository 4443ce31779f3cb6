// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "dev/used_extents.hpp"

namespace amilift::dev {

/// A chunk of a copy: where it lies on the source, and the checksum of what was read of it
/// (checksum_of()), 0 where nobody wants one.
struct CopiedChunk {
    Extent extent;
    std::uint64_t checksum = 0;
    friend bool operator==(const CopiedChunk&, const CopiedChunk&) = default;
};

/// XXH3, 64 bits: it finds what disks and memory do by mistake, and proves nothing against somebody
/// who means it.
[[nodiscard]] std::uint64_t checksum_of(std::span<const std::byte> bytes);

/// The disks of a copy, by the names that no other disk will ever have: EBS volume ids, at most 63
/// bytes each.
struct CopyDisks {
    std::string source;
    std::string target;
    friend bool operator==(const CopyDisks&, const CopyDisks&) = default;
};

/// What a copy does, as far as chunks noted by another one can be its own.
struct CopyShape {
    std::uint64_t source_bytes = 0;
    std::uint64_t target_bytes = 0;
    std::uint64_t target_offset = 0;
    std::uint32_t chunk_bytes = 0;
    bool has_checksums = false;
    std::vector<Extent> ranges;  ///< that are cut into chunks; ascending, disjoint
};

/// Notes in a file of the helper which chunks of a copy are durably on the target, so that a copy
/// that was cut off goes on where it was. It trusts nothing of the file: the first record that is
/// torn, changed or out of place ends what counts.
///
/// The file is a header of kHeaderBytes (magic, source, target, shape, flags, checksum) and
/// records: "note", the number of runs, that of checksums, the runs (offset and length in bytes),
/// the checksums of their chunks, and a checksum of the record that continues the one before it.
/// All numbers are little-endian.
///
/// Who writes to the noted parts of the target, or to the source, must clear() it first.
class CopyJournal {
  public:
    static constexpr std::size_t kHeaderBytes = 184;

    /// `file` is a regular file, open for reading and writing; `name` is its name in messages.
    /// Errors: invalid_input (a disk without a name), io_error.
    [[nodiscard]] static core::Result<CopyJournal> open(core::Fd file, std::string name,
                                                        CopyDisks disks);

    /// A copy between these disks has begun earlier, and nobody has written to the target since but
    /// that copy. What had to be done to the target before it has been done.
    [[nodiscard]] bool has_begun() const { return has_begun_; }

    struct Noted {
        std::vector<CopiedChunk> chunks;  ///< ascending
        /// The target was known to be zeros when the copy began.
        bool target_was_zeros = false;
        /// Why there is nothing of an earlier copy; empty: there was none, or it goes on.
        std::string ignored;
    };
    /// What of this copy is noted; from there on note() continues. Of another copy nothing counts:
    /// the journal begins anew, on a target that is `target_is_zeros`.
    [[nodiscard]] core::Result<Noted> begin(const CopyShape& shape, bool target_is_zeros);

    /// Notes chunks that have been flushed on the target; durable when it returns. After an error
    /// nothing more can be noted, and what was noted before stays valid.
    [[nodiscard]] core::Result<> note(std::vector<CopiedChunk> chunks);

    /// Forgets everything, durably.
    [[nodiscard]] core::Result<> clear();

  private:
    CopyJournal(core::Fd file, std::string name, CopyDisks disks)
        : file_(std::move(file)), name_(std::move(name)), disks_(std::move(disks)) {}
    core::Result<> read_header();
    core::Result<> start(const CopyShape& shape, bool target_is_zeros);
    core::Result<std::vector<CopiedChunk>> read_notes(const CopyShape& shape);
    [[nodiscard]] std::string other_copy(const CopyShape& shape) const;

    core::Fd file_;
    std::string name_;
    CopyDisks disks_;
    std::vector<std::byte> header_;  ///< as it is in the file; empty: there is none that is whole
    bool damaged_ = false;           ///< there is something, but no header
    bool has_begun_ = false;
    bool has_checksums_ = false;
    std::uint64_t end_ = 0;    ///< of the valid part, bytes
    std::uint64_t chain_ = 0;  ///< checksum of the last valid record
    bool broken_ = false;
};

}  // namespace amilift::dev
