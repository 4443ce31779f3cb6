// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/command.hpp"
#include "core/fd.hpp"
#include "dev/block_device.hpp"

namespace amilift::dev::testing {

/// A directory that is gone when the test ends, however it ends.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        const char* base = std::getenv("TMPDIR");
        path_ = std::string(base != nullptr ? base : "/tmp") + "/amilift-dev-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// A sparse file of `size` bytes.
inline std::string make_sparse(const TemporaryDirectory& directory, const std::string& name,
                               std::uint64_t size) {
    const auto path = directory.file(name);
    std::ofstream(path, std::ios::binary | std::ios::trunc).close();
    std::filesystem::resize_file(path, size);
    return path;
}

inline std::vector<std::byte> random_bytes(std::size_t count, std::uint32_t seed) {
    std::mt19937 generator(seed);
    std::vector<std::byte> bytes(count);
    for (auto& b : bytes) b = static_cast<std::byte>(generator() & 0xffU);
    return bytes;
}

inline void write_at(const std::string& path, std::uint64_t offset,
                     std::span<const std::byte> bytes) {
    const auto fd = core::open_file(path, O_WRONLY);
    ASSERT_TRUE(fd) << fd.error().message();
    const auto written = core::write_all_at(*fd, bytes, offset, path);
    ASSERT_TRUE(written) << written.error().message();
}

inline std::vector<std::byte> read_at(const std::string& path, std::uint64_t offset,
                                      std::size_t count) {
    std::vector<std::byte> bytes(count);
    const auto fd = core::open_file(path, O_RDONLY);
    if (!fd) throw std::runtime_error(fd.error().message());
    const auto got = core::read_exactly_at(*fd, bytes, offset, path);
    if (!got) throw std::runtime_error(got.error().message());
    return bytes;
}

/// Runs a program of the test machine; throws, with its output, unless it exits with one of `ok`.
inline std::string run(std::vector<std::string> argv, const std::vector<int>& ok = {0},
                       std::string input = {}) {
    core::ProcessRunner runner;
    const auto name = argv.at(0);
    core::Command command;
    command.argv = std::move(argv);
    command.input = std::move(input);
    command.timeout = std::chrono::minutes(3);
    const auto output = runner.run(command);
    if (!output) throw std::runtime_error(output.error().message());
    for (const int code : ok) {
        if (output->exit_code == code) return output->out;
    }
    throw std::runtime_error(
        fmt::format("{} exited with {}: {}{}", name, output->exit_code, output->out, output->err));
}

inline BlockDevice open_disk(const std::string& path, Access access = Access::read_only) {
    auto disk = BlockDevice::open(path, access);
    if (!disk) throw std::runtime_error(disk.error().message());
    return *std::move(disk);
}

}  // namespace amilift::dev::testing
