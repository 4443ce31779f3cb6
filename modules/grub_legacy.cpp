// SPDX-License-Identifier: Apache-2.0
#include "modules/grub_legacy.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::FileKind;
using image::SafeRoot;

// stage1 (stage1.S). It loads one sector and jumps to it: here the first one of stage1_5.
constexpr std::size_t kCompatVersion1 = 0x3e;
constexpr std::size_t kBootDrive = 0x40;
constexpr std::size_t kLoadAddress = 0x42;
constexpr std::size_t kLoadSector = 0x44;
constexpr std::size_t kLoadSegment = 0x48;
constexpr std::size_t kDriveJump = 0x4b;  // a jump that is right for floppy disks only
constexpr std::uint16_t kStage15Address = 0x2000;
constexpr std::uint16_t kStage15Segment = 0x0200;

// stage1_5: its first sector loads the rest, {u32 sector, u16 count, u16 segment}.
constexpr std::size_t kBlockList = 0x1f8;
constexpr std::uint16_t kRestSegment = 0x0220;
// Second sector of stage1_5 and of stage2: a jump over the variables, then the variables (asm.S).
constexpr std::size_t kCodeJump = 0x200;
constexpr std::size_t kCompatVersion2 = 0x206;
constexpr std::size_t kStageId = 0x210;
constexpr std::size_t kVersionString = 0x212;
constexpr unsigned kIdStage2 = 0;
constexpr unsigned kIdExt2 = 2;

constexpr std::size_t kStageLimit = 512U << 10;
constexpr std::size_t kStage15Limit =
    std::size_t{64} * 512;  // it must end below stage2's own buffers

/// Offset of what follows the version string "0.97".
Result<std::size_t> behind_version(std::span<const std::byte> stage, const std::string& name) {
    AMILIFT_CHECK(require_bytes(stage, kCompatVersion2, {3, 2}, name));
    const auto end = std::find(stage.begin() + kVersionString, stage.begin() + kVersionString + 16,
                               std::byte{0});
    std::string version;
    for (auto c = stage.begin() + kVersionString; c != end; ++c) {
        version.push_back(static_cast<char>(std::to_integer<unsigned char>(*c)));
    }
    if (!version.starts_with("0.97")) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' calls itself version '{}', expected 0.97", name, version),
                    "convert with bootloader grub2");
    }
    return static_cast<std::size_t>(end - stage.begin()) + 1;
}

Result<std::string> text_at(std::span<const std::byte> stage, std::size_t offset,
                            const std::string& name) {
    std::string text;
    for (std::size_t at = offset; at < stage.size() && text.size() < 128; ++at) {
        const auto c = std::to_integer<unsigned char>(stage[at]);
        if (c == 0) return text;
        text.push_back(static_cast<char>(c));
    }
    return fail(Errc::corrupt, fmt::format("'{}' has no text at byte 0x{:x}", name, offset),
                "convert with bootloader grub2");
}

Result<std::vector<std::byte>> read_stage(const SafeRoot& root, const std::string& path,
                                          std::size_t at_least) {
    AMILIFT_TRY(const auto text, root.read(path, kStageLimit));
    if (text.size() < at_least) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' of the image has {} bytes, expected at least "
                                "{}",
                                path, text.size(), at_least),
                    "convert with bootloader grub2");
    }
    return to_bytes(text);
}

Result<bool> has_file(const SafeRoot& root, const std::string& path) {
    AMILIFT_TRY(const auto status, root.status(path));
    return status.kind == FileKind::regular;
}

/// /usr/lib/grub/x86_64-pc, /usr/share/grub/x86_64-redhat, ..., then /boot/grub.
Result<std::vector<std::string>> stage_directories(const SafeRoot& root) {
    std::vector<std::string> found;
    for (const std::string parent : {"/usr/lib/grub", "/usr/share/grub"}) {
        AMILIFT_TRY(const auto status, root.status(parent));
        if (status.kind != FileKind::directory) continue;
        AMILIFT_TRY(const auto names, root.list(parent, 1000));
        for (const auto& name : names) found.push_back(fmt::format("{}/{}", parent, name));
    }
    found.emplace_back("/boot/grub");
    return found;
}

}  // namespace

Result<LegacyStages> find_legacy_stages(const SafeRoot& root) {
    AMILIFT_TRY(const auto directories, stage_directories(root));
    LegacyStages stages;
    for (const auto& directory : directories) {
        AMILIFT_TRY(const bool has_stage1, has_file(root, directory + "/stage1"));
        AMILIFT_TRY(const bool has_stage1_5, has_file(root, directory + "/e2fs_stage1_5"));
        AMILIFT_TRY(const bool has_stage2, has_file(root, directory + "/stage2"));
        if (has_stage1 && has_stage1_5 && has_stage2) {
            stages.directory = directory;
            break;
        }
    }
    if (stages.directory.empty()) {
        return fail(Errc::refused,
                    "the image has no GRUB 0.97: no directory of /usr/lib/grub, /usr/share/grub "
                    "and no /boot/grub has stage1, e2fs_stage1_5 and stage2",
                    "convert with bootloader grub2, which needs nothing of the image",
                    "no-grub-legacy");
    }
    // The one in /boot/grub is what the boot reads; it wins if it is there, so that the image's own
    // configuration stays in force.
    AMILIFT_TRY(const bool installed, has_file(root, std::string(kStage2Path)));
    stages.stage2_source = installed ? std::string(kStage2Path) : stages.directory + "/stage2";

    const auto stage1_name = stages.directory + "/stage1";
    AMILIFT_TRY(stages.stage1, read_stage(root, stage1_name, 512));
    if (stages.stage1.size() != 512) {
        return fail(Errc::corrupt, fmt::format("'{}' of the image has {} bytes, expected 512",
                                               stage1_name, stages.stage1.size()));
    }
    AMILIFT_CHECK(require_bytes(stages.stage1, kCompatVersion1, {3, 2}, stage1_name));
    AMILIFT_CHECK(require_bytes(stages.stage1, kBootDrive, {0xff}, stage1_name));
    AMILIFT_CHECK(require_bytes(stages.stage1, kDriveJump - 1, {0xfa, 0xeb, 0x07}, stage1_name));
    AMILIFT_CHECK(require_bytes(stages.stage1, 0x1fe, {0x55, 0xaa}, stage1_name));

    const auto stage1_5_name = stages.directory + "/e2fs_stage1_5";
    AMILIFT_TRY(stages.stage1_5, read_stage(root, stage1_5_name, 2048));
    AMILIFT_CHECK(require_bytes(stages.stage1_5, kBlockList, {2, 0, 0, 0}, stage1_5_name));
    AMILIFT_CHECK(require_bytes(stages.stage1_5, kBlockList + 6, {0x20, 0x02}, stage1_5_name));
    AMILIFT_CHECK(require_bytes(stages.stage1_5, kCodeJump, {0xea}, stage1_5_name));
    AMILIFT_CHECK(require_bytes(stages.stage1_5, kStageId, {kIdExt2}, stage1_5_name));
    AMILIFT_CHECK(behind_version(stages.stage1_5, stage1_5_name));
    if (stages.stage1_5.size() > kStage15Limit) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' has {} bytes, expected at most {}", stage1_5_name,
                                stages.stage1_5.size(), kStage15Limit));
    }

    AMILIFT_TRY(const auto stage2, read_stage(root, stages.stage2_source, 4096));
    AMILIFT_CHECK(require_bytes(stage2, kStageId, {kIdStage2}, stages.stage2_source));
    AMILIFT_TRY(const auto config, behind_version(stage2, stages.stage2_source));
    AMILIFT_TRY(stages.menu_path, text_at(stage2, config, stages.stage2_source));
    return stages;
}

Result<BootArea> make_legacy_boot_area(const LegacyStages& stages, unsigned partition,
                                       const Sector& old_sector) {
    if (stages.stage1.size() != 512 || stages.stage1_5.size() < 2048) {
        return fail(Errc::internal, "GRUB 0.97 stages that were never read are to be installed");
    }
    Sector boot{};
    std::ranges::copy(stages.stage1, boot.begin());
    boot[kBootDrive] = std::byte{0xff};
    store_le<std::uint16_t>(boot, kLoadAddress, kStage15Address);
    store_le<std::uint32_t>(boot, kLoadSector, 1);
    store_le<std::uint16_t>(boot, kLoadSegment, kStage15Segment);
    boot[kDriveJump] = std::byte{0x90};
    boot[kDriveJump + 1] = std::byte{0x90};

    auto loader = stages.stage1_5;
    const auto sectors = sectors_of(loader.size());
    store_le<std::uint32_t>(loader, kBlockList, 2);
    store_le<std::uint16_t>(loader, kBlockList + 4, static_cast<std::uint16_t>(sectors - 1));
    store_le<std::uint16_t>(loader, kBlockList + 6, kRestSegment);

    const auto name = stages.directory + "/e2fs_stage1_5";
    AMILIFT_TRY(const auto variables, behind_version(loader, name));
    // The jump at the start of the second sector leads behind the variables, at 0x2000 + offset.
    const auto code =
        static_cast<std::size_t>(load_le<std::uint16_t>(loader, kCodeJump + 1)) - kStage15Address;
    const auto paths = fmt::format("{} {}", kStage2Path, stages.menu_path);
    if (code > loader.size() || variables + 4 + paths.size() + 1 > code) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' has no room for the paths '{}' between 0x{:x} and 0x{:x}",
                                name, paths, variables + 4, code),
                    "convert with bootloader grub2");
    }
    // Drive ff: the one that the BIOS booted from. The partition is the third byte.
    store_le<std::uint32_t>(loader, variables, 0xff00ffffU | (partition << 16U));
    const auto area = std::span(loader).subspan(variables + 4, code - variables - 4);
    std::ranges::fill(area, std::byte{0});
    std::ranges::copy(to_bytes(paths), area.begin());
    return assemble_boot_area(boot, loader, old_sector);
}

}  // namespace amilift::modules
