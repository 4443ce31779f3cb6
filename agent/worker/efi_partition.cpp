// SPDX-License-Identifier: Apache-2.0
#include "worker/efi_partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/temporary_file.hpp"
#include "image/text_lines.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// grub-fstest takes milliseconds; it never ends on a chain of clusters that is a ring.
constexpr core::Duration kTimeout = std::chrono::seconds(10);
constexpr core::Duration kTimeoutOfAll = std::chrono::seconds(60);
constexpr int kMostReads = 200;
constexpr std::size_t kListLimit = std::size_t{64} << 10;

/// What grub-fstest says, without its own name.
std::string said(const core::CommandOutput& output) {
    std::string_view text = output.err;
    constexpr std::string_view kName = "grub-fstest: error: ";
    if (text.starts_with(kName)) text.remove_prefix(kName.size());
    while (text.ends_with('\n')) text.remove_suffix(1);
    return image::printable(text, 1000);
}

}  // namespace

EfiPartition::EfiPartition(std::string disk, bool is_gpt, int partition,
                           core::CommandRunner& commands)
    : disk_(std::move(disk)),
      device_(fmt::format("(loop0,{}{})", is_gpt ? "gpt" : "msdos", partition)),
      commands_(commands),
      left_(kTimeoutOfAll) {}

Result<core::CommandOutput> EfiPartition::ask(std::vector<std::string> argv, std::size_t limit) {
    if (++asked_ > kMostReads || left_ <= core::Duration::zero()) {
        return fail(Errc::io_error, fmt::format("{} takes too long to read", device_));
    }
    core::Command command;
    command.argv = std::move(argv);
    command.timeout = std::min(kTimeout, left_);
    command.output_limit = limit;
    const auto begin = std::chrono::steady_clock::now();
    auto output = commands_.run(command);
    left_ -= std::chrono::duration_cast<core::Duration>(std::chrono::steady_clock::now() - begin);
    if (output) return output;
    auto error = std::move(output).error();
    if (error.is(Errc::not_installed)) {
        error.hint = "install the package grub-common";
    } else {
        error.code = Errc::io_error;
    }
    return std::unexpected(std::move(error));
}

Result<image::EfiFile> EfiPartition::read_of(const std::string& disk, const std::string& name,
                                             std::size_t limit) {
    image::EfiFile file;
    if (name.find('\0') != std::string::npos) return file;
    AMILIFT_TRY(auto output,
                ask({"grub-fstest", "-c", "1", "-n", fmt::format("{}", limit), disk, "cat", name},
                    limit + kListLimit));
    if (output.exit_code == 0 && output.err.empty()) {
        file.kind = image::FileKind::regular;
        file.bytes = std::move(output.out);
        return file;
    }
    const auto reason = said(output);
    if (reason.ends_with("not a regular file.")) {
        file.kind = image::FileKind::directory;
        return file;
    }
    if (reason.ends_with(" not found.") || reason.ends_with("not a directory.")) return file;
    return fail(Errc::io_error,
                fmt::format("GRUB cannot read '{}': {}", image::printable(name, 100), reason));
}

Result<image::EfiFile> EfiPartition::read(std::string_view path, std::size_t limit) {
    return read_of(disk_, fmt::format("{}{}", device_, path), limit);
}

Result<image::EfiFile> EfiPartition::read_inside(std::string_view archive, std::string_view path,
                                                 std::size_t limit) {
    AMILIFT_TRY(const auto copy, core::TemporaryFile::make(archive));
    return read_of(copy.path(), fmt::format("(loop0){}", path), limit);
}

Result<std::vector<std::string>> EfiPartition::list(std::string_view path) {
    AMILIFT_TRY(const auto output,
                ask({"grub-fstest", "-c", "1", disk_, "ls", fmt::format("{}{}/", device_, path)},
                    kListLimit));
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

std::optional<image::EfiStart> look_at_efi_start(const SourceImage& source,
                                                 const image::ImageFacts& facts,
                                                 core::CommandRunner& commands) {
    std::optional<image::EfiStart> first;
    for (const auto& partition : source.partitions()) {
        if (!dev::is_efi_system(partition)) continue;
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
        EfiPartition files(source.disk().path(), facts.disk.is_gpt, partition.number, commands);
        auto start = image::follow_efi_start(files, partition.number, source.root(), facts);
        const bool has_program =
            start.id != "efi-loader-missing" && start.id != "efi-partition-unreadable";
        if (has_program) return start;
        if (!first) first = std::move(start);
    }
    return first;
}

}  // namespace amilift::worker
