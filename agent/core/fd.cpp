// SPDX-License-Identifier: Apache-2.0
#include "core/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace amilift::core {

void Fd::reset() noexcept {
    // close(2) must not be retried on EINTR: Linux has released the descriptor already.
    if (raw_ >= 0) ::close(std::exchange(raw_, -1));
}

Result<Fd> open_file(const std::string& path, int flags, unsigned mode) {
    int raw = -1;
    do {
        raw = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    } while (raw < 0 && errno == EINTR);
    if (raw < 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot open '{}'", path));
    }
    return Fd(raw);
}

Result<> read_exactly_at(const Fd& fd, std::span<std::byte> buf, std::uint64_t offset,
                         const std::string& name) {
    while (!buf.empty()) {
        const auto n = ::pread(fd.get(), buf.data(), buf.size(), static_cast<off_t>(offset));
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return fail_errno(saved, fmt::format("cannot read {} bytes at byte {} of '{}'",
                                                 buf.size(), offset, name));
        }
        if (n == 0) {
            return fail(Errc::io_error, fmt::format("'{}' ends at byte {}, expected {} more bytes",
                                                    name, offset, buf.size()));
        }
        buf = buf.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

Result<> write_all_at(const Fd& fd, std::span<const std::byte> buf, std::uint64_t offset,
                      const std::string& name) {
    while (!buf.empty()) {
        const auto n = ::pwrite(fd.get(), buf.data(), buf.size(), static_cast<off_t>(offset));
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return fail_errno(saved, fmt::format("cannot write {} bytes at byte {} of '{}'",
                                                 buf.size(), offset, name));
        }
        buf = buf.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

Result<> write_all(const Fd& fd, std::string_view text, const std::string& name) {
    while (!text.empty()) {
        const auto n = ::write(fd.get(), text.data(), text.size());
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return fail_errno(saved, fmt::format("cannot write to '{}'", name));
        }
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Result<std::string> read_all(const Fd& fd, std::size_t limit, const std::string& name) {
    std::string out;
    std::array<char, 16384> chunk{};
    for (;;) {
        const auto n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return fail_errno(saved, fmt::format("cannot read '{}'", name));
        }
        if (n == 0) return out;
        if (out.size() + static_cast<std::size_t>(n) > limit) {
            return fail(
                Errc::corrupt,
                fmt::format("'{}' is larger than the {} bytes that are read of it", name, limit));
        }
        out.append(chunk.data(), static_cast<std::size_t>(n));
    }
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
    AMILIFT_TRY(const Fd fd, open_file(path, O_RDONLY));
    return read_all(fd, limit, path);
}

}  // namespace amilift::core
