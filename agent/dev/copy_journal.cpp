// SPDX-License-Identifier: Apache-2.0
#include "dev/copy_journal.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "dev/byte_order.hpp"
#include "dev/copy_ranges.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr std::string_view kMagic = "amilcpy1";
constexpr std::size_t kDiskNameBytes = 64;
constexpr std::size_t kSourceAt = 8;
constexpr std::size_t kTargetAt = kSourceAt + kDiskNameBytes;
constexpr std::size_t kSourceBytesAt = kTargetAt + kDiskNameBytes;
constexpr std::size_t kTargetBytesAt = kSourceBytesAt + 8;
constexpr std::size_t kShapeAt = kTargetBytesAt + 8;
constexpr std::size_t kFlagsAt = kShapeAt + 8;
constexpr std::size_t kReservedAt = kFlagsAt + 8;
constexpr std::size_t kHeaderSumAt = kReservedAt + 8;
static_assert(kHeaderSumAt + 8 == CopyJournal::kHeaderBytes);
constexpr std::uint64_t kHasChecksums = 1;
constexpr std::uint64_t kTargetWasZeros = 2;

constexpr std::uint32_t kRecordMagic = 0x65746f6e;  // "note"
constexpr std::size_t kRecordHeadBytes = 16;
constexpr std::size_t kRunBytes = 16;
constexpr std::size_t kSumBytes = 8;
// A record has what was copied between two flushes. A length above this is no length.
constexpr std::uint64_t kMaxRecordBytes = 256U << 20;

using Bytes = std::vector<std::byte>;

std::uint64_t checksum_after(std::span<const std::byte> bytes, std::uint64_t before) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), before);
}

std::string text_at(std::span<const std::byte> header, std::size_t at) {
    std::array<char, kDiskNameBytes + 1> text{};
    std::memcpy(text.data(), header.data() + at, kDiskNameBytes);
    return {text.data()};
}

/// Where the chunks lie: two copies with the same number cut their sources alike.
std::uint64_t fingerprint(const CopyShape& shape) {
    Bytes bytes(16 + shape.ranges.size() * kRunBytes);
    store_le<std::uint64_t>(bytes, 0, shape.target_offset);
    store_le<std::uint64_t>(bytes, 8, shape.chunk_bytes);
    std::size_t at = 16;
    for (const auto& range : shape.ranges) {
        store_le(bytes, at, range.offset);
        store_le(bytes, at + 8, range.length);
        at += kRunBytes;
    }
    return checksum_of(bytes);
}

Bytes make_header(const CopyDisks& disks, const CopyShape& shape, bool target_is_zeros) {
    Bytes header(CopyJournal::kHeaderBytes);
    std::memcpy(header.data(), kMagic.data(), kMagic.size());
    std::memcpy(header.data() + kSourceAt, disks.source.data(), disks.source.size());
    std::memcpy(header.data() + kTargetAt, disks.target.data(), disks.target.size());
    store_le(header, kSourceBytesAt, shape.source_bytes);
    store_le(header, kTargetBytesAt, shape.target_bytes);
    store_le(header, kShapeAt, fingerprint(shape));
    store_le(header, kFlagsAt,
             (shape.has_checksums ? kHasChecksums : 0) | (target_is_zeros ? kTargetWasZeros : 0));
    store_le(header, kHeaderSumAt, checksum_of(std::span(header).first(kHeaderSumAt)));
    return header;
}

/// One record: what is noted, and the checksum of the record, which continues `chain`.
Bytes make_record(std::span<const CopiedChunk> chunks, bool has_checksums, std::uint64_t chain) {
    std::vector<Extent> runs;
    for (const auto& chunk : chunks) {
        if (!runs.empty() && runs.back().offset + runs.back().length == chunk.extent.offset) {
            runs.back().length += chunk.extent.length;
        } else {
            runs.push_back(chunk.extent);
        }
    }
    const auto sums = has_checksums ? chunks.size() : 0;
    Bytes record(kRecordHeadBytes + runs.size() * kRunBytes + sums * kSumBytes + kSumBytes);
    store_le(record, 0, kRecordMagic);
    store_le(record, 4, static_cast<std::uint32_t>(runs.size()));
    store_le(record, 8, static_cast<std::uint32_t>(sums));
    std::size_t at = kRecordHeadBytes;
    for (const auto& run : runs) {
        store_le(record, at, run.offset);
        store_le(record, at + 8, run.length);
        at += kRunBytes;
    }
    for (std::size_t i = 0; i < sums; ++i, at += kSumBytes) {
        store_le(record, at, chunks[i].checksum);
    }
    store_le(record, at, checksum_after(std::span(record).first(at), chain));
    return record;
}

/// Whether the runs begin and end where `shape` has chunks that do.
bool are_chunks_of(const CopyShape& shape, std::span<const Extent> runs) {
    return std::ranges::all_of(runs, [&](const Extent& run) {
        // The range that holds the run's first byte.
        const auto behind = std::ranges::upper_bound(shape.ranges, run.offset, {}, &Extent::offset);
        if (behind == shape.ranges.begin()) return false;
        const auto& range = *std::prev(behind);
        const auto skipped = run.offset - range.offset;
        if (run.length == 0 || skipped >= range.length || run.length > range.length - skipped) {
            return false;
        }
        return (skipped == 0 || run.offset % shape.chunk_bytes == 0) &&
               (run.length == range.length - skipped ||
                (run.offset + run.length) % shape.chunk_bytes == 0);
    });
}

/// The chunks of a record that is whole, unless it has others than `shape`.
std::optional<std::vector<CopiedChunk>> chunks_of(std::span<const std::byte> record,
                                                  const CopyShape& shape) {
    const auto runs = load_le<std::uint32_t>(record, 4);
    const auto sums = load_le<std::uint32_t>(record, 8);
    std::vector<Extent> noted;
    for (std::size_t i = 0; i < runs; ++i) {
        const auto at = kRecordHeadBytes + i * kRunBytes;
        noted.push_back(
            {load_le<std::uint64_t>(record, at), load_le<std::uint64_t>(record, at + 8)});
    }
    if (!are_chunks_of(shape, noted)) return std::nullopt;
    std::vector<CopiedChunk> chunks;
    ChunkCursor cursor(std::move(noted), shape.chunk_bytes);
    auto at = kRecordHeadBytes + runs * kRunBytes;
    while (const auto chunk = cursor.next()) {
        if (shape.has_checksums && chunks.size() == sums) return std::nullopt;
        chunks.push_back({*chunk, shape.has_checksums ? load_le<std::uint64_t>(record, at) : 0});
        at += kSumBytes;
    }
    if (sums != (shape.has_checksums ? chunks.size() : 0)) return std::nullopt;
    return chunks;
}

}  // namespace

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

Result<CopyJournal> CopyJournal::open(core::Fd file, std::string name, CopyDisks disks) {
    for (const auto* disk : {&disks.source, &disks.target}) {
        if (disk->empty() || disk->size() >= kDiskNameBytes) {
            return fail(Errc::invalid_input,
                        fmt::format("a copy journal needs disks with names of 1 to {} bytes, got "
                                    "'{}' and '{}'",
                                    kDiskNameBytes - 1, disks.source, disks.target));
        }
    }
    CopyJournal journal(std::move(file), std::move(name), std::move(disks));
    AMILIFT_CHECK(journal.read_header());
    return journal;
}

Result<> CopyJournal::read_header() {
    struct stat status{};
    if (::fstat(file_.get(), &status) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot look at copy journal '{}'", name_));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(Errc::invalid_input,
                    fmt::format("copy journal '{}' is no regular file", name_));
    }
    if (status.st_size == 0) return {};
    damaged_ = true;
    if (static_cast<std::uint64_t>(status.st_size) < kHeaderBytes) return {};
    Bytes header(kHeaderBytes);
    AMILIFT_CHECK(core::read_exactly_at(file_, header, 0, name_));
    if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0 ||
        load_le<std::uint64_t>(header, kHeaderSumAt) !=
            checksum_of(std::span(header).first(kHeaderSumAt))) {
        return {};
    }
    damaged_ = false;
    header_ = std::move(header);
    has_begun_ = CopyDisks{text_at(header_, kSourceAt), text_at(header_, kTargetAt)} == disks_;
    return {};
}

std::string CopyJournal::other_copy(const CopyShape& shape) const {
    if (damaged_) return "its header is torn or was changed";
    if (header_.empty()) return {};
    if (!has_begun_) {
        return fmt::format("it is of a copy of '{}' to '{}'", text_at(header_, kSourceAt),
                           text_at(header_, kTargetAt));
    }
    const auto differs = [this](std::size_t at, std::uint64_t now) {
        return load_le<std::uint64_t>(header_, at) != now;
    };
    if (differs(kSourceBytesAt, shape.source_bytes) ||
        differs(kTargetBytesAt, shape.target_bytes)) {
        return "a disk had another size then";
    }
    if (differs(kShapeAt, fingerprint(shape))) {
        return "other parts of the source were in use then, or they were cut or placed otherwise";
    }
    const bool had = (load_le<std::uint64_t>(header_, kFlagsAt) & kHasChecksums) != 0;
    if (had != shape.has_checksums) {
        return had ? "it has checksums, which this copy does not take"
                   : "it has no checksums, which this copy needs";
    }
    return {};
}

Result<CopyJournal::Noted> CopyJournal::begin(const CopyShape& shape, bool target_is_zeros) {
    Noted noted;
    has_checksums_ = shape.has_checksums;
    noted.ignored = other_copy(shape);
    if (header_.empty() || !noted.ignored.empty()) {
        noted.target_was_zeros = target_is_zeros;
        AMILIFT_CHECK(start(shape, target_is_zeros));
        return noted;
    }
    noted.target_was_zeros = (load_le<std::uint64_t>(header_, kFlagsAt) & kTargetWasZeros) != 0;
    AMILIFT_TRY(noted.chunks, read_notes(shape));
    // What is torn or wrong goes: the next record takes its place.
    if (::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot shorten copy journal '{}'", name_));
    }
    return noted;
}

Result<> CopyJournal::start(const CopyShape& shape, bool target_is_zeros) {
    AMILIFT_CHECK(clear());
    header_ = make_header(disks_, shape, target_is_zeros);
    AMILIFT_CHECK(core::write_all_at(file_, header_, 0, name_));
    if (::fsync(file_.get()) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot flush copy journal '{}'", name_));
    }
    has_begun_ = true;
    end_ = header_.size();
    chain_ = load_le<std::uint64_t>(header_, kHeaderSumAt);
    return {};
}

Result<std::vector<CopiedChunk>> CopyJournal::read_notes(const CopyShape& shape) {
    struct stat status{};
    if (::fstat(file_.get(), &status) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot look at copy journal '{}'", name_));
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    std::vector<CopiedChunk> all;
    end_ = kHeaderBytes;
    chain_ = load_le<std::uint64_t>(header_, kHeaderSumAt);
    Bytes record;
    while (size - end_ >= kRecordHeadBytes + kSumBytes) {
        record.resize(kRecordHeadBytes);
        AMILIFT_CHECK(core::read_exactly_at(file_, record, end_, name_));
        const auto length = kRecordHeadBytes + kSumBytes +
                            std::uint64_t{load_le<std::uint32_t>(record, 4)} * kRunBytes +
                            std::uint64_t{load_le<std::uint32_t>(record, 8)} * kSumBytes;
        if (load_le<std::uint32_t>(record, 0) != kRecordMagic || length > kMaxRecordBytes ||
            length > size - end_) {
            break;
        }
        record.resize(static_cast<std::size_t>(length));
        AMILIFT_CHECK(core::read_exactly_at(file_, record, end_, name_));
        const auto sum_at = record.size() - kSumBytes;
        const auto sum = load_le<std::uint64_t>(record, sum_at);
        if (sum != checksum_after(std::span(record).first(sum_at), chain_)) break;
        const auto chunks = chunks_of(record, shape);
        if (!chunks) break;
        all.insert(all.end(), chunks->begin(), chunks->end());
        end_ += length;
        chain_ = sum;
    }
    std::ranges::sort(all, {}, [](const CopiedChunk& chunk) { return chunk.extent.offset; });
    // A chunk that was noted twice is there once.
    const auto same = [](const CopiedChunk& a, const CopiedChunk& b) {
        return a.extent == b.extent;
    };
    all.erase(std::unique(all.begin(), all.end(), same), all.end());
    return all;
}

Result<> CopyJournal::note(std::vector<CopiedChunk> chunks) {
    if (chunks.empty() || broken_) return {};
    std::ranges::sort(chunks, {}, [](const CopiedChunk& chunk) { return chunk.extent.offset; });
    const auto record = make_record(chunks, has_checksums_, chain_);
    broken_ = true;
    AMILIFT_CHECK(core::write_all_at(file_, record, end_, name_));
    if (::fdatasync(file_.get()) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot flush copy journal '{}'", name_));
    }
    broken_ = false;
    end_ += record.size();
    chain_ = load_le<std::uint64_t>(record, record.size() - kSumBytes);
    return {};
}

Result<> CopyJournal::clear() {
    header_.clear();
    has_begun_ = false;
    damaged_ = false;
    if (::ftruncate(file_.get(), 0) != 0 || ::fsync(file_.get()) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot empty copy journal '{}'", name_),
                          "make room on the helper's root disk");
    }
    return {};
}

}  // namespace amilift::dev
