// SPDX-License-Identifier: Apache-2.0
#include "image/safe_root.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <deque>
#include <iterator>
#include <optional>

#include "core/owned.hpp"
#include "core/sha256.hpp"
#include "image/safe_root_detail.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

using core::Errc;
using core::Fd;
using core::Result;

namespace detail {

namespace {
std::string_view kind_name(mode_t mode) {
    if (S_ISREG(mode)) return "a regular file";
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISLNK(mode)) return "a symbolic link";
    if (S_ISFIFO(mode)) return "a FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    if (S_ISCHR(mode)) return "a character device";
    if (S_ISBLK(mode)) return "a block device";
    return "an object of unknown kind";
}
}  // namespace

std::string quoted(std::string_view path) {
    return fmt::format("'{}'", printable(path, 512));
}

Result<> check_path(std::string_view path) {
    if (path.empty() || path.front() != '/') {
        return core::fail(Errc::invalid_input,
                          fmt::format("{} is no absolute path of the image", quoted(path)));
    }
    if (path.find('\0') != std::string_view::npos) {
        return core::fail(Errc::invalid_input,
                          fmt::format("the path {} holds a NUL byte", quoted(path)));
    }
    if (path.size() >= PATH_MAX) {
        return core::fail(Errc::corrupt,
                          fmt::format("the path {} has {} bytes, expected less than {}",
                                      quoted(path), path.size(), PATH_MAX));
    }
    return {};
}

std::vector<std::string> components_of(std::string_view path) {
    std::vector<std::string> out;
    std::size_t at = 0;
    while (at < path.size()) {
        const auto end = std::min(path.find('/', at), path.size());
        if (end > at) out.emplace_back(path.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

Result<struct stat> stat_fd(const Fd& fd, std::string_view path) {
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot read the status of {}", quoted(path)));
    }
    return st;
}

std::unexpected<core::Error> not_regular(std::string_view path, mode_t mode) {
    return core::fail(Errc::corrupt, fmt::format("{} is {}, expected a regular file", quoted(path),
                                                 kind_name(mode)));
}

}  // namespace detail

using detail::check_path;
using detail::components_of;
using detail::not_regular;
using detail::quoted;
using detail::stat_fd;

namespace {

/// openat2 answers EAGAIN when a rename or mount anywhere on the helper races with "..".
constexpr int kMaxRaces = 128;

FileKind kind_of(mode_t mode) {
    if (S_ISREG(mode)) return FileKind::regular;
    if (S_ISDIR(mode)) return FileKind::directory;
    if (S_ISLNK(mode)) return FileKind::symlink;
    return FileKind::other;
}

FileStatus status_of(const struct stat& st) {
    FileStatus out;
    out.kind = kind_of(st.st_mode);
    out.size_bytes = static_cast<std::uint64_t>(st.st_size);
    out.mode = st.st_mode & 07777U;
    out.uid = st.st_uid;
    out.gid = st.st_gid;
    out.links = st.st_nlink;
    out.device = st.st_dev;
    out.inode = st.st_ino;
    return out;
}

}  // namespace

SafeRoot::SafeRoot(Fd root) : root_(std::move(root)) {}

Result<SafeRoot> SafeRoot::duplicate() const {
    Fd copy(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) {
        const int saved = errno;
        return core::fail_errno(saved, "cannot duplicate the descriptor of the image's root");
    }
    return SafeRoot(std::move(copy));
}

Result<Fd> SafeRoot::open(std::string_view path, int flags) const {
    AMILIFT_CHECK(check_path(path));
    struct open_how how{};
    how.flags = static_cast<decltype(how.flags)>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const std::string name(path);
    int saved = EAGAIN;
    for (int i = 0; i < kMaxRaces && (saved == EAGAIN || saved == EINTR); ++i) {
        Fd fd(
            static_cast<int>(::syscall(SYS_openat2, root_.get(), name.c_str(), &how, sizeof(how))));
        if (fd) return fd;
        saved = errno;
    }
    if (saved == ELOOP || saved == ENAMETOOLONG) {
        return std::unexpected(core::Error{
            Errc::corrupt,
            fmt::format("{} of the image leads {}", quoted(path),
                        saved == ELOOP ? "through too many symbolic links, or to a link of /proc"
                                       : "to a name that is too long"),
            "remove the link from the image", "link-loop", saved});
    }
    if (saved == ENOTDIR) {
        // Of what the image says, not of its filesystem: io_error would end the conversion.
        return std::unexpected(core::Error{
            Errc::corrupt,
            fmt::format("{} of the image cannot be opened: a file is used as a directory",
                        quoted(path)),
            "", "", saved});
    }
    return core::fail_errno(saved, fmt::format("cannot open {} of the image", quoted(path)));
}

Result<FileStatus> SafeRoot::status(std::string_view path) const {
    auto fd = open(path, O_PATH);
    if (!fd) {
        const int code = fd.error().sys_errno;
        if (code == ENOENT || code == ENOTDIR) return FileStatus{};
        return std::unexpected(std::move(fd).error());
    }
    AMILIFT_TRY(const auto st, stat_fd(*fd, path));
    return status_of(st);
}

Result<FileStatus> SafeRoot::link_status(std::string_view path) const {
    auto fd = open(path, O_PATH | O_NOFOLLOW);
    if (!fd) {
        const int code = fd.error().sys_errno;
        if (code == ENOENT || code == ENOTDIR) return FileStatus{};
        return std::unexpected(std::move(fd).error());
    }
    AMILIFT_TRY(const auto st, stat_fd(*fd, path));
    return status_of(st);
}

Result<std::string> SafeRoot::read_link(std::string_view path) const {
    AMILIFT_TRY(const Fd fd, open(path, O_PATH | O_NOFOLLOW));
    AMILIFT_TRY(const auto st, stat_fd(fd, path));
    if (!S_ISLNK(st.st_mode)) {
        return core::fail(Errc::corrupt, fmt::format("{} is {}, expected a symbolic link",
                                                     quoted(path), detail::kind_name(st.st_mode)));
    }
    std::string text(PATH_MAX, '\0');
    const auto n = ::readlinkat(fd.get(), "", text.data(), text.size());
    if (n < 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot read the link {}", quoted(path)));
    }
    text.resize(static_cast<std::size_t>(n));
    return text;
}

Result<std::string> SafeRoot::resolve(std::string_view path) const {
    AMILIFT_CHECK(check_path(path));
    const auto parts = components_of(path);
    std::deque<std::string> todo(parts.begin(), parts.end());
    std::vector<std::string> done;
    int links = 0;
    std::string last_link;
    while (!todo.empty()) {
        const std::string part = std::move(todo.front());
        todo.pop_front();
        if (part == ".") continue;
        if (part == "..") {
            if (done.empty()) {
                return core::fail(
                    Errc::refused,
                    fmt::format("{} leads out of the image{}", quoted(path),
                                last_link.empty() ? "" : " through the link " + quoted(last_link)),
                    "make the link point into the image, then create the AMI again",
                    "link-out-of-image");
            }
            done.pop_back();
            continue;
        }
        done.push_back(part);
        const std::string here = fmt::format("/{}", fmt::join(done, "/"));
        AMILIFT_CHECK(check_path(here));
        AMILIFT_TRY(const auto status, link_status(here));
        if (status.kind == FileKind::missing) {
            return core::fail(Errc::not_found,
                              last_link.empty()
                                  ? fmt::format("the image has no {}", quoted(here))
                                  : fmt::format("{} does not exist; the link {} leads to it",
                                                quoted(here), quoted(last_link)));
        }
        if (status.kind == FileKind::symlink) {
            if (++links > kMaxLinks) {
                return std::unexpected(
                    core::Error{Errc::corrupt,
                                fmt::format("{} goes through more than {} symbolic links, the last "
                                            "of them {}",
                                            quoted(path), kMaxLinks, quoted(here)),
                                "remove the loop of links from the image", "link-loop", ELOOP});
            }
            AMILIFT_TRY(const auto text, read_link(here));
            last_link = here;
            done.pop_back();
            if (!text.empty() && text.front() == '/') done.clear();
            auto into = components_of(text);
            todo.insert(todo.begin(), std::make_move_iterator(into.begin()),
                        std::make_move_iterator(into.end()));
            continue;
        }
        if (status.kind != FileKind::directory && !todo.empty()) {
            return std::unexpected(core::Error{
                Errc::corrupt,
                fmt::format("{} is used as a directory on the way of {}, but it is none",
                            quoted(here), quoted(path)),
                "", "", ENOTDIR});
        }
    }
    return fmt::format("/{}", fmt::join(done, "/"));
}

Result<Fd> SafeRoot::open_regular(std::string_view path) const {
    // Looked at through O_PATH first: opening a device node can act on the device.
    AMILIFT_TRY(const Fd seen, open(path, O_PATH));
    AMILIFT_TRY(const auto before, stat_fd(seen, path));
    if (!S_ISREG(before.st_mode)) return not_regular(path, before.st_mode);
    AMILIFT_TRY(Fd fd, open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    AMILIFT_TRY(const auto after, stat_fd(fd, path));
    if (after.st_dev != before.st_dev || after.st_ino != before.st_ino) {
        return core::fail(Errc::conflict,
                          fmt::format("{} was exchanged while it was opened", quoted(path)),
                          "nothing else may write to the image during a conversion");
    }
    return fd;
}

Result<std::string> SafeRoot::read(std::string_view path, std::size_t limit) const {
    AMILIFT_TRY(const Fd fd, open_regular(path));
    AMILIFT_TRY(const auto st, stat_fd(fd, path));
    if (static_cast<std::uint64_t>(st.st_size) > limit) {
        return core::fail(Errc::corrupt, fmt::format("{} has {} bytes, expected at most {}",
                                                     quoted(path), st.st_size, limit));
    }
    return core::read_all(fd, limit, std::string(path));
}

Result<std::string> SafeRoot::read_prefix(std::string_view path, std::size_t count) const {
    AMILIFT_TRY(const Fd fd, open_regular(path));
    std::string out(count, '\0');
    std::size_t have = 0;
    while (have < count) {
        const auto n = ::read(fd.get(), out.data() + have, count - have);
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return core::fail_errno(saved, fmt::format("cannot read {}", quoted(path)));
        }
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
    }
    out.resize(have);
    return out;
}

Result<Fd> SafeRoot::open_directory(std::string_view path) const {
    return open(path, O_RDONLY | O_DIRECTORY);
}

Result<std::vector<std::string>> SafeRoot::list(std::string_view path, std::size_t limit) const {
    AMILIFT_TRY(Fd fd, open(path, O_RDONLY | O_DIRECTORY));
    const core::Owned<DIR, ::closedir> directory(::fdopendir(fd.get()));
    if (!directory) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot list {}", quoted(path)));
    }
    [[maybe_unused]] const int owned_by_directory = fd.release();
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const auto* entry = ::readdir(directory.get());
        if (entry == nullptr) {
            const int saved = errno;
            if (saved != 0) {
                return core::fail_errno(saved, fmt::format("cannot list {}", quoted(path)));
            }
            break;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (names.size() == limit) {
            return core::fail(Errc::corrupt,
                              fmt::format("{} has more than {} entries", quoted(path), limit));
        }
        names.emplace_back(name);
    }
    std::ranges::sort(names);
    return names;
}

std::string parent_of(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == 0 || slash == std::string_view::npos ? "/" : std::string(path.substr(0, slash));
}

bool is_content_problem(const core::Error& error) noexcept {
    return error.is(Errc::corrupt) || error.is(Errc::refused) || error.is(Errc::not_found);
}

Result<std::string> sha256_of(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const Fd fd, root.open_regular(path));
    core::Sha256 sum;
    std::string chunk(1 << 18, '\0');
    for (;;) {
        const auto n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return core::fail_errno(saved, fmt::format("cannot read '{}' of the image", path));
        }
        if (n == 0) return sum.hex();
        sum.update(std::string_view(chunk).substr(0, static_cast<std::size_t>(n)));
    }
}

}  // namespace amilift::image
