// SPDX-License-Identifier: Apache-2.0
#include "dev/xfs_log.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "dev/byte_order.hpp"

namespace amilift::dev {
namespace {

using core::Result;

constexpr std::uint64_t kBlock = 512;  // the log's basic block
constexpr std::uint32_t kHeaderMagic = 0xfeedbabe;
constexpr std::uint8_t kUnmountFlag = 0x20;
constexpr std::uint32_t kVersion2 = 2;
constexpr std::uint32_t kHeaderCycleBytes = 32U << 10;  // of the record per header block
constexpr std::uint32_t kMaxRecordBytes = 256U << 10;
// At most 8 buffers of 256 KiB are under way at once; the last record's header is not farther back.
constexpr std::uint64_t kLookBack = (4U << 20) / kBlock;

using Sector = std::array<std::byte, kBlock>;

/// A ring of basic blocks.
class Log {
  public:
    Log(const BlockDevice& disk, std::uint64_t offset, std::uint64_t blocks)
        : disk_(disk), offset_(offset), blocks_(blocks) {}

    [[nodiscard]] std::uint64_t blocks() const { return blocks_; }

    [[nodiscard]] Result<Sector> read(std::uint64_t block) const {
        Sector sector{};
        AMILIFT_CHECK(
            core::read_exactly_at(disk_.fd(), sector, offset_ + block * kBlock, disk_.path()));
        return sector;
    }

    /// Each block bears the number of the round in which it was last written.
    [[nodiscard]] Result<std::uint32_t> cycle(std::uint64_t block) const {
        AMILIFT_TRY(const auto sector, read(block));
        const auto word = load_be<std::uint32_t>(sector, 0);
        return word == kHeaderMagic ? load_be<std::uint32_t>(sector, 4) : word;
    }

    /// The block after the last one written: where the round number changes.
    [[nodiscard]] Result<std::uint64_t> head() const {
        AMILIFT_TRY(const auto first, cycle(0));
        AMILIFT_TRY(const auto last, cycle(blocks_ - 1));
        if (first == last) return blocks_;
        std::uint64_t in_this_round = 0;
        std::uint64_t in_last_round = blocks_ - 1;
        while (in_last_round - in_this_round > 1) {
            const auto middle = in_this_round + (in_last_round - in_this_round) / 2;
            AMILIFT_TRY(const auto seen, cycle(middle));
            (seen == first ? in_this_round : in_last_round) = middle;
        }
        return in_last_round;
    }

    /// The last record header in front of `head`.
    [[nodiscard]] Result<std::optional<std::uint64_t>> last_header(std::uint64_t head) const {
        constexpr std::uint64_t kChunk = 128;
        const auto look = std::min(kLookBack, head);
        std::vector<std::byte> bytes;
        for (std::uint64_t done = 0; done < look;) {
            const auto count = std::min(kChunk, look - done);
            const auto start = head - done - count;
            bytes.resize(static_cast<std::size_t>(count * kBlock));
            AMILIFT_CHECK(
                core::read_exactly_at(disk_.fd(), bytes, offset_ + start * kBlock, disk_.path()));
            for (std::uint64_t i = count; i-- > 0;) {
                if (load_be<std::uint32_t>(bytes, static_cast<std::size_t>(i * kBlock)) ==
                    kHeaderMagic) {
                    return std::optional(start + i);
                }
            }
            done += count;
        }
        return std::optional<std::uint64_t>();
    }

  private:
    const BlockDevice& disk_;
    std::uint64_t offset_;
    std::uint64_t blocks_;
};

}  // namespace

Result<bool> xfs_log_is_clean(const BlockDevice& disk, std::uint64_t log_offset,
                              std::uint64_t log_bytes) {
    const Log log(disk, log_offset, log_bytes / kBlock);
    if (log.blocks() < 2) return false;
    AMILIFT_TRY(const auto head, log.head());
    AMILIFT_TRY(const auto record, log.last_header(head));
    // A record that wraps around the end of the log is searched for at the start only; then none is
    // found and the log counts as not clean, which costs a replay and is never wrong.
    if (!record) return false;
    AMILIFT_TRY(const auto header, log.read(*record));
    const auto version = load_be<std::uint32_t>(header, 8);
    const auto length = load_be<std::uint32_t>(header, 12);
    const auto operations = load_be<std::uint32_t>(header, 40);
    const auto buffer_bytes = load_be<std::uint32_t>(header, 320);
    if (length > kMaxRecordBytes || buffer_bytes > kMaxRecordBytes || operations != 1) return false;
    std::uint64_t header_blocks = 1;
    if ((version & kVersion2) != 0 && buffer_bytes > kHeaderCycleBytes) {
        header_blocks = (buffer_bytes + kHeaderCycleBytes - 1) / kHeaderCycleBytes;
    }
    const auto after = *record + header_blocks + (length + kBlock - 1) / kBlock;
    if (after % log.blocks() != head % log.blocks()) return false;
    AMILIFT_TRY(const auto operation, log.read((*record + header_blocks) % log.blocks()));
    return (load_be<std::uint8_t>(operation, 9) & kUnmountFlag) != 0;
}

}  // namespace amilift::dev
