// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// A directory that plays an image's root; removed with all it holds at the end of the test.
class TemporaryRoot {
  public:
    TemporaryRoot() {
        auto pattern = (std::filesystem::temp_directory_path() / "amilift-root.XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        path_ = pattern;
    }
    TemporaryRoot(const TemporaryRoot&) = delete;
    TemporaryRoot& operator=(const TemporaryRoot&) = delete;
    ~TemporaryRoot() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    /// Where `inside` lies on the host.
    [[nodiscard]] std::filesystem::path on_host(std::string_view inside) const {
        return path_ / inside.substr(1);
    }
    void file(std::string_view inside, std::string_view text) const {
        const auto path = on_host(inside);
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path, std::ios::binary) << text;
    }
    void directory(std::string_view inside) const {
        std::filesystem::create_directories(on_host(inside));
    }
    void link(std::string_view inside, std::string_view text) const {
        const auto path = on_host(inside);
        std::filesystem::create_directories(path.parent_path());
        std::filesystem::create_symlink(text, path);
    }
    [[nodiscard]] std::string text_of(std::string_view inside) const {
        std::ifstream in(on_host(inside), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    [[nodiscard]] bool has(std::string_view inside) const {
        return std::filesystem::exists(std::filesystem::symlink_status(on_host(inside)));
    }

    [[nodiscard]] SafeRoot open() const {
        return SafeRoot(core::Fd(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
    }

  private:
    std::filesystem::path path_;
};

/// The first 1 KiB of a bzImage of boot protocol 2.12 with that version string, 64 bits.
inline std::string bz_image(std::string_view version, bool is_64_bit = true) {
    std::string bytes(4096, '\0');
    bytes[0x1f1] = 4;
    bytes[0x1fe] = '\x55';
    bytes[0x1ff] = '\xaa';
    bytes.replace(0x202, 4, "HdrS");
    bytes[0x206] = 0x0c;
    bytes[0x207] = 0x02;
    bytes[0x20f] = 0x02;  // version string at 0x200 + 0x200
    bytes[0x236] = is_64_bit ? 1 : 0;
    const auto text = std::string(version) + " (builder@host) #1 SMP";
    bytes.replace(0x400, text.size(), text);
    return bytes;
}

}  // namespace amilift::image
