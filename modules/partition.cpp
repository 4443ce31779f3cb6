// SPDX-License-Identifier: Apache-2.0
#include "modules/partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/fd.hpp"
#include "modules/in_place.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// A GPT keeps its second copy in the last 33 sectors of a disk (UEFI specification 5.3.1).
constexpr std::uint64_t kGptTailBytes = 33 * dev::kSectorBytes;

dev::MbrPartition root_partition(const dev::FilesystemInfo& filesystem) {
    dev::MbrPartition partition;
    partition.active = true;
    partition.start_sector = dev::kRootStartSector;
    partition.sector_count = (filesystem.size_bytes + dev::kSectorBytes - 1) / dev::kSectorBytes;
    return partition;
}

Result<> zero(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t length) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(length));
    return core::write_all_at(disk.fd(), zeros, offset, disk.path());
}

Result<> apply(ApplyContext& context, const std::array<std::byte, 512>& sector) {
    const auto& disk = context.target();
    // What an earlier use left would be believed: a GPT at sector 1 and at the end, a superblock in
    // the gap. The copy comes later and writes whatever of the end belongs to the filesystem.
    if (context.target_content() != dev::TargetContent::zeros) {
        const auto tail = std::min(kGptTailBytes, disk.size_bytes() - kRootOffset);
        AMILIFT_CHECK(zero(disk, disk.size_bytes() - tail, tail));
        AMILIFT_CHECK(zero(disk, 0, kRootOffset));
    }
    return core::write_all_at(disk.fd(), sector, 0, disk.path());
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto layout = context.options.layout;
    if (layout == job::Layout::in_place) AMILIFT_CHECK(require_in_place(context));
    const auto needed = target_bytes_needed(context.filesystem.size_bytes, layout);
    if (context.target_bytes && *context.target_bytes < needed) {
        return fail(Errc::no_space,
                    fmt::format("target disk has {} bytes, the filesystem of {} bytes and the gap "
                                "before it need {}",
                                *context.target_bytes, context.filesystem.size_bytes, needed),
                    fmt::format("use a target of at least {} GiB", ((needed - 1) >> 30) + 1));
    }
    // Sector 0 of such a disk is the boot loader's.
    if (layout == job::Layout::in_place) return std::vector<Step>{};
    const auto partition = root_partition(context.filesystem);
    AMILIFT_TRY(const auto sector,
                dev::make_mbr(partition, disk_signature(context.filesystem.uuid)));
    return std::vector<Step>{
        {"partition",
         fmt::format("write partition table: one active 0x83 partition, {}..{}, disk signature "
                     "{:08x}",
                     partition.start_sector, partition.start_sector + partition.sector_count - 1,
                     disk_signature(context.filesystem.uuid)),
         [sector](ApplyContext& apply_context) { return apply(apply_context, sector); }}};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (context.options.layout == job::Layout::in_place) return std::vector<std::string>{};
    std::array<std::byte, 512> sector{};
    AMILIFT_CHECK(core::read_exactly_at(context.target.fd(), sector, 0, context.target.path()));
    AMILIFT_TRY(const auto partitions,
                dev::parse_mbr(sector, context.target.size_bytes() / dev::kSectorBytes));
    const auto wanted = root_partition(context.filesystem);
    const bool right = partitions.size() == 1 && partitions[0].number == wanted.number &&
                       partitions[0].type == wanted.type && partitions[0].active &&
                       partitions[0].start_sector == wanted.start_sector &&
                       partitions[0].sector_count == wanted.sector_count;
    if (!right) {
        return fail(Errc::corrupt,
                    fmt::format("partition table of '{}' has {} partitions, expected one active "
                                "0x83 partition at sector {} with {} sectors",
                                context.target.path(), partitions.size(), wanted.start_sector,
                                wanted.sector_count),
                    "the target does not keep what is written to it; use another volume");
    }
    return std::vector<std::string>{
        fmt::format("partition table has one active 0x83 partition, {}..{}", wanted.start_sector,
                    wanted.start_sector + wanted.sector_count - 1)};
}

constexpr Module kModule{"partition", plan, verify};

}  // namespace

const Module& partition_module() {
    return kModule;
}

std::uint64_t target_bytes_needed(std::uint64_t filesystem_bytes, job::Layout layout) {
    const auto sectors = (filesystem_bytes + dev::kSectorBytes - 1) / dev::kSectorBytes;
    return root_offset(layout) + sectors * dev::kSectorBytes;
}

std::uint32_t disk_signature(std::string_view filesystem_uuid) {
    const auto digest = image::sha256_hex(filesystem_uuid);
    std::uint32_t signature = 0;
    std::from_chars(digest.data(), digest.data() + 8, signature, 16);
    return signature == 0 ? 1 : signature;
}

}  // namespace amilift::modules
