// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/command.hpp"
#include "core/fd.hpp"
#include "image/boot_choice.hpp"
#include "modules/module.hpp"

namespace amilift::modules::test {

/// A directory that is gone when the test ends, however it ends.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "amilift-test-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string operator/(std::string_view name) const {
        return path_ + "/" + std::string(name);
    }

  private:
    std::string path_;
};

inline void write_text(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A file of `bytes` zeros.
inline void make_file(const std::string& path, std::uint64_t bytes) {
    std::ofstream(path, std::ios::binary).close();
    std::filesystem::resize_file(path, bytes);
}

inline image::SafeRoot open_root_of(const std::string& directory) {
    auto fd = core::open_file(directory, O_PATH | O_DIRECTORY);
    EXPECT_TRUE(fd) << directory;
    return image::SafeRoot(*std::move(fd));
}

/// What a module sees while planning, for a tree in a directory: a 64 MiB ext3 root with one
/// kernel.
class PlanFixture : public ::testing::Test {
  protected:
    PlanFixture() : root(open_root_of(tree.path())) {
        filesystem.type = dev::Filesystem::ext3;
        filesystem.size_bytes = 64U << 20;
        filesystem.block_bytes = 4096;
        filesystem.uuid = "5d41402a-bc4b-4a76-b971-9d911017c592";
        filesystem.label = "/";
        filesystem.feature_incompat = 0x2;
        used.used = {{0, 1U << 20}, {4U << 20, 2U << 20}};
        used.used_bytes = 3U << 20;
        used.method = "ext2fs";
        facts.menu_path = "/boot/grub/menu.lst";
        facts.menu_text =
            "default 0\ntitle one\nroot (hd0)\nkernel /boot/vmlinuz root=LABEL=/\n"
            "initrd /boot/initrd\n";
        image::read_legacy_entries(facts);
        facts.boot_entry = 0;
        image::Kernel kernel;
        kernel.path = "/boot/vmlinuz";
        kernel.version = "6.1.0";
        kernel.format = image::KernelFormat::bz_image;
        kernel.initrd = "/boot/initrd";
        facts.kernels = {kernel};
        facts.kernel_of_entry = {0};
        write_text(tree / "boot/grub/menu.lst", facts.menu_text);
        write_text(tree / "boot/vmlinuz", "kernel");
        write_text(tree / "boot/initrd", "initrd");
    }

    [[nodiscard]] PlanContext context(std::optional<std::uint64_t> target_bytes = std::nullopt) {
        return {.options = options,
                .facts = facts,
                .filesystem = filesystem,
                .source_root = root,
                .used = used,
                .target_bytes = target_bytes,
                .commands = commands,
                .source_path = {}};
    }

    TemporaryDirectory tree;
    image::SafeRoot root;
    job::ConversionOptions options;
    image::ImageFacts facts;
    dev::FilesystemInfo filesystem;
    dev::ExtentMap used;
    core::ProcessRunner commands;
};

/// Applies steps to a target file, with a directory as the target's filesystem.
class ApplyToFile final : public ApplyContext {
  public:
    ApplyToFile(dev::BlockDevice source, dev::BlockDevice target, const image::SafeRoot& root,
                dev::TargetContent content = dev::TargetContent::zeros)
        : source_(std::move(source)), target_(std::move(target)), root_(root), content_(content) {}
    const dev::BlockDevice& source() const override { return source_; }
    const dev::BlockDevice& target() const override { return target_; }
    dev::TargetContent target_content() const override { return content_; }
    core::Result<const image::SafeRoot*> target_root() override { return &root_; }
    Manifest& manifest() override { return manifest_; }
    core::CommandRunner& commands() override { return commands_; }
    const core::Cancel& cancel() const override { return cancel_; }
    void progress(const dev::CopyProgress& p) override { last_progress = p; }
    void copied(const dev::CopyStats& stats) override { last_stats = stats; }

    dev::CopyJournal* copy_journal() override { return journal; }

    dev::CopyJournal* journal = nullptr;
    dev::CopyProgress last_progress;
    dev::CopyStats last_stats;

  private:
    dev::BlockDevice source_;
    dev::BlockDevice target_;
    const image::SafeRoot& root_;
    dev::TargetContent content_;
    Manifest manifest_;
    core::ProcessRunner commands_;
    core::Cancel cancel_;
};

}  // namespace amilift::modules::test
