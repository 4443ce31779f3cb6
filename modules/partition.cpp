// SPDX-License-Identifier: Apache-2.0
#include "modules/partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "core/fd.hpp"
#include "core/sha256.hpp"
#include "dev/byte_order.hpp"
#include "dev/gpt.hpp"
#include "modules/boot_area.hpp"
#include "modules/in_place.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::uint64_t kGptTailBytes = dev::kGptTableSectors * dev::kSectorBytes;
constexpr std::uint64_t kMebibyte = (1U << 20) / dev::kSectorBytes;
constexpr std::uint64_t kGibibyte = (1U << 30) / dev::kSectorBytes;
/// One program of about 1 MiB lies in it; FAT32, which all firmware reads, needs 33 MiB.
constexpr std::uint64_t kEspSectors = 64 * kMebibyte;
// The numbers that cloud images have: the root stays partition 1, which growpart(1) wants.
constexpr int kRootNumber = 1;
constexpr int kBiosBootNumber = 14;
constexpr int kEspNumber = 15;

/// Both ways of the table, ready to be written.
struct Tables {
    std::string text;              ///< for people
    std::vector<std::byte> front;  ///< from sector 0 on
    std::vector<std::byte> back;   ///< up to the end of the disk; empty for mbr
};

dev::MbrPartition root_partition(const DiskPlan& disk) {
    dev::MbrPartition partition;
    partition.active = true;
    partition.start_sector = dev::kRootStartSector;
    partition.sector_count = disk.root_sectors;
    return partition;
}

/// A GUID made from the filesystem's UUID and the object's name: done again it is the same.
Result<dev::Guid> derived_guid(std::string_view filesystem_uuid, std::string_view object) {
    AMILIFT_TRY(const auto digest, core::sha256_hex(fmt::format("{}/{}", filesystem_uuid, object)));
    auto guid = dev::guid_of(std::string_view(digest).substr(0, 32));
    // Version 8 (made by a rule of one's own) and variant 1: RFC 9562, 5.8.
    guid[7] = (guid[7] & std::byte{0x0f}) | std::byte{0x80};
    guid[8] = (guid[8] & std::byte{0x3f}) | std::byte{0x80};
    return guid;
}

Result<Tables> make_mbr_tables(const DiskPlan& disk, const std::string& uuid) {
    const auto partition = root_partition(disk);
    AMILIFT_TRY(const auto signature, disk_signature(uuid));
    AMILIFT_TRY(const auto sector, dev::make_mbr(partition, signature));
    return Tables{fmt::format("one active 0x83 partition, {}..{}, disk signature {:08x}",
                              partition.start_sector,
                              partition.start_sector + partition.sector_count - 1, signature),
                  {sector.begin(), sector.end()},
                  {}};
}

Result<Tables> make_gpt_tables(const DiskPlan& disk, const std::string& uuid) {
    const auto root_end = dev::kRootStartSector + disk.root_sectors - 1;
    const auto esp_end = disk.esp.start_sector + disk.esp.sector_count - 1;
    AMILIFT_TRY(const auto root, derived_guid(uuid, "root"));
    AMILIFT_TRY(const auto bios, derived_guid(uuid, "bios"));
    AMILIFT_TRY(const auto esp, derived_guid(uuid, "esp"));
    AMILIFT_TRY(const auto whole, derived_guid(uuid, "disk"));
    const std::array entries{
        dev::GptEntry{kRootNumber, dev::guid_of(dev::kGptTypeLinux), root, dev::kRootStartSector,
                      root_end, "root"},
        dev::GptEntry{kBiosBootNumber, dev::guid_of(dev::kGptTypeBiosBoot), bios, kBiosBootSector,
                      dev::kRootStartSector - 1, "BIOS boot"},
        dev::GptEntry{kEspNumber, dev::guid_of(dev::kGptTypeEfiSystem), esp, disk.esp.start_sector,
                      esp_end, "EFI system"}};
    AMILIFT_TRY(auto tables, dev::make_gpt(whole, entries, disk.disk_sectors));
    return Tables{
        fmt::format("GPT, root {} at {}..{}, BIOS boot {} at {}..{}, EFI system {} at "
                    "{}..{}",
                    kRootNumber, dev::kRootStartSector, root_end, kBiosBootNumber, kBiosBootSector,
                    dev::kRootStartSector - 1, kEspNumber, disk.esp.start_sector, esp_end),
        std::move(tables.front), std::move(tables.back)};
}

Result<Tables> make_tables(const job::ConversionOptions& options, const DiskPlan& disk,
                           const std::string& uuid) {
    return options.layout == job::Layout::gpt ? make_gpt_tables(disk, uuid)
                                              : make_mbr_tables(disk, uuid);
}

std::uint64_t back_offset(std::uint64_t disk_bytes, const Tables& tables) {
    return dev::round_down(disk_bytes, dev::kSectorBytes) - tables.back.size();
}

Result<> zero(const dev::BlockDevice& disk, std::uint64_t offset, std::uint64_t length) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(length));
    return core::write_all_at(disk.fd(), zeros, offset, disk.path());
}

Result<> apply(ApplyContext& context, const Tables& tables) {
    const auto& disk = context.target();
    // What an earlier use left would be believed: a GPT at sector 1 and at the end, a superblock in
    // the gap. The copy comes later and writes whatever of the end belongs to the filesystem.
    // A copy that was cut off has begun after it was done, and what it noted must stay.
    const auto* journal = context.copy_journal();
    const bool is_wiped = journal != nullptr && journal->has_begun();
    if (context.target_content() != dev::TargetContent::zeros && !is_wiped) {
        const auto tail = std::min(kGptTailBytes, disk.size_bytes() - kRootOffset);
        AMILIFT_CHECK(zero(disk, disk.size_bytes() - tail, tail));
        AMILIFT_CHECK(zero(disk, 0, kRootOffset));
        // The first note of the copy says that this is done, also after a power failure.
        AMILIFT_CHECK(disk.flush());
    }
    AMILIFT_CHECK(core::write_all_at(disk.fd(), tables.back, back_offset(disk.size_bytes(), tables),
                                     disk.path()));
    return core::write_all_at(disk.fd(), tables.front, 0, disk.path());
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    if (context.options.layout == job::Layout::in_place) AMILIFT_CHECK(require_in_place(context));
    AMILIFT_TRY(const auto disk,
                plan_disk(context.options, context.filesystem, context.target_bytes));
    // Sector 0 of such a disk is the boot loader's.
    if (context.options.layout == job::Layout::in_place) return std::vector<Step>{};
    AMILIFT_TRY(auto tables, make_tables(context.options, disk, context.filesystem.uuid));
    auto text = fmt::format("write partition table: {}", tables.text);
    return std::vector<Step>{
        {"partition", std::move(text),
         [options = context.options,
          filesystem = context.filesystem](ApplyContext& apply_context) -> Result<> {
             // A disk that is made to measure may have got some sectors more.
             AMILIFT_TRY(const auto real,
                         plan_disk(options, filesystem, apply_context.target().size_bytes()));
             AMILIFT_TRY(const auto final_tables, make_tables(options, real, filesystem.uuid));
             return apply(apply_context, final_tables);
         }}};
}

Result<std::vector<std::string>> verify_mbr(const VerifyContext& context, const DiskPlan& disk) {
    std::array<std::byte, 512> sector{};
    AMILIFT_CHECK(core::read_exactly_at(context.target.fd(), sector, 0, context.target.path()));
    AMILIFT_TRY(const auto partitions,
                dev::parse_mbr(sector, context.target.size_bytes() / dev::kSectorBytes));
    const auto wanted = root_partition(disk);
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

/// Every byte of both copies, checksums included; of sector 0 only what is not boot code.
Result<std::vector<std::string>> verify_gpt(const VerifyContext& context, const DiskPlan& disk) {
    AMILIFT_TRY(const auto wanted, make_gpt_tables(disk, context.filesystem.uuid));
    const auto differs = [&](std::span<const std::byte> part, std::uint64_t offset,
                             std::size_t skipped) -> Result<bool> {
        std::vector<std::byte> seen(part.size());
        AMILIFT_CHECK(
            core::read_exactly_at(context.target.fd(), seen, offset, context.target.path()));
        return !std::ranges::equal(std::span<const std::byte>(seen).subspan(skipped),
                                   part.subspan(skipped));
    };
    AMILIFT_TRY(const bool front_differs, differs(wanted.front, 0, kDiskSignatureOffset));
    AMILIFT_TRY(const bool back_differs,
                differs(wanted.back, back_offset(context.target.size_bytes(), wanted), 0));
    if (front_differs || back_differs) {
        return fail(Errc::corrupt,
                    fmt::format("the {} GPT of '{}' is not the one that was written",
                                front_differs ? "first" : "backup", context.target.path()),
                    "the target does not keep what is written to it; use another volume");
    }
    return std::vector<std::string>{
        fmt::format("both copies of the partition table are right: {}", wanted.text)};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (context.options.layout == job::Layout::in_place) return std::vector<std::string>{};
    AMILIFT_TRY(const auto disk,
                plan_disk(context.options, context.filesystem, context.target.size_bytes()));
    return context.options.layout == job::Layout::gpt ? verify_gpt(context, disk)
                                                      : verify_mbr(context, disk);
}

constexpr Module kModule{"partition", plan, verify};

}  // namespace

const Module& partition_module() {
    return kModule;
}

Result<DiskPlan> plan_disk(const job::ConversionOptions& options,
                           const dev::FilesystemInfo& filesystem,
                           std::optional<std::uint64_t> disk_bytes) {
    const bool gpt = options.layout == job::Layout::gpt;
    const auto filesystem_sectors =
        dev::round_up(filesystem.size_bytes, dev::kSectorBytes) / dev::kSectorBytes;
    // Behind the root partition; the partition there begins and ends at whole MiB.
    const std::uint64_t behind =
        gpt ? dev::round_up(kEspSectors + dev::kGptTableSectors, kMebibyte) : 0;
    const auto root_start = root_offset(options.layout) / dev::kSectorBytes;
    auto root_end = root_start + filesystem_sectors;
    if (gpt) root_end = dev::round_up(root_end, kMebibyte);

    DiskPlan plan;
    plan.needed_sectors = root_end + behind;
    plan.root_sectors = filesystem_sectors;
    if (options.size_gib > 0) {
        const auto wanted = std::uint64_t{options.size_gib} * kGibibyte;
        if (wanted < plan.needed_sectors) {
            const auto least = (plan.needed_sectors + kGibibyte - 1) / kGibibyte;
            return fail(Errc::refused,
                        fmt::format("the wanted size is {} GiB, the filesystem of {} bytes with "
                                    "partition table and boot loader needs {} bytes",
                                    options.size_gib, filesystem.size_bytes, plan.needed_bytes()),
                        fmt::format("ask for at least {}GiB", least), "size-too-small");
        }
        plan.needed_sectors = wanted;
        root_end = wanted - behind;
        plan.root_sectors = root_end - root_start;
    }
    if (gpt) plan.esp = {root_end, kEspSectors};
    plan.disk_sectors = plan.needed_sectors;
    if (disk_bytes) {
        plan.disk_sectors = *disk_bytes / dev::kSectorBytes;
        if (plan.disk_sectors < plan.needed_sectors) {
            const auto needed = plan.needed_bytes();
            return fail(Errc::no_space,
                        fmt::format("target disk has {} bytes, the filesystem of {} bytes and the "
                                    "gap before it need {}",
                                    *disk_bytes, filesystem.size_bytes, needed),
                        fmt::format("use a target of at least {} GiB", ((needed - 1) >> 30) + 1));
        }
    }
    return plan;
}

Result<std::uint32_t> disk_signature(std::string_view filesystem_uuid) {
    AMILIFT_TRY(const auto digest, core::sha256_hex(filesystem_uuid));
    std::uint32_t signature = 0;
    std::from_chars(digest.data(), digest.data() + 8, signature, 16);
    return signature == 0 ? 1 : signature;
}

}  // namespace amilift::modules
