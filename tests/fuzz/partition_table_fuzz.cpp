// SPDX-License-Identifier: Apache-2.0
// Partition tables of a disk, DOS with logical partitions and GPT, and the boot sectors that they
// lead to: no partition lies outside of the disk, and none overlaps another. The first byte of the
// input chooses the layout, the rest lies at the disk's start. A GPT gets the checksums that its
// content asks for, else hardly any input would come past them.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <string>

#include "dev/block_device.hpp"
#include "dev/byte_order.hpp"
#include "dev/partitions.hpp"
#include "fuzz.hpp"

namespace fuzz = amilift::fuzz;
namespace dev = amilift::dev;

namespace {

constexpr std::size_t kSector = 512;
constexpr std::size_t kWritten = 64 * kSector;
constexpr std::uint64_t kDisk = std::uint64_t{8} << 20;

std::uint32_t checksum(std::span<const std::byte> bytes) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): zlib's interface
    const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
    return static_cast<std::uint32_t>(::crc32(0, data, static_cast<uInt>(bytes.size())));
}

/// UEFI specification 2.10, 5.3.2: the header's own checksum counts as 0 while it is made.
void mend_checksums(std::span<std::byte> disk) {
    const auto header = disk.subspan(kSector, kSector);
    const auto size = dev::load_le<std::uint32_t>(header, 12);
    const auto count = dev::load_le<std::uint32_t>(header, 80);
    const auto entry = dev::load_le<std::uint32_t>(header, 84);
    const auto bytes = std::uint64_t{count} * entry;
    if (bytes <= disk.size() - 2 * kSector) {
        dev::store_le(header, 88, checksum(disk.subspan(2 * kSector, bytes)));
    }
    dev::store_le(header, 16, std::uint32_t{0});
    if (size <= kSector) dev::store_le(header, 16, checksum(header.first(size)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const int file = ::memfd_create("disk", MFD_CLOEXEC);
    static const auto path = "/proc/self/fd/" + std::to_string(file);
    fuzz::require(file >= 0 && ::ftruncate(file, static_cast<off_t>(kDisk)) == 0);
    if (size < 1) return 0;
    std::array<std::byte, kWritten> start{};
    std::ranges::copy(fuzz::as_bytes(data, size).subspan(1, std::min(size - 1, kWritten)),
                      start.begin());
    const bool is_gpt = (data[0] & 1U) != 0;
    if (is_gpt) mend_checksums(start);
    fuzz::require(::pwrite(file, start.data(), start.size(), 0) ==
                  static_cast<ssize_t>(start.size()));

    const auto disk = dev::BlockDevice::open(path, dev::Access::read_only);
    fuzz::require(disk.has_value());
    const auto parsed =
        dev::read_partitions(*disk, is_gpt ? dev::DiskLayout::gpt : dev::DiskLayout::mbr);
    if (!parsed) return 0;
    for (std::size_t i = 0; i < parsed->size(); ++i) {
        const auto& a = (*parsed)[i];
        fuzz::require(a.number >= 1 && a.offset_bytes <= kDisk &&
                      a.size_bytes <= kDisk - a.offset_bytes);
        for (std::size_t k = 0; k < i; ++k) {
            const auto& b = (*parsed)[k];
            fuzz::require(a.number != b.number &&
                          (a.offset_bytes + a.size_bytes <= b.offset_bytes ||
                           b.offset_bytes + b.size_bytes <= a.offset_bytes));
        }
    }
    (void)dev::read_boot_code(*disk, *parsed);
    return 0;
}
