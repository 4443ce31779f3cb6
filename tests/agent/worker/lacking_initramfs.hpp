// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/command.hpp"
#include "tests/agent/image/initramfs_samples.hpp"
#include "tests/agent/worker/pv_image.hpp"

/// What tests share of conversions that append to an initramfs where it lies.
namespace amilift::worker::test {

/// Gives the tree `root` the module nvme of a kernel, and `initramfs` is one of at least `bytes`
/// that lacks it.
inline void write_lacking_initramfs(const std::string& root, const std::string& initramfs,
                                    const std::string& version, std::size_t bytes) {
    const auto modules = fmt::format("lib/modules/{}/", version);
    write_text(fmt::format("{}/{}modules.dep", root, modules), "kernel/nvme.ko:\n");
    write_text(fmt::format("{}/{}kernel/nvme.ko", root, modules), image::module_file({}));
    write_text(initramfs, image::cpio_of({{"init", "#!/bin/sh\n"},
                                          {"conf/initramfs.conf", "MODULES=most\n"},
                                          {"firmware", std::string(bytes, 'f')},
                                          {modules + "kernel/ext4.ko", "ext4"},
                                          {modules + "modules.dep", "kernel/ext4.ko:\n"}}));
}

/// A file as a block device that counts what is written to it.
class CountingLoop {
  public:
    CountingLoop(core::CommandRunner& commands, const std::string& file) : commands_(commands) {
        const auto made = commands.run_ok({.argv = {"losetup", "--find", "--show", file}});
        EXPECT_TRUE(made) << (made ? "" : made.error().message());
        if (made) path_ = made->out.substr(0, made->out.find('\n'));
        before_ = sectors();
    }
    CountingLoop(const CountingLoop&) = delete;
    CountingLoop& operator=(const CountingLoop&) = delete;
    ~CountingLoop() { EXPECT_TRUE(commands_.run_ok({.argv = {"losetup", "-d", path_}})); }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::uint64_t written_bytes() const { return (sectors() - before_) * 512; }

  private:
    [[nodiscard]] std::uint64_t sectors() const {
        const auto name = std::filesystem::path(path_).filename().string();
        std::ifstream stat(fmt::format("/sys/block/{}/stat", name));
        std::uint64_t value = 0;
        for (int i = 0; i < 7; ++i) stat >> value;  // Documentation/block/stat.rst: write sectors
        return value;
    }
    core::CommandRunner& commands_;
    std::string path_;
    std::uint64_t before_ = 0;
};

/// What a crash can leave of bytes that were being put behind a file of `old_bytes`.
inline void spoil_addition(const std::string& path, std::uint64_t old_bytes, bool cut) {
    namespace fs = std::filesystem;
    const auto size = fs::file_size(path);
    ASSERT_GT(size, old_bytes + 2);
    // Either its end is missing, or the file is long already and the bytes are not there yet.
    fs::resize_file(path, old_bytes + (cut ? (size - old_bytes) / 2 : 0));
    if (!cut) fs::resize_file(path, size);
}

}  // namespace amilift::worker::test
