// SPDX-License-Identifier: Apache-2.0
#include "modules/grub2_image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <utility>

#include "core/fd.hpp"
#include "core/temporary_file.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

// boot.img (boot.S). Between kBpb and kBpbEnd a BIOS may expect the disk's parameter block.
constexpr std::size_t kBpb = 0x03;
constexpr std::size_t kBpbEnd = 0x5a;
constexpr std::size_t kKernelSector = 0x5c;  // u64: where core.img starts
constexpr std::size_t kBootDrive = 0x64;     // ff: the drive that the BIOS booted from
constexpr std::size_t kDriveCheck = 0x66;    // a jump that is right for floppy disks only
// core.img's first sector (diskboot.S): where the rest lies, {u64 sector, u16 count, u16 segment}.
constexpr std::size_t kBlockList = 0x1f4;
constexpr std::size_t kListEntry = 12;
constexpr std::uint16_t kFirstSegment = 0x820;
constexpr std::uint64_t kSegmentsPerSector = 0x20;  // 512 bytes in paragraphs of 16

constexpr std::size_t kCoreLimit = 1U << 20;
constexpr std::size_t kEfiLimit = 16U << 20;
constexpr std::size_t kEnvironmentBytes = 1024;

/// linux16 and multiboot look unused, but legacy_configfile translates `kernel` into them.
constexpr std::array kModules{
    "biosdisk",  "part_msdos",     "part_gpt",       "ext2",         "xfs",
    "normal",    "legacycfg",      "configfile",     "linux",        "linux16",
    "multiboot", "test",           "echo",           "ls",           "cat",
    "search",    "search_fs_uuid", "search_fs_file", "search_label", "loadenv",
    "sleep",     "serial",         "terminal",       "minicmd",      "regexp",
    "true",      "halt",           "reboot",         "gzio"};

/// The same for UEFI: the firmware reads the disks, and legacy_configfile says `linux`.
constexpr std::array kEfiModules{
    "part_msdos",     "part_gpt",     "ext2",           "xfs",     "fat",    "normal", "legacycfg",
    "configfile",     "linux",        "test",           "echo",    "ls",     "cat",    "search",
    "search_fs_uuid", "search_label", "search_fs_file", "loadenv", "sleep",  "serial", "terminal",
    "minicmd",        "regexp",       "true",           "halt",    "reboot", "gzio",   "efi_gop",
    "all_video"};

/// Compressed files included, which btrfs may have anywhere.
constexpr std::array kBtrfsModules{"btrfs", "zstd", "lzopio"};

void add_modules(std::vector<std::string>& argv, std::span<const char* const> modules,
                 const Grub2Home& home) {
    argv.insert(argv.end(), modules.begin(), modules.end());
    if (home.is_btrfs) argv.insert(argv.end(), kBtrfsModules.begin(), kBtrfsModules.end());
}

Result<std::string> read_grub_file(const std::string& directory, std::string_view name) {
    const auto path = fmt::format("{}/{}", directory, name);
    auto text = core::read_file(path, kCoreLimit);
    if (!text && text.error().is(Errc::not_found)) {
        return fail(Errc::not_installed, fmt::format("'{}' is missing on this helper", path),
                    "install the package grub-pc-bin");
    }
    return text;
}

core::Error needs_grub_common(core::Error error) {
    if (error.is(Errc::not_installed)) error.hint = "install the package grub-common";
    return error;
}

}  // namespace

Result<Grub2Image> build_grub2_image(core::CommandRunner& commands, job::Layout layout,
                                     const std::string& directory, const Grub2Home& home) {
    AMILIFT_TRY(const auto boot, read_grub_file(directory, "boot.img"));
    AMILIFT_TRY(const auto diskboot, read_grub_file(directory, "diskboot.img"));
    // Not its standard output: grub-mkimage insists on syncing it, which a pipe cannot.
    AMILIFT_TRY(const auto output, core::TemporaryFile::make());
    core::Command make;
    // Relative to the BIOS boot drive and to its first partition, or to the drive itself where it
    // has none: no UUID is searched, so a copy of the volume on the same machine cannot be taken
    // for it.
    make.argv = {"grub-mkimage",
                 "-O",
                 "i386-pc",
                 "-d",
                 directory,
                 "-o",
                 output.path(),
                 "-p",
                 layout == job::Layout::in_place
                     ? home.prefix
                     : fmt::format("(,{}){}", grub2_root_partition(layout), home.prefix)};
    add_modules(make.argv, kModules, home);
    if (auto made = commands.run_ok(make); !made) {
        return std::unexpected(needs_grub_common(std::move(made).error()));
    }
    AMILIFT_TRY(const auto text, core::read_file(output.path(), kCoreLimit));

    Grub2Image image{to_bytes(boot), to_bytes(text)};
    const auto boot_name = directory + "/boot.img";
    if (image.boot.size() != 512) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' has {} bytes, expected 512", boot_name, image.boot.size()),
                    "reinstall the package grub-pc-bin");
    }
    AMILIFT_CHECK(require_bytes(image.boot, 0x00, {0xeb, 0x63, 0x90}, boot_name));
    AMILIFT_CHECK(require_bytes(image.boot, kKernelSector, {1, 0, 0, 0, 0, 0, 0, 0}, boot_name));
    AMILIFT_CHECK(require_bytes(image.boot, kBootDrive, {0xff}, boot_name));
    AMILIFT_CHECK(require_bytes(image.boot, kDriveCheck, {0xeb, 0x05}, boot_name));
    AMILIFT_CHECK(require_bytes(image.boot, 0x1fe, {0x55, 0xaa}, boot_name));

    constexpr std::string_view kCoreName = "core.img of grub-mkimage";
    if (image.core.size() <= 512 || diskboot.size() != 512 ||
        text.substr(0, kBlockList) != diskboot.substr(0, kBlockList)) {
        return fail(Errc::corrupt,
                    fmt::format("{} has {} bytes and does not begin with '{}/diskboot.img'",
                                kCoreName, image.core.size(), directory),
                    "install grub-common and grub-pc-bin of the same version");
    }
    AMILIFT_CHECK(require_bytes(image.core, kBlockList, {2, 0, 0, 0, 0, 0, 0, 0}, kCoreName));
    AMILIFT_CHECK(require_bytes(image.core, kBlockList + 10, {0x20, 0x08}, kCoreName));
    return image;
}

std::string_view grub2_root_partition(job::Layout layout) {
    return layout == job::Layout::gpt ? "gpt1" : "msdos1";
}

Result<std::vector<std::byte>> build_grub2_efi(core::CommandRunner& commands,
                                               const std::string& directory,
                                               const Grub2Home& home) {
    std::error_code ignored;
    if (!std::filesystem::exists(directory + "/normal.mod", ignored)) {
        return fail(Errc::not_installed, fmt::format("'{}' is missing on this helper", directory),
                    "install the package grub-efi-amd64-bin");
    }
    // On the disk that the firmware started this program from: a copy of the volume on the same
    // machine has the same UUID. These run before GRUB knows conditions.
    const auto early = fmt::format(
        "regexp --set=1:amidisk '^\\(([^,]+),' \"$cmdpath\"\n"
        "set root=\"$amidisk,gpt1\"\n"
        "set prefix=($root){0}\n",
        home.prefix);
    AMILIFT_TRY(const auto config, core::TemporaryFile::make(early));
    AMILIFT_TRY(const auto output, core::TemporaryFile::make());
    core::Command make;
    make.argv = {"grub-mkimage", "-O", "x86_64-efi",  "-d", directory,  "-o",
                 output.path(),  "-c", config.path(), "-p", home.prefix};
    add_modules(make.argv, kEfiModules, home);
    if (auto made = commands.run_ok(make); !made) {
        return std::unexpected(needs_grub_common(std::move(made).error()));
    }
    AMILIFT_TRY(const auto text, core::read_file(output.path(), kEfiLimit));
    auto program = to_bytes(text);
    AMILIFT_CHECK(require_bytes(program, 0, {'M', 'Z'}, "the UEFI program of grub-mkimage"));
    return program;
}

Result<Sector> make_grub2_boot_record(const Grub2Image& image, std::uint64_t core_sector,
                                      const Sector& old_sector) {
    if (image.boot.size() != 512 || image.core.size() <= 512) {
        return fail(Errc::internal, "a GRUB 2 image that was never built is to be installed");
    }
    Sector boot{};
    std::ranges::copy(image.boot, boot.begin());
    std::copy(old_sector.begin() + kBpb, old_sector.begin() + kBpbEnd, boot.begin() + kBpb);
    std::copy(old_sector.begin() + kDiskSignatureOffset, old_sector.begin() + kPartitionTableEnd,
              boot.begin() + kDiskSignatureOffset);
    store_le<std::uint64_t>(boot, kKernelSector, core_sector);
    boot[kBootDrive] = std::byte{0xff};
    boot[kDriveCheck] = std::byte{0x90};
    boot[kDriveCheck + 1] = std::byte{0x90};
    return boot;
}

Result<std::vector<std::byte>> with_block_list(const std::vector<std::byte>& core,
                                               const std::vector<SectorRun>& runs) {
    auto listed = core;
    listed.resize(sectors_of(core.size()) * 512);
    std::uint64_t left = listed.size() / 512;
    // What grub-mkimage has put there is replaced; the rest of the list must still be empty.
    if (listed.size() < std::size_t{2} * 512)
        return fail(Errc::internal, "core.img has less than two sectors");
    std::fill_n(listed.begin() + kBlockList, kListEntry, std::byte{0});
    std::size_t at = kBlockList;
    std::uint64_t segment = kFirstSegment;
    bool is_first = true;
    for (auto run : runs) {
        run.count = std::min(run.count, left);
        left -= run.count;
        if (std::exchange(is_first, false) && run.count > 0) {
            // The boot record loads the first sector itself.
            ++run.start;
            --run.count;
        }
        if (run.count == 0) continue;
        // One more entry must stay free: it ends the list.
        const auto free_from = listed.begin() + static_cast<std::ptrdiff_t>(at - kListEntry);
        const bool is_free =
            std::all_of(free_from, free_from + 2 * static_cast<std::ptrdiff_t>(kListEntry),
                        [](std::byte b) { return b == std::byte{0}; });
        if (!is_free || run.count > 0xffff || segment > 0xffff) {
            return fail(Errc::refused,
                        fmt::format("core.img lies in {} pieces, more than its first sector can "
                                    "list",
                                    runs.size()),
                        "the root filesystem has no free space in one piece: convert to a disk "
                        "with a partition table (target.layout: mbr)",
                        "file-fragmented");
        }
        store_le<std::uint64_t>(listed, at, run.start);
        store_le<std::uint16_t>(listed, at + 8, static_cast<std::uint16_t>(run.count));
        store_le<std::uint16_t>(listed, at + 10, static_cast<std::uint16_t>(segment));
        at -= kListEntry;
        segment += run.count * kSegmentsPerSector;
    }
    if (left > 0) {
        return fail(Errc::internal, fmt::format("core.img has {} sectors more than its file has "
                                                "blocks",
                                                left));
    }
    return listed;
}

Result<std::vector<SectorRun>> read_block_list(const Sector& first) {
    std::vector<SectorRun> runs;
    std::uint64_t total = 0;
    for (std::size_t at = kBlockList; at >= kListEntry; at -= kListEntry) {
        const SectorRun run{load_le<std::uint64_t>(first, at),
                            load_le<std::uint16_t>(first, at + 8)};
        if (run.count == 0) return runs;
        total += run.count;
        if (total > kCoreLimit / 512) break;
        runs.push_back(run);
    }
    return fail(Errc::corrupt, fmt::format("the block list of core.img has {} sectors in {} runs "
                                           "and does not end",
                                           total, runs.size()));
}

Result<BootArea> make_grub2_boot_area(const Grub2Image& image, const Sector& old_sector,
                                      std::uint64_t core_sector) {
    AMILIFT_TRY(const auto boot, make_grub2_boot_record(image, core_sector, old_sector));

    auto core = image.core;
    const auto count = static_cast<std::uint16_t>(sectors_of(core.size()) - 1);
    store_le<std::uint64_t>(core, kBlockList, core_sector + 1);
    store_le<std::uint16_t>(core, kBlockList + 8, count);
    store_le<std::uint16_t>(core, kBlockList + 10, kFirstSegment);
    return assemble_boot_area(boot, core, old_sector, core_sector);
}

Result<std::string> grub2_config(std::string_view menu_path) {
    const bool plain = std::ranges::none_of(menu_path, [](char c) {
        return c == '\'' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    if (menu_path.empty() || menu_path.front() != '/' || !plain) {
        return fail(Errc::refused,
                    fmt::format("the menu's path '{}' cannot be named in a GRUB script", menu_path),
                    "give the menu the name /boot/grub/menu.lst", "menu-path-unusual");
    }
    // `timeout` is exported because legacy_configfile opens an environment of its own: a menu
    // without a timeout line would wait for a key for ever.
    return fmt::format(
        "# Made by amilift. The menu is {0}, as before: edit that file.\n"
        "serial --unit=0 --speed=115200\n"
        "terminal_input serial console\n"
        "terminal_output serial console\n"
        "set timeout=5\n"
        "export timeout\n"
        "legacy_configfile '{0}'\n",
        menu_path);
}

std::string grub2_environment() {
    std::string block = "# GRUB Environment Block\n";
    block.resize(kEnvironmentBytes, '#');
    return block;
}

core::Command grub_fstest(const std::string& disk, std::vector<std::string> words) {
    core::Command command;
    // A name that begins with '-' would be an option.
    command.argv = {"grub-fstest", "-c", "1", disk.starts_with('/') ? disk : "./" + disk};
    std::ranges::move(words, std::back_inserter(command.argv));
    return command;
}

Result<std::uint32_t> crc32_as_grub_reads(core::CommandRunner& commands, const std::string& disk,
                                          const std::string& grub_path, std::string_view name) {
    auto command = grub_fstest(disk, {"crc", grub_path});
    command.timeout = std::chrono::minutes(5);
    auto output = commands.run(command);
    if (!output) return std::unexpected(needs_grub_common(std::move(output).error()));
    std::string_view text = output->out;
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    std::uint32_t crc = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), crc, 16);
    if (output->exit_code != 0 || !output->err.empty() || text.empty() ||
        parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
        std::string said = output->err.empty() ? output->out : output->err;
        std::ranges::replace(said, '\n', ' ');
        return fail(Errc::corrupt, fmt::format("GRUB cannot read '{}' on '{}': {}", grub_path,
                                               name.empty() ? disk : name, said.substr(0, 300)));
    }
    return crc;
}

}  // namespace amilift::modules
