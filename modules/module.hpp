// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/command.hpp"
#include "core/result.hpp"
#include "dev/block_device.hpp"
#include "dev/copy_engine.hpp"
#include "dev/mount.hpp"
#include "dev/partitions.hpp"
#include "dev/used_extents.hpp"
#include "image/facts.hpp"
#include "image/safe_root.hpp"
#include "job/job.hpp"
#include "modules/manifest.hpp"

namespace amilift::modules {

/// What a module may read while planning. Nothing here can write.
struct PlanContext {
    const job::ConversionOptions& options;
    const image::ImageFacts& facts;
    const dev::FilesystemInfo& filesystem;
    const image::SafeRoot& source_root;  ///< mounted read-only
    const dev::ExtentMap& used;          ///< of the source filesystem
    std::optional<std::uint64_t>
        target_bytes;                          ///< size of the target disk; absent: made to measure
    core::CommandRunner& commands;             ///< programs of the helper
    const dev::BlockDevice* source = nullptr;  ///< the disk; null: there is none but the tree
    std::string source_path{};                 ///< of that disk, for programs of the helper
    std::uint64_t source_bytes = 0;            ///< size of the source disk
    std::span<const dev::Partition> partitions{};  ///< of the source disk, if it has any
    /// The target is the source: it is edited where it lies, nothing is copied.
    bool target_has_content = false;
};

/// What a step may use while it is applied.
class ApplyContext {
  public:
    ApplyContext() = default;
    ApplyContext(const ApplyContext&) = delete;
    ApplyContext& operator=(const ApplyContext&) = delete;
    virtual ~ApplyContext() = default;

    [[nodiscard]] virtual const dev::BlockDevice& source() const = 0;
    [[nodiscard]] virtual const dev::BlockDevice& target() const = 0;
    [[nodiscard]] virtual dev::TargetContent target_content() const = 0;
    /// The target's root filesystem, mounted read-write at the first call.
    [[nodiscard]] virtual core::Result<const image::SafeRoot*> target_root() = 0;
    /// Unmounts and flushes the target, for a step that writes where the filesystem could write
    /// too; the next target_root() mounts it again.
    [[nodiscard]] virtual core::Result<> release_target_root() { return {}; }
    [[nodiscard]] virtual Manifest& manifest() = 0;
    [[nodiscard]] virtual core::CommandRunner& commands() = 0;
    [[nodiscard]] virtual const core::Cancel& cancel() const = 0;
    virtual void progress(const dev::CopyProgress& p) = 0;
    /// Where the copy notes how far it is, so that it can go on after a crash; null: nowhere.
    [[nodiscard]] virtual dev::CopyJournal* copy_journal() { return nullptr; }
    /// Hears what somebody should know of the copy's journal.
    virtual void say_of_journal(const std::string& /*text*/) {}
    /// Hears the figures of a finished copy.
    virtual void copied(const dev::CopyStats& /*stats*/) {}
};

/// One step of the plan: its text is what users read, `apply` does just that and nothing else.
struct Step {
    std::string module;
    std::string text;  ///< "write partition table: one active 0x83 partition, 2048..4196351"
    std::function<core::Result<>(ApplyContext&)> apply;
    std::uint64_t added_bytes = 0;  ///< by which the target's filesystem is fuller afterwards
    std::uint64_t added_files = 0;  ///< and by how many inodes, where they are many
    std::string path{};             ///< of the image's file that it replaces, makes or removes
};

/// A file that the boot loader loads, as the source has it.
struct BootFile {
    std::string path;
    std::uint64_t size_bytes = 0;
    std::uint32_t crc32 = 0;
};

/// What verify() may read: the finished target, flushed, not mounted by us.
struct VerifyContext {
    const job::ConversionOptions& options;
    const image::ImageFacts& facts;         ///< of the source
    const dev::FilesystemInfo& filesystem;  ///< of the source
    const dev::BlockDevice& target;
    const image::SafeRoot& target_root;  ///< mounted read-only
    const Manifest& manifest;
    core::CommandRunner& commands;
    /// Kernel and initramfs: what the target has must begin with what the source had, and may be
    /// longer only where the manifest says so.
    std::vector<BootFile> boot_files{};
    /// Of a disk with partitions: read_boot_area() of the source, before anything was written.
    std::vector<std::byte> boot_area{};
};

/// One conversion concern. plan() reads only; verify() reads back what the boot depends on and
/// gives one line per proof ("grub-fstest reads /boot/vmlinuz-6.1 (crc32 89ab12cd)").
struct Module {
    std::string_view name;
    core::Result<std::vector<Step>> (*plan)(const PlanContext&);
    core::Result<std::vector<std::string>> (*verify)(const VerifyContext&);
};

}  // namespace amilift::modules
