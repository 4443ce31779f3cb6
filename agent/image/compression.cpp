// SPDX-License-Identifier: Apache-2.0
#include "image/compression.hpp"

#include <bzlib.h>
#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "core/owned.hpp"

namespace amilift::image {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kPiece = std::size_t{256} << 10;
/// What the decoders may use: the kernel's own limit for zstd is a window of 128 MiB, and xz -9
/// needs 65 MiB.
constexpr std::uint64_t kDecoderMemory = std::uint64_t{160} << 20;
/// libbz2 and zlib count in 32 bits.
constexpr std::size_t kMaxInput = std::size_t{1} << 30;

// Blocks of `lz4 -l`. Source: the kernel's lib/decompress_unlz4.c.
constexpr std::uint32_t kLz4Magic = 0x184c2102;
constexpr std::size_t kLz4Block = std::size_t{8} << 20;

enum class Progress { more, end, broken };

/// Where a decoder reads and writes.
struct Window {
    std::string_view in;       ///< all of the input
    std::size_t at = 0;        ///< bytes of it that are used up
    std::vector<char>& out;    ///< room for unpacked bytes
    std::size_t produced = 0;  ///< bytes of it that are filled

    [[nodiscard]] std::string_view rest() const { return in.substr(at); }
};

std::unexpected<core::Error> damaged(Compression compression, std::size_t at) {
    return fail(Errc::corrupt, fmt::format("the {} stream is damaged or cut at its byte {}",
                                           to_string(compression), at));
}

/// Calls `step`, which moves the window on, until the stream's end.
template <class Step>
Result<std::size_t> run(std::string_view bytes, Compression compression, std::uint64_t limit,
                        const UnpackedSink& sink, std::size_t room, Step step) {
    std::vector<char> out(room);
    std::size_t at = 0;
    std::uint64_t total = 0;
    while (true) {
        Window window{bytes, at, out};
        const auto progress = step(window);
        total += window.produced;
        if (total > limit) {
            return fail(Errc::corrupt, fmt::format("the {} stream unpacks to more than {} bytes",
                                                   to_string(compression), limit));
        }
        if (window.produced > 0) AMILIFT_CHECK(sink({out.data(), window.produced}));
        if (progress == Progress::end) return window.at;
        // A decoder that asks for more input at its end has been cut.
        const bool stuck = window.at == at && window.produced == 0;
        if (progress == Progress::broken || stuck) return damaged(compression, window.at);
        at = window.at;
    }
}

Result<> require_decoder(bool made, Compression compression) {
    if (made) return {};
    return fail(Errc::internal,
                fmt::format("cannot set up a decoder for {}", to_string(compression)));
}

struct InflateEnd {
    void operator()(z_stream* z) const noexcept { ::inflateEnd(z); }
};
struct DeflateEnd {
    void operator()(z_stream* z) const noexcept { ::deflateEnd(z); }
};
struct BzipEnd {
    void operator()(bz_stream* z) const noexcept { ::BZ2_bzDecompressEnd(z); }
};
struct LzmaEnd {
    void operator()(lzma_stream* z) const noexcept { ::lzma_end(z); }
};

/// windowBits of zlib: the largest window, with a gzip header. Source: zlib.h.
constexpr int kGzipWindow = 15 + 16;

Result<std::size_t> unpack_gzip(std::string_view bytes, std::uint64_t limit,
                                const UnpackedSink& sink) {
    z_stream z{};
    AMILIFT_CHECK(require_decoder(::inflateInit2(&z, kGzipWindow) == Z_OK, Compression::gzip));
    const std::unique_ptr<z_stream, InflateEnd> owner(&z);
    return run(bytes, Compression::gzip, limit, sink, kPiece, [&z](Window& window) {
        const auto rest = window.rest();
        z.next_in = reinterpret_cast<const Bytef*>(rest.data());
        z.avail_in = static_cast<uInt>(rest.size());
        z.next_out = reinterpret_cast<Bytef*>(window.out.data());
        z.avail_out = static_cast<uInt>(window.out.size());
        const int code = ::inflate(&z, Z_NO_FLUSH);
        window.at += rest.size() - z.avail_in;
        window.produced = window.out.size() - z.avail_out;
        if (code == Z_STREAM_END) return Progress::end;
        return code == Z_OK || code == Z_BUF_ERROR ? Progress::more : Progress::broken;
    });
}

Result<std::size_t> unpack_lzma(std::string_view bytes, Compression compression,
                                std::uint64_t limit, const UnpackedSink& sink) {
    lzma_stream z = LZMA_STREAM_INIT;
    // Without LZMA_CONCATENATED: like the kernel, one stream and then whatever follows.
    const auto made = compression == Compression::xz ? ::lzma_stream_decoder(&z, kDecoderMemory, 0)
                                                     : ::lzma_alone_decoder(&z, kDecoderMemory);
    AMILIFT_CHECK(require_decoder(made == LZMA_OK, compression));
    const std::unique_ptr<lzma_stream, LzmaEnd> owner(&z);
    return run(bytes, compression, limit, sink, kPiece, [&z](Window& window) {
        const auto rest = window.rest();
        z.next_in = reinterpret_cast<const std::uint8_t*>(rest.data());
        z.avail_in = rest.size();
        z.next_out = reinterpret_cast<std::uint8_t*>(window.out.data());
        z.avail_out = window.out.size();
        const auto code = ::lzma_code(&z, LZMA_RUN);
        window.at += rest.size() - z.avail_in;
        window.produced = window.out.size() - z.avail_out;
        if (code == LZMA_STREAM_END) return Progress::end;
        return code == LZMA_OK || code == LZMA_BUF_ERROR ? Progress::more : Progress::broken;
    });
}

Result<std::size_t> unpack_bzip2(std::string_view bytes, std::uint64_t limit,
                                 const UnpackedSink& sink) {
    bz_stream z{};
    AMILIFT_CHECK(require_decoder(::BZ2_bzDecompressInit(&z, 0, 0) == BZ_OK, Compression::bzip2));
    const std::unique_ptr<bz_stream, BzipEnd> owner(&z);
    return run(bytes, Compression::bzip2, limit, sink, kPiece, [&z](Window& window) {
        const auto rest = window.rest();
        // libbz2 only reads there, its interface is older than const.
        z.next_in = const_cast<char*>(rest.data());
        z.avail_in = static_cast<unsigned>(rest.size());
        z.next_out = window.out.data();
        z.avail_out = static_cast<unsigned>(window.out.size());
        const int code = ::BZ2_bzDecompress(&z);
        window.at += rest.size() - z.avail_in;
        window.produced = window.out.size() - z.avail_out;
        if (code == BZ_STREAM_END) return Progress::end;
        return code == BZ_OK ? Progress::more : Progress::broken;
    });
}

Result<std::size_t> unpack_zstd(std::string_view bytes, std::uint64_t limit,
                                const UnpackedSink& sink) {
    const core::Owned<ZSTD_DCtx, ZSTD_freeDCtx> context(::ZSTD_createDCtx());
    AMILIFT_CHECK(require_decoder(context != nullptr, Compression::zstd));
    return run(bytes, Compression::zstd, limit, sink, kPiece, [&context](Window& window) {
        ZSTD_inBuffer in{window.in.data(), window.in.size(), window.at};
        ZSTD_outBuffer out{window.out.data(), window.out.size(), 0};
        const auto code = ::ZSTD_decompressStream(context.get(), &out, &in);
        window.at = in.pos;
        window.produced = out.pos;
        if (::ZSTD_isError(code) != 0) return Progress::broken;
        return code == 0 ? Progress::end : Progress::more;
    });
}

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) {
        value = (value << 8U) | static_cast<unsigned char>(bytes[at + i]);
    }
    return value;
}

void append_u32(std::string& out, std::uint32_t value) {
    for (int i = 0; i < 4; ++i, value >>= 8U) out.push_back(static_cast<char>(value & 0xffU));
}

/// The format has no end mark: it ends with the file, or with a block of no bytes, which is how the
/// kernel takes the zeros that boot loaders put behind an initramfs.
Result<std::size_t> unpack_lz4(std::string_view bytes, std::uint64_t limit,
                               const UnpackedSink& sink) {
    return run(bytes, Compression::lz4_legacy, limit, sink, kLz4Block, [](Window& window) {
        const auto rest = window.rest();
        if (rest.size() < 4) return Progress::end;
        const std::size_t size = u32_at(rest, 0);
        if (size == 0) return Progress::end;
        if (size == kLz4Magic) {
            window.at += 4;
            return Progress::more;
        }
        if (size > LZ4_COMPRESSBOUND(kLz4Block) || size > rest.size() - 4) return Progress::broken;
        const int made =
            ::LZ4_decompress_safe(rest.data() + 4, window.out.data(), static_cast<int>(size),
                                  static_cast<int>(window.out.size()));
        if (made < 0) return Progress::broken;
        window.at += 4 + size;
        window.produced = static_cast<std::size_t>(made);
        return Progress::more;
    });
}

}  // namespace

std::string_view to_string(Compression compression) noexcept {
    switch (compression) {
        case Compression::gzip:
            return "gzip";
        case Compression::xz:
            return "xz";
        case Compression::lzma:
            return "lzma";
        case Compression::zstd:
            return "zstd";
        case Compression::bzip2:
            return "bzip2";
        case Compression::lz4_legacy:
            break;
    }
    return "lz4";
}

std::optional<Compression> compression_of(std::string_view bytes) {
    struct Magic {
        std::string_view bytes;
        Compression compression;
    };
    using std::string_view_literals::operator""sv;
    for (const auto& magic :
         {Magic{"\x1f\x8b"sv, Compression::gzip},
          Magic{"\xfd"
                "7zXZ\0"sv,
                Compression::xz},
          Magic{"\x5d\0\0"sv, Compression::lzma}, Magic{"\x28\xb5\x2f\xfd"sv, Compression::zstd},
          Magic{"BZh"sv, Compression::bzip2},
          Magic{"\x02\x21\x4c\x18"sv, Compression::lz4_legacy}}) {
        if (bytes.starts_with(magic.bytes)) return magic.compression;
    }
    return std::nullopt;
}

Result<std::size_t> unpack(std::string_view bytes, Compression compression, std::uint64_t limit,
                           const UnpackedSink& sink) {
    if (bytes.size() > kMaxInput) {
        return fail(Errc::corrupt, fmt::format("a {} stream of {} bytes, expected at most {}",
                                               to_string(compression), bytes.size(), kMaxInput));
    }
    switch (compression) {
        case Compression::gzip:
            return unpack_gzip(bytes, limit, sink);
        case Compression::xz:
        case Compression::lzma:
            return unpack_lzma(bytes, compression, limit, sink);
        case Compression::zstd:
            return unpack_zstd(bytes, limit, sink);
        case Compression::bzip2:
            return unpack_bzip2(bytes, limit, sink);
        case Compression::lz4_legacy:
            break;
    }
    return unpack_lz4(bytes, limit, sink);
}

Result<std::string> unpack_all(std::string_view bytes, Compression compression,
                               std::uint64_t limit) {
    std::string out;
    AMILIFT_CHECK(unpack(bytes, compression, limit, [&out](std::string_view piece) -> Result<> {
        out += piece;
        return {};
    }));
    return out;
}

Result<std::string> pack_gzip(std::string_view bytes) {
    z_stream z{};
    if (bytes.size() > kMaxInput ||
        ::deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, MAX_MEM_LEVEL,
                       Z_DEFAULT_STRATEGY) != Z_OK) {
        return fail(Errc::internal, fmt::format("cannot pack {} bytes by gzip", bytes.size()));
    }
    const std::unique_ptr<z_stream, DeflateEnd> owner(&z);
    std::string out(::deflateBound(&z, bytes.size()), '\0');
    z.next_in = reinterpret_cast<const Bytef*>(bytes.data());
    z.avail_in = static_cast<uInt>(bytes.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    if (::deflate(&z, Z_FINISH) != Z_STREAM_END) {
        return fail(Errc::internal, fmt::format("gzip did not end after {} bytes", bytes.size()));
    }
    out.resize(out.size() - z.avail_out);
    return out;
}

Result<std::string> pack_lz4_legacy(std::string_view bytes) {
    std::string out;
    append_u32(out, kLz4Magic);
    std::vector<char> block(LZ4_COMPRESSBOUND(kLz4Block));
    while (!bytes.empty()) {
        const auto piece = bytes.substr(0, kLz4Block);
        const int size =
            ::LZ4_compress_default(piece.data(), block.data(), static_cast<int>(piece.size()),
                                   static_cast<int>(block.size()));
        if (size <= 0) return fail(Errc::internal, "lz4 did not pack a block");
        append_u32(out, static_cast<std::uint32_t>(size));
        out.append(block.data(), static_cast<std::size_t>(size));
        bytes.remove_prefix(piece.size());
    }
    return out;
}

}  // namespace amilift::image
