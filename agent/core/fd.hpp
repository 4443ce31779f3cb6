// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/result.hpp"

namespace amilift::core {

/// The owner of a file descriptor; the only one in the project. Closes it in the destructor.
class Fd {
  public:
    Fd() noexcept = default;
    explicit Fd(int raw) noexcept : raw_(raw) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    Fd(Fd&& other) noexcept : raw_(std::exchange(other.raw_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            raw_ = std::exchange(other.raw_, -1);
        }
        return *this;
    }
    ~Fd() { reset(); }

    [[nodiscard]] int get() const noexcept { return raw_; }
    [[nodiscard]] bool valid() const noexcept { return raw_ >= 0; }
    explicit operator bool() const noexcept { return valid(); }
    [[nodiscard]] int release() noexcept { return std::exchange(raw_, -1); }
    void reset() noexcept;

  private:
    int raw_ = -1;
};

/// open(2) with O_CLOEXEC added. `path` is a path of the helper, never one inside an image
/// (image::SafeRoot opens those).
[[nodiscard]] Result<Fd> open_file(const std::string& path, int flags, unsigned mode = 0644);

/// Reads exactly buf.size() bytes at `offset` (bytes). A short read is Errc::io_error and says
/// where. `name` is the object's name for messages.
[[nodiscard]] Result<> read_exactly_at(const Fd& fd, std::span<std::byte> buf, std::uint64_t offset,
                                       const std::string& name);

/// Writes all of `buf` at `offset` (bytes).
[[nodiscard]] Result<> write_all_at(const Fd& fd, std::span<const std::byte> buf,
                                    std::uint64_t offset, const std::string& name);

/// Writes all of `text` at the current position.
[[nodiscard]] Result<> write_all(const Fd& fd, std::string_view text, const std::string& name);

/// Everything from the current position to the end, at most `limit` bytes; more is Errc::corrupt.
[[nodiscard]] Result<std::string> read_all(const Fd& fd, std::size_t limit,
                                           const std::string& name);

/// The whole file `path` of the helper, at most `limit` bytes.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace amilift::core
