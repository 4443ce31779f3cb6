// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/compression.hpp"
#include "image/cpio.hpp"
#include "image/drivers.hpp"

namespace amilift::image {

/// The largest initramfs file that is read, in bytes.
inline constexpr std::size_t kInitramfsLimit = std::size_t{256} << 20;
/// What it may unpack to.
inline constexpr std::uint64_t kUnpackedLimit = std::uint64_t{512} << 20;

/// What lies in an initramfs: what the kernel would have as its first root filesystem.
struct InitramfsContents {
    InitramfsBuilder builder = InitramfsBuilder::unknown;
    std::vector<std::string> segments;        ///< "cpio", "zstd cpio", in file order
    std::string problem;                      ///< why it was not read to its end; empty: it was
    std::map<std::string, CpioType> members;  ///< name without leading "/" and "./"
    std::map<std::string, std::string>
        settings;  ///< text of its modprobe.conf and modprobe.d files
    /// Its modules.dep, .alias, .symbols and .softdep, and their .bin files, by name.
    std::map<std::string, std::string> module_indexes;
    std::optional<Compression> last;  ///< how the last segment is packed; absent: not
    bool has_gzip = false;            ///< a segment is packed by gzip
    bool has_open_archive = false;    ///< the last archive has no end mark
    bool has_zeros_at_end = false;    ///< of the last file
    std::uint64_t unpacked_bytes = 0;
};

/// Lists an initramfs file the way the kernel unpacks it: any number of cpio archives, plain (at
/// offsets divisible by 4) or packed, with zeros between them, later members replacing earlier
/// ones. Nothing is believed: sizes, counts and names are bounded. Source: init/initramfs.c,
/// Documentation/driver-api/early-userspace/buffer-format.rst.
[[nodiscard]] InitramfsContents read_initramfs(std::string_view bytes,
                                               std::uint64_t unpacked_limit = kUnpackedLimit);

/// The same for a further file that the boot loader puts behind those that `contents` is of.
void read_further_initramfs(std::string_view bytes, std::uint64_t unpacked_limit,
                            InitramfsContents& contents);

/// Where the modules of that kernel lie, or belong, in it: "usr/lib/modules/6.1.0".
[[nodiscard]] std::string module_directory(const InitramfsContents& contents,
                                           std::string_view version);

/// The version of a kernel whose modules are in it while none of `version` are: it was made for
/// that kernel. Empty: it has modules of `version`, or of no kernel at all.
[[nodiscard]] std::string other_kernel(const InitramfsContents& contents, std::string_view version);

/// Files to put into an initramfs: names as in InitramfsContents.
using InitramfsFiles = std::map<std::string, std::string>;

/// The bytes to append to the file that `contents` is of: zeros to a 4-byte boundary and one
/// archive with `files` and those directories above them that are not there. A name that is there
/// gets no directory, because it may be a link, and the kernel would replace it. It is packed the
/// way the kernel is known to unpack: by gzip if `gzip_is_known` or a segment of the file is, like
/// the last segment if that is lz4, whose reader does not stop, else not at all. Errors: internal.
[[nodiscard]] core::Result<std::string> make_addition(const InitramfsContents& contents,
                                                      std::uint64_t file_bytes,
                                                      const InitramfsFiles& files,
                                                      bool gzip_is_known);

/// May bytes be appended, and will the kernel read them? Behind an archive without an end mark the
/// kernel stops, kernels before 5.13 take zeros behind an lz4 stream for a broken block, and behind
/// an lzma stream bytes are not safe: where it ends is not told the same by all kernels.
[[nodiscard]] bool can_be_extended(const InitramfsContents& contents);

/// Why a module in a further archive behind the file would not be loaded, as the end of a sentence
/// about the file ("ends with ..."); empty: nothing speaks against it.
[[nodiscard]] std::string_view obstacle_to_addition(const InitramfsContents& contents);

}  // namespace amilift::image
