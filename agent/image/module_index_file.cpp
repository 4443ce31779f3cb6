// SPDX-License-Identifier: Apache-2.0
#include "image/module_index_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>

namespace amilift::image {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::uint32_t kMagic = 0xb007f457;
constexpr std::uint32_t kMajorVersion = 2;
constexpr std::uint32_t kVersion = (kMajorVersion << 16U) | 1U;
constexpr std::size_t kHeaderBytes = 12;

// An offset of a node says in its high bits what the node has.
constexpr std::uint32_t kHasPrefix = 0x80000000;
constexpr std::uint32_t kHasValues = 0x40000000;
constexpr std::uint32_t kHasChildren = 0x20000000;
constexpr std::uint32_t kOffsetMask = 0x0fffffff;

constexpr std::size_t kKeyLimit = 4095;
/// Bytes of entries in memory, and of a file that is written: a small file can name many. The
/// largest index of a distribution has about 4 MiB.
constexpr std::size_t kEntriesLimit = std::size_t{32} << 20;
constexpr std::size_t kFileLimit = std::size_t{32} << 20;
static_assert(kFileLimit <= kOffsetMask);

/// Reads numbers and texts of a node, which may lie about where they are.
class Cursor {
  public:
    Cursor(std::string_view bytes, std::size_t at)
        : rest_(bytes.substr(std::min(at, bytes.size()))) {}

    std::optional<std::uint32_t> u32() {
        if (rest_.size() < 4) return std::nullopt;
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            value = (value << 8U) | static_cast<unsigned char>(rest_[i]);
        }
        rest_.remove_prefix(4);
        return value;
    }
    std::optional<unsigned char> u8() {
        if (rest_.empty()) return std::nullopt;
        const auto value = static_cast<unsigned char>(rest_.front());
        rest_.remove_prefix(1);
        return value;
    }
    std::optional<std::string_view> text() {
        const auto end = rest_.find('\0');
        if (end == std::string_view::npos) return std::nullopt;
        const auto value = rest_.substr(0, end);
        rest_.remove_prefix(end + 1);
        return value;
    }

  private:
    std::string_view rest_;
};

struct Place {
    std::uint32_t offset = 0;
    std::string key;  ///< up to the node
};

class Reader {
  public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    /// False: it is damaged.
    bool read() {
        Cursor header(bytes_, 0);
        const auto magic = header.u32();
        const auto version = header.u32();
        const auto root = header.u32();
        if (magic != kMagic || !version || *version >> 16U != kMajorVersion || !root) return false;
        if ((*root & kOffsetMask) != 0) places_.push_back({*root, {}});
        // A node has a byte at least, and is named once.
        for (std::size_t nodes = 0; !places_.empty(); ++nodes) {
            auto place = std::move(places_.back());
            places_.pop_back();
            if (nodes > bytes_.size() || !node(std::move(place))) return false;
        }
        return true;
    }

    std::vector<IndexEntry> take() { return std::move(entries_); }

  private:
    bool node(Place place) {
        Cursor at(bytes_, place.offset & kOffsetMask);
        if ((place.offset & kHasPrefix) != 0) {
            const auto prefix = at.text();
            if (!prefix) return false;
            place.key += *prefix;
        }
        if (place.key.size() > kKeyLimit) return false;
        if ((place.offset & kHasChildren) != 0 && !children(at, place.key)) return false;
        return (place.offset & kHasValues) == 0 || values(at, place.key);
    }

    bool children(Cursor& at, const std::string& key) {
        const auto first = at.u8();
        const auto last = at.u8();
        if (!first || !last || *first > *last) return false;
        const auto begin = places_.size();
        for (unsigned c = *first; c <= *last; ++c) {
            const auto offset = at.u32();
            if (!offset) return false;
            if ((*offset & kOffsetMask) == 0) continue;
            if (!take_bytes(key.size() + 1 + sizeof(Place))) return false;
            places_.push_back({*offset, key + static_cast<char>(c)});
        }
        // The last is taken first.
        std::reverse(places_.begin() + static_cast<std::ptrdiff_t>(begin), places_.end());
        return true;
    }

    bool values(Cursor& at, const std::string& key) {
        const auto count = at.u32();
        if (!count) return false;
        for (std::uint32_t i = 0; i < *count; ++i) {
            const auto priority = at.u32();
            const auto value = priority ? at.text() : std::nullopt;
            if (!value || !take_bytes(key.size() + value->size() + sizeof(IndexEntry))) {
                return false;
            }
            entries_.push_back({key, std::string(*value), *priority});
        }
        return true;
    }

    bool take_bytes(std::size_t bytes) {
        taken_ += bytes;
        return taken_ <= kEntriesLimit;
    }

    std::string_view bytes_;
    std::vector<Place> places_;
    std::vector<IndexEntry> entries_;
    std::size_t taken_ = 0;
};

class Writer {
  public:
    Writer() { bytes_.resize(kHeaderBytes); }

    /// Absent: it gets too large.
    std::optional<std::string> finish(std::span<const IndexEntry> entries) {
        const auto root = node(entries, 0, 0);
        if (bytes_.size() > kFileLimit) return std::nullopt;
        put_u32(0, kMagic);
        put_u32(4, kVersion);
        put_u32(8, root);
        return std::move(bytes_);
    }

  private:
    /// The node of sorted entries whose keys begin alike: in `end` characters, of which those from
    /// `depth` on are its prefix. Gives its offset. It goes no deeper than a key is long.
    std::uint32_t node(std::span<const IndexEntry> entries, std::size_t depth, std::size_t end) {
        const auto with_values = static_cast<std::size_t>(
            std::ranges::find_if(entries,
                                 [end](const IndexEntry& e) { return e.key.size() > end; }) -
            entries.begin());
        std::vector<std::uint32_t> children;
        const auto below = entries.subspan(with_values);
        const auto first = below.empty() ? 0U : letter(below.front(), end);
        if (!below.empty()) children.resize(letter(below.back(), end) - first + 1);
        for (std::size_t i = 0; i < below.size();) {
            const auto here = letter(below[i], end);
            std::size_t next = i;
            while (next < below.size() && letter(below[next], end) == here) ++next;
            const auto group = below.subspan(i, next - i);
            children[here - first] = node(group, end + 1, common(group, end + 1));
            i = next;
        }
        // The root has none, as depmod writes it.
        const auto prefix =
            depth == end ? std::string{} : entries.front().key.substr(depth, end - depth);
        return put(prefix, first, children, entries.first(with_values));
    }

    /// Characters that all keys have in common: what the first and the last of sorted ones have.
    static std::size_t common(std::span<const IndexEntry> entries, std::size_t from) {
        const std::string_view first = entries.front().key;
        const std::string_view last = entries.back().key;
        while (from < first.size() && from < last.size() && first[from] == last[from]) ++from;
        return from;
    }

    static unsigned letter(const IndexEntry& entry, std::size_t at) {
        return static_cast<unsigned char>(entry.key[at]);
    }

    std::uint32_t put(const std::string& prefix, unsigned first,
                      const std::vector<std::uint32_t>& children,
                      std::span<const IndexEntry> values) {
        if (bytes_.size() > kFileLimit) return 0;
        auto offset = static_cast<std::uint32_t>(bytes_.size());
        if (!prefix.empty()) {
            offset |= kHasPrefix;
            bytes_ += prefix;
            bytes_ += '\0';
        }
        if (!children.empty()) {
            offset |= kHasChildren;
            bytes_ += static_cast<char>(first);
            bytes_ += static_cast<char>(first + children.size() - 1);
            for (const auto child : children) append_u32(child);
        }
        if (!values.empty()) {
            offset |= kHasValues;
            append_u32(static_cast<std::uint32_t>(values.size()));
            for (const auto& entry : values) {
                append_u32(entry.priority);
                bytes_ += entry.value;
                bytes_ += '\0';
            }
        }
        return offset;
    }

    void append_u32(std::uint32_t value) {
        bytes_.resize(bytes_.size() + 4);
        put_u32(bytes_.size() - 4, value);
    }

    void put_u32(std::size_t at, std::uint32_t value) {
        for (std::size_t i = 4; i-- > 0; value >>= 8U) {
            bytes_[at + i] = static_cast<char>(value & 0xffU);
        }
    }

    std::string bytes_;
};

}  // namespace

bool can_be_in_index_file(const IndexEntry& entry) {
    return entry.key.size() <= kKeyLimit && entry.value.find('\0') == std::string::npos &&
           std::ranges::all_of(entry.key, [](char c) { return c > 0; });
}

Result<std::vector<IndexEntry>> read_index_file(std::string_view bytes) {
    Reader reader(bytes);
    if (!reader.read()) {
        return fail(Errc::corrupt,
                    fmt::format("{} bytes that are no index of modules of version {}", bytes.size(),
                                kMajorVersion));
    }
    return reader.take();
}

Result<std::string> write_index_file(std::vector<IndexEntry> entries) {
    std::erase_if(entries, [](const IndexEntry& entry) { return !can_be_in_index_file(entry); });
    // Not std::stable_sort: clang rejects libstdc++ 12's for its deprecated temporary buffer.
    std::vector<std::size_t> order(entries.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t at) {
        return std::tuple<const std::string&, std::uint32_t, std::size_t>(entries[at].key,
                                                                          entries[at].priority, at);
    });
    std::vector<IndexEntry> sorted;
    sorted.reserve(entries.size());
    for (const auto at : order) sorted.push_back(std::move(entries[at]));
    auto bytes = Writer().finish(sorted);
    if (!bytes) {
        return fail(
            Errc::corrupt,
            fmt::format("an index of modules of {} entries gets larger than the {} bytes expected",
                        sorted.size(), kFileLimit));
    }
    return *std::move(bytes);
}

}  // namespace amilift::image
