// SPDX-License-Identifier: Apache-2.0
#include "image/pv_kernel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "image/byte_view.hpp"
#include "image/compression.hpp"
#include "image/kernel.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;
using std::string_view_literals::operator""sv;

constexpr std::string_view kElfMagic =
    "\x7f"
    "ELF";
constexpr std::string_view kLzoMagic = "\x89LZO\0"sv;

// Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
constexpr std::size_t kSetupSectors = 0x1f1;
constexpr std::size_t kPayloadOffset = 0x248;
constexpr std::size_t kPayloadLength = 0x24c;
constexpr std::uint16_t kFirstProtocolWithPayload = 0x0208;

// elf(5).
constexpr std::uint64_t kProgramNote = 4;  // PT_NOTE
constexpr std::uint64_t kSectionNote = 7;  // SHT_NOTE
constexpr std::uint64_t kMachine386 = 3;
constexpr std::uint64_t kMachineX86_64 = 62;
/// Kernels have some ten of each, and some twenty notes.
constexpr std::uint64_t kMaxHeaders = 1024;
constexpr int kMaxNotes = 1024;

// Xen, public/elfnote.h.
constexpr std::uint64_t kNoteEntry = 1;
constexpr std::uint64_t kNoteXenVersion = 5;
constexpr std::uint64_t kNoteGuestOs = 6;
constexpr std::uint64_t kNoteLoader = 8;
constexpr std::uint64_t kNotePaeMode = 9;
constexpr std::uint64_t kNoteFeatures = 10;
constexpr std::uint64_t kNotePhys32Entry = 18;

std::unexpected<core::Error> refuse(std::string what, std::string_view id) {
    return core::fail(Errc::refused, std::move(what),
                      "install a kernel for Xen PV guests in the source and name it in its menu",
                      std::string(id));
}

/// A text of a note: up to its NUL, printable, so that it can go into messages.
std::string text_of(std::string_view bytes) {
    return printable(bytes.substr(0, bytes.find('\0')), 256);
}

/// An ELF image of either width. Nothing in it is trusted: a header that points outside of the
/// bytes counts as absent.
class Elf {
  public:
    static std::optional<Elf> of(std::string_view bytes) {
        constexpr std::size_t kShortest = 52;
        if (bytes.size() < kShortest || !bytes.starts_with(kElfMagic)) return std::nullopt;
        const auto width = static_cast<unsigned char>(bytes[4]);
        const auto order = static_cast<unsigned char>(bytes[5]);
        if ((width != 1 && width != 2) || order != 1) return std::nullopt;
        return Elf(bytes, width == 2);
    }

    [[nodiscard]] bool is_64_bit() const { return is_64_bit_; }
    [[nodiscard]] bool is_x86() const {
        return field(18, 18, 2) == (is_64_bit_ ? kMachineX86_64 : kMachine386);
    }
    [[nodiscard]] XenNotes notes() const;

  private:
    Elf(std::string_view bytes, bool is_64_bit) : bytes_(bytes), is_64_bit_(is_64_bit) {}

    /// Of the file header; the two widths have it at different places.
    [[nodiscard]] std::uint64_t field(std::uint64_t at_32, std::uint64_t at_64,
                                      std::size_t size) const {
        return number_at(bytes_, is_64_bit_ ? at_64 : at_32, size).value_or(0);
    }
    [[nodiscard]] std::size_t word() const { return is_64_bit_ ? 8 : 4; }

    struct Section {
        std::uint64_t name = 0;
        std::uint64_t type = 0;
        std::string_view contents;
    };
    [[nodiscard]] Section section(std::uint64_t index) const {
        const auto at = field(32, 40, word()) + index * field(46, 58, 2);
        Section out;
        out.name = number_at(bytes_, at, 4).value_or(0);
        out.type = number_at(bytes_, at + 4, 4).value_or(0);
        const auto offset = number_at(bytes_, at + (is_64_bit_ ? 24 : 16), word()).value_or(0);
        const auto size = number_at(bytes_, at + (is_64_bit_ ? 32 : 20), word()).value_or(0);
        out.contents = slice(bytes_, offset, size).value_or("");
        return out;
    }
    [[nodiscard]] std::uint64_t section_count() const {
        return std::min(field(48, 60, 2), kMaxHeaders);
    }
    [[nodiscard]] std::string_view section_name(const Section& wanted) const {
        const auto names = section(field(50, 62, 2)).contents;
        if (wanted.name >= names.size()) return {};
        const auto rest = names.substr(static_cast<std::size_t>(wanted.name));
        return rest.substr(0, rest.find('\0'));
    }

    std::string_view bytes_;
    bool is_64_bit_;
};

/// Takes what Xen's notes among `bytes` say. True if there is one.
bool read_notes(std::string_view bytes, XenNotes& out) {
    constexpr std::size_t kHeader = 12;
    const auto padded = [](std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; };
    bool any = false;
    bool has_entry = false;
    bool has_pvh_entry = false;
    std::uint64_t at = 0;
    for (int i = 0; i < kMaxNotes && bytes.size() >= kHeader && at <= bytes.size() - kHeader; ++i) {
        const auto name_size = number_at(bytes, at, 4).value_or(0);
        const auto size = number_at(bytes, at + 4, 4).value_or(0);
        const auto type = number_at(bytes, at + 8, 4).value_or(0);
        const auto name = slice(bytes, at + kHeader, name_size).value_or("");
        const auto value = slice(bytes, at + kHeader + padded(name_size), size).value_or("");
        at += kHeader + padded(name_size) + padded(size);
        if (name != "Xen\0"sv) continue;
        any = true;
        switch (type) {
            case kNoteEntry:
                has_entry = true;
                break;
            case kNotePhys32Entry:
                has_pvh_entry = true;
                break;
            case kNoteXenVersion:
                out.xen_version = text_of(value);
                break;
            case kNoteGuestOs:
                out.guest_os = text_of(value);
                break;
            case kNoteLoader:
                out.loader = text_of(value);
                break;
            case kNotePaeMode:
                out.pae_mode = text_of(value);
                break;
            case kNoteFeatures:
                out.features = text_of(value);
                break;
            default:
                break;
        }
    }
    // Without either note it is the ELF header's entry, which is how the first kernels did it.
    if (any) out.has_pv_entry = has_entry || !has_pvh_entry;
    return any;
}

/// "GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,LOADER=generic,PAE=yes"
XenNotes read_guest_section(std::string_view text) {
    XenNotes out;
    out.has_pv_entry = true;
    text = text.substr(0, text.find('\0'));
    while (!text.empty()) {
        const auto item = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), item.size() + 1));
        const auto equals = item.find('=');
        const auto key = item.substr(0, equals);
        const auto value = equals == std::string_view::npos ? "" : text_of(item.substr(equals + 1));
        if (key == "GUEST_OS") out.guest_os = value;
        if (key == "XEN_VER") out.xen_version = value;
        if (key == "LOADER") out.loader = value;
        if (key == "FEATURES") out.features = value;
        if (key == "PAE") out.pae_mode = value.empty() ? "yes" : value;
    }
    return out;
}

/// As Xen looks for them: the segments, then the sections, then the old section.
XenNotes Elf::notes() const {
    XenNotes out;
    bool any = false;
    const auto segments = std::min(field(44, 56, 2), kMaxHeaders);
    for (std::uint64_t i = 0; i < segments; ++i) {
        const auto at = field(28, 32, word()) + i * field(42, 54, 2);
        if (number_at(bytes_, at, 4) != kProgramNote) continue;
        const auto offset = number_at(bytes_, at + (is_64_bit_ ? 8 : 4), word()).value_or(0);
        const auto size = number_at(bytes_, at + (is_64_bit_ ? 32 : 16), word()).value_or(0);
        any = read_notes(slice(bytes_, offset, size).value_or(""), out) || any;
    }
    if (any) return out;
    for (std::uint64_t i = 0; i < section_count(); ++i) {
        const auto found = section(i);
        if (found.type == kSectionNote) any = read_notes(found.contents, out) || any;
    }
    if (any) return out;
    for (std::uint64_t i = 0; i < section_count(); ++i) {
        const auto found = section(i);
        if (section_name(found) == "__xen_guest") return read_guest_section(found.contents);
    }
    return out;
}

/// What Xen's domain builder asks of the notes. Source: Xen, xen/common/libelf/libelf-dominfo.c.
Result<> require_pv_guest(const PvKernel& kernel) {
    const auto& notes = kernel.notes;
    if (notes.xen_version.empty()) {
        return refuse("the kernel has no notes for Xen: it was built without support for Xen PV",
                      "pv-kernel-no-xen");
    }
    if (!notes.has_pv_entry) {
        return refuse("the kernel's notes for Xen have an entry for PVH only", "pv-kernel-no-xen");
    }
    if (!notes.xen_version.starts_with("xen-3.0") ||
        (notes.guest_os != "linux" && !notes.loader.starts_with("generic"))) {
        return refuse(fmt::format("the kernel's notes for Xen are for guest '{}' of '{}' and "
                                  "loader '{}', expected guest 'linux' of 'xen-3.0'",
                                  notes.guest_os, notes.xen_version, notes.loader),
                      "pv-kernel-no-xen");
    }
    if (!kernel.is_64_bit && !notes.pae_mode.starts_with("yes") &&
        !notes.pae_mode.starts_with("bimodal")) {
        return refuse("the kernel has 32 bits without PAE, which a Xen of 64 bits does not start",
                      "pv-kernel-no-pae");
    }
    return {};
}

Result<PvKernel> parse_elf(std::string_view bytes, std::string compression) {
    const auto elf = Elf::of(bytes);
    if (!elf || !elf->is_x86()) {
        return refuse("what the kernel file holds is no ELF image for x86", "pv-kernel-damaged");
    }
    PvKernel kernel{elf->is_64_bit(), std::move(compression), elf->notes()};
    AMILIFT_CHECK(require_pv_guest(kernel));
    return kernel;
}

/// An ELF image, perhaps packed; `what` names it in messages.
Result<PvKernel> parse_packed(std::string_view bytes, std::string_view what) {
    if (bytes.starts_with(kElfMagic)) return parse_elf(bytes, "");
    const auto compression = compression_of(bytes);
    const bool accepted = compression == Compression::gzip || compression == Compression::bzip2 ||
                          compression == Compression::xz;
    if (!accepted) {
        return refuse(
            fmt::format("{} is packed by {}, PV-GRUB unpacks gzip, bzip2, lzo and xz only", what,
                        compression ? to_string(*compression) : "an unknown program"),
            "pv-kernel-compression");
    }
    const std::string name(to_string(*compression));
    auto unpacked = unpack_all(bytes, *compression, kMaxUnpackedKernelBytes);
    if (!unpacked) {
        return refuse(fmt::format("{}: {}", what, unpacked.error().what), "pv-kernel-damaged");
    }
    return parse_elf(*unpacked, name);
}

Result<PvKernel> parse_bz_image(std::string_view bytes, const KernelHeader& header) {
    if (header.protocol < kFirstProtocolWithPayload) {
        return refuse(fmt::format("the kernel has boot protocol {}.{:02}, PV-GRUB needs 2.08 or "
                                  "later",
                                  header.protocol >> 8U, header.protocol & 0xffU),
                      "pv-kernel-format");
    }
    const unsigned setup = static_cast<unsigned char>(bytes[kSetupSectors]);
    const std::uint64_t setup_bytes = (std::uint64_t{setup == 0 ? 4 : setup} + 1) * 512;
    const auto offset = number_at(bytes, kPayloadOffset, 4);
    const auto length = number_at(bytes, kPayloadLength, 4);
    const auto payload = offset && length
                             ? slice(bytes, setup_bytes + *offset, *length).value_or("")
                             : std::string_view{};
    if (payload.empty()) {
        return refuse("the kernel's header names a payload that is not in the file",
                      "pv-kernel-damaged");
    }
    if (payload.starts_with(kLzoMagic)) {
        return PvKernel{header.is_64_bit.value_or(true), "lzo", {}};
    }
    return parse_packed(payload, "the kernel");
}

}  // namespace

Result<PvKernel> parse_pv_kernel(std::string_view bytes) {
    const auto header = parse_kernel_header(bytes);
    switch (header.format) {
        case KernelFormat::bz_image:
            return parse_bz_image(bytes, header);
        case KernelFormat::elf:
        case KernelFormat::gzip:
            return parse_packed(bytes, "the kernel file");
        case KernelFormat::unknown:
            break;
    }
    return refuse(
        "the file is neither a bzImage nor an ELF image, which is all that PV-GRUB starts",
        "pv-kernel-format");
}

Result<PvKernel> inspect_pv_kernel(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const auto bytes, root.read(path, kMaxKernelBytes));
    const auto named = [path](core::Error error) {
        return std::unexpected(std::move(error).with_context(fmt::format("'{}'", path)));
    };
    auto kernel = parse_pv_kernel(bytes);
    if (!kernel) return named(std::move(kernel).error());
    if (kernel->compression != "lzo") return kernel;
    AMILIFT_TRY(const auto facts, inspect_kernel(root, path));
    kernel->is_64_bit = facts.is_64_bit;
    if (facts.starts_on_xen_pv.value_or(false)) return kernel;
    auto refusal = refuse(facts.config_path.empty()
                              ? std::string("the kernel is packed by lzo, and there is no config "
                                            "that says whether it can be a Xen PV guest")
                              : fmt::format("{} has no CONFIG_XEN_PV=y: the kernel was built "
                                            "without support for Xen PV",
                                            facts.config_path),
                          "pv-kernel-no-xen");
    return named(std::move(refusal).error());
}

}  // namespace amilift::image
