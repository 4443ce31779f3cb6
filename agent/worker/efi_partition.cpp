// SPDX-License-Identifier: Apache-2.0
#include "worker/efi_partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/temporary_file.hpp"
#include "dev/partition_table.hpp"
#include "image/text_lines.hpp"
#include "modules/grub2_image.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// grub-fstest takes milliseconds; it never ends on a chain of clusters that is a ring.
constexpr core::Duration kTimeout = std::chrono::seconds(10);
constexpr int kMostPartitions = 4;
constexpr std::size_t kListLimit = std::size_t{64} << 10;
/// GRUB cuts its message at 256 bytes (GRUB_MAX_ERRMSG), and the reason is behind the name.
constexpr std::size_t kLongName = 200;
/// No filesystem that GRUB reads has longer paths, and a command line does not end here.
constexpr std::size_t kLongestName = 4096;

/// What grub-fstest says, without its own name.
std::string_view said(const core::CommandOutput& output) {
    std::string_view text = output.err;
    constexpr std::string_view kName = "grub-fstest: error: ";
    if (text.starts_with(kName)) text.remove_prefix(kName.size());
    while (text.ends_with('\n')) text.remove_suffix(1);
    return text;
}

bool can_be_asked(std::string_view path) {
    return path.size() <= kLongestName && path.find('\0') == std::string_view::npos;
}

/// Can the reason be told when such a file cannot be read?
bool has_plain_name(std::string_view path) {
    return path.size() <= kLongName && std::ranges::none_of(path, [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
           });
}

/// The file that grub-fstest has printed, or what it says instead of; absent for another failure.
std::optional<image::EfiFile> file_of(core::CommandOutput& output) {
    if (output.exit_code == 0 && output.err.empty()) {
        return image::EfiFile{image::FileKind::regular, std::move(output.out)};
    }
    const auto reason = said(output);
    if (reason.ends_with("not a regular file.")) {
        return image::EfiFile{image::FileKind::directory, {}};
    }
    if (reason.ends_with(" not found.") || reason.ends_with("not a directory.")) {
        return image::EfiFile{};
    }
    return std::nullopt;
}

}  // namespace

EfiPartition::EfiPartition(std::string disk, bool is_gpt, int partition,
                           core::CommandRunner& commands, EfiReadBudget& budget,
                           const core::Cancel& cancel)
    : disk_(std::move(disk)),
      is_gpt_(is_gpt),
      device_(fmt::format("(loop0,{}{})", is_gpt ? "gpt" : "msdos", partition)),
      commands_(commands),
      budget_(budget),
      cancel_(cancel) {}

/// Every error but not_installed is io_error: readers take others for a missing file.
Result<core::CommandOutput> EfiPartition::ask(const std::string& disk,
                                              std::vector<std::string> words, std::size_t limit) {
    if (budget_.made >= budget_.reads) {
        return fail(Errc::io_error,
                    fmt::format("{} reads of EFI system partitions are not enough to see what they "
                                "start, and amilift makes no more",
                                budget_.reads));
    }
    const auto left = budget_.time - budget_.spent;
    if (left <= core::Duration::zero()) {
        return fail(Errc::io_error,
                    fmt::format("EFI system partitions take too long to read: {} ms, of {}",
                                budget_.spent.count(), budget_.time.count()));
    }
    ++budget_.made;
    auto command = modules::grub_fstest(disk, std::move(words));
    command.timeout = std::min(kTimeout, left);
    command.output_limit = limit;
    command.cancel = &cancel_;
    const auto begin = std::chrono::steady_clock::now();
    auto output = commands_.run(command);
    budget_.spent +=
        std::chrono::duration_cast<core::Duration>(std::chrono::steady_clock::now() - begin);
    if (output) return output;
    auto error = std::move(output).error();
    if (error.is(Errc::not_installed)) {
        error.hint = "install the package grub-common";
    } else {
        error.code = Errc::io_error;
    }
    return std::unexpected(std::move(error));
}

Result<core::CommandOutput> EfiPartition::cat(const std::string& disk, const std::string& name,
                                              std::size_t limit) {
    return ask(disk, {"-n", fmt::format("{}", limit), "cat", name}, limit + kListLimit);
}

Result<image::EfiFile> EfiPartition::read(std::string_view path, std::size_t limit) {
    if (!can_be_asked(path)) return image::EfiFile{};
    const auto name = fmt::format("{}{}", device_, path);
    AMILIFT_TRY(auto output, cat(disk_, name, limit));
    if (auto file = file_of(output)) return *std::move(file);
    if (!has_plain_name(path)) return image::EfiFile{};
    const auto reason = said(output);
    if (is_gpt_ && reason.ends_with("no such partition.")) {
        return fail(Errc::io_error,
                    fmt::format("GRUB sees no partition '{}': it reads only the first copy of a "
                                "GPT, which is damaged or gone, and not the one at the end of the "
                                "disk",
                                device_),
                    "let gdisk or sfdisk write the partition table again, or register the AMI with "
                    "the boot mode legacy-bios");
    }
    return fail(Errc::io_error,
                fmt::format("GRUB cannot read '{}': {}", image::printable(name, 100),
                            image::printable(reason, 1000)));
}

/// The archive as a disk that only this process keeps: grub-fstest wants a path that realpath(3)
/// knows, which /proc/self/fd is not.
Result<std::string> EfiPartition::disk_of(std::string_view archive) {
    if (archive_disk_ && archive_ == archive) return archive_disk_->path();
    archive_disk_.reset();
    archive_ = archive;
    // A loop device has whole sectors.
    auto padded = archive_;
    padded.resize((padded.size() + dev::kSectorBytes - 1) / dev::kSectorBytes * dev::kSectorBytes);
    AMILIFT_TRY(const auto file, core::make_memory_file("memdisk", padded));
    AMILIFT_TRY(auto loop, dev::LoopDevice::attach(fmt::format("/proc/self/fd/{}", file.get()), 0,
                                                   0, dev::Access::read_only));
    archive_disk_ = std::move(loop);
    return archive_disk_->path();
}

Result<image::EfiFile> EfiPartition::read_inside(std::string_view archive, std::string_view path,
                                                 std::size_t limit) {
    if (!can_be_asked(path)) return image::EfiFile{};
    const auto disk = disk_of(archive);
    auto output = disk ? cat(*disk, fmt::format("(loop0){}", path), limit)
                       : Result<core::CommandOutput>(std::unexpected(disk.error()));
    if (!output) {
        auto error = std::move(output).error();
        if (!error.is(Errc::not_installed)) error.code = Errc::io_error;
        error.what = fmt::format("'(memdisk){}', inside of GRUB: {}", image::printable(path, 100),
                                 error.what);
        return std::unexpected(std::move(error));
    }
    return file_of(*output).value_or(image::EfiFile{});
}

Result<std::vector<std::string>> EfiPartition::list(std::string_view path) {
    AMILIFT_TRY(const auto output,
                ask(disk_, {"ls", fmt::format("{}{}/", device_, path)}, kListLimit));
    // Blanks separate the names, and may be in one: no file has a part of it as its name.
    std::vector<std::string> names;
    for (const auto& line : image::split_lines(output.out)) {
        for (auto name : image::split_words(line.body)) {
            if (name.ends_with('/')) name.remove_suffix(1);
            if (name != "." && name != "..") names.emplace_back(name);
        }
    }
    return names;
}

Result<std::optional<image::EfiStart>> look_at_efi_start(const SourceImage& source,
                                                         const image::ImageFacts& facts,
                                                         core::CommandRunner& commands,
                                                         const core::Cancel& cancel,
                                                         EfiReadBudget budget) {
    std::optional<image::EfiStart> first;
    int seen = 0;
    for (const auto& partition : source.partitions()) {
        if (!dev::is_efi_system(partition)) continue;
        if (++seen > kMostPartitions) break;
        if (partition.content != dev::PartitionContent::fat) {
            if (!first) {
                first = {"efi-partition-unreadable",
                         fmt::format("EFI system partition: partition {}", partition.number),
                         "it has no FAT filesystem, and firmware reads no other",
                         "make a FAT filesystem in it and install a boot loader there, or "
                         "register the AMI with the boot mode legacy-bios"};
            }
            continue;
        }
        EfiPartition files(source.path_for_programs(), facts.disk.is_gpt, partition.number,
                           commands, budget, cancel);
        auto start = image::follow_efi_start(files, partition.number, source.root(), facts);
        AMILIFT_CHECK(cancel.check());
        const bool has_program =
            start.id != "efi-loader-missing" && start.id != "efi-partition-unreadable";
        if (has_program) return start;
        if (!first) first = std::move(start);
    }
    return first;
}

}  // namespace amilift::worker
