// SPDX-License-Identifier: Apache-2.0
#include "job/encoding.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace amilift::job {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// The owner of an inflate state.
class Inflater {
  public:
    Inflater() = default;
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;
    ~Inflater() {
        if (open_) inflateEnd(&stream_);
    }

    /// 15 bits of window, and 16 for "gzip header and trailer only".
    [[nodiscard]] bool open() {
        open_ = inflateInit2(&stream_, 15 + 16) == Z_OK;
        return open_;
    }
    [[nodiscard]] z_stream& stream() { return stream_; }

  private:
    z_stream stream_{};
    bool open_ = false;
};

}  // namespace

bool is_gzip(std::string_view bytes) noexcept {
    return bytes.starts_with("\x1f\x8b\x08");
}

Result<std::string> gunzip(std::string_view bytes, std::size_t limit, std::string_view name) {
    if (bytes.size() > std::numeric_limits<uInt>::max()) {
        return fail(Errc::invalid_input, fmt::format("{} is too large", name));
    }
    Inflater inflater;
    if (!inflater.open()) return fail(Errc::internal, "zlib cannot start to unpack gzip");
    // zlib takes a pointer to non-const and does not write through it.
    std::vector<Bytef> input(bytes.begin(), bytes.end());
    auto& stream = inflater.stream();
    stream.next_in = input.data();
    stream.avail_in = static_cast<uInt>(input.size());

    std::string out;
    std::vector<Bytef> chunk(std::size_t{16} * 1024);
    while (true) {
        stream.next_out = chunk.data();
        stream.avail_out = static_cast<uInt>(chunk.size());
        const int status = inflate(&stream, Z_NO_FLUSH);
        const auto count = chunk.size() - stream.avail_out;
        if (out.size() + count > limit) {
            return fail(Errc::invalid_input,
                        fmt::format("{} unpacks to more than {} bytes", name, limit),
                        "user-data for amilift is a small document");
        }
        out.append(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(count));
        if (status == Z_STREAM_END) {
            const auto rest = bytes.substr(bytes.size() - stream.avail_in);
            if (rest.find_first_not_of('\0') == std::string_view::npos) return out;
            if (!is_gzip(rest)) {
                return fail(Errc::invalid_input,
                            fmt::format("{} has {} bytes after its gzip data", name, rest.size()),
                            "compress the document once more");
            }
            inflateReset(&stream);
        } else if (status != Z_OK || count == 0) {
            // Z_OK without output: all input is used up. Z_BUF_ERROR: the same.
            const bool cut_off = status == Z_OK || status == Z_BUF_ERROR;
            return fail(Errc::invalid_input,
                        fmt::format("{} is gzip data that {}", name,
                                    cut_off ? "ends too early" : "is damaged"),
                        "compress the document once more");
        }
    }
}

std::optional<std::string> decode_base64(std::string_view text) {
    std::string out;
    out.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    int characters = 0;
    int padding = 0;
    for (const char c : text) {
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        std::uint32_t value = 0;
        if (c >= 'A' && c <= 'Z') {
            value = static_cast<std::uint32_t>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            value = static_cast<std::uint32_t>(c - 'a') + 26;
        } else if (c >= '0' && c <= '9') {
            value = static_cast<std::uint32_t>(c - '0') + 52;
        } else if (c == '+') {
            value = 62;
        } else if (c == '/') {
            value = 63;
        } else if (c == '=' && characters >= 2) {
            ++padding;
        } else {
            return std::nullopt;
        }
        // Nothing comes after padding, except more of it in the same group of four.
        if (padding > 0 && c != '=') return std::nullopt;
        if (padding > 0 && characters == 0) return std::nullopt;
        group = (group << 6U) | value;
        if (++characters == 4) {
            out += static_cast<char>((group >> 16U) & 0xFFU);
            if (padding < 2) out += static_cast<char>((group >> 8U) & 0xFFU);
            if (padding < 1) out += static_cast<char>(group & 0xFFU);
            group = 0;
            characters = 0;
        }
    }
    if (characters != 0 || out.empty()) return std::nullopt;
    return out;
}

}  // namespace amilift::job
