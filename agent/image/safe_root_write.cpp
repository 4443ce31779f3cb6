// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <optional>

#include "image/safe_root.hpp"
#include "image/safe_root_detail.hpp"
#include "image/xattrs.hpp"

namespace amilift::image {

using core::Errc;
using core::Fd;
using core::Result;
using detail::check_path;
using detail::components_of;
using detail::copy_xattrs;
using detail::not_regular;
using detail::quoted;
using detail::read_xattr;
using detail::stat_fd;
using detail::write_xattr;

namespace {

/// The flags of FS_IOC_GETFLAGS. The call takes an int, whatever its definition says (linux/fs.h).
Result<unsigned> inode_flags(const Fd& fd, std::string_view path) {
    int flags = 0;
    if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot read the flags of {}", quoted(path)));
    }
    return static_cast<unsigned>(flags);
}

/// Those that chattr(1) sets on a whole file and that change how it is used, not what is in it.
/// Best effort, as not every filesystem has them.
void copy_inode_flags(const Fd& from, const Fd& to) {
    constexpr unsigned kKept = FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL;
    int old = 0;
    int now = 0;
    if (::ioctl(from.get(), FS_IOC_GETFLAGS, &old) != 0 ||
        ::ioctl(to.get(), FS_IOC_GETFLAGS, &now) != 0) {
        return;
    }
    int wanted =
        static_cast<int>(static_cast<unsigned>(now) | (static_cast<unsigned>(old) & kKept));
    if (wanted != now) ::ioctl(to.get(), FS_IOC_SETFLAGS, &wanted);
}

/// Puts a directory's access and modification times back when a change below it is done.
class DirectoryTimes {
  public:
    explicit DirectoryTimes(const Fd& directory) : directory_(directory) {
        struct stat st{};
        if (::fstat(directory.get(), &st) == 0) {
            times_[0] = st.st_atim;
            times_[1] = st.st_mtim;
            known_ = true;
        }
    }
    DirectoryTimes(const DirectoryTimes&) = delete;
    DirectoryTimes& operator=(const DirectoryTimes&) = delete;
    ~DirectoryTimes() {
        // Best effort: a failure leaves a newer time, nothing that a boot depends on.
        if (known_) ::futimens(directory_.get(), times_);
    }

  private:
    const Fd& directory_;
    struct timespec times_[2] = {};
    bool known_ = false;
};

Result<> sync_directory(const Fd& directory, std::string_view path) {
    if (::fsync(directory.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved,
                                fmt::format("cannot make the change of {} durable", quoted(path)));
    }
    return {};
}

constexpr std::string_view kTemporary = ".amilift-new-";

/// What a new file is called between its completion and its renaming. A file of the guest's own
/// does not have the number of its inode in its name; what does was left by an amilift that was
/// killed in between.
std::string temporary_name(const struct stat& st) {
    return fmt::format("{}{}", kTemporary, st.st_ino);
}

std::string fd_path(const Fd& fd) {
    return fmt::format("/proc/self/fd/{}", fd.get());
}

constexpr const char* kSelinuxLabel = "security.selinux";

/// A new object of the image belongs to root and is labelled like the directory it lies in.
Result<> label_like(const Fd& directory, const Fd& made, std::string_view path) {
    AMILIFT_TRY(const auto label, read_xattr(directory, kSelinuxLabel, path));
    if (label) AMILIFT_CHECK(write_xattr(made, kSelinuxLabel, *label, path));
    return {};
}

Result<> set_owner_and_mode(const Fd& fd, const FileStatus& wanted, std::string_view path) {
    // chown clears suid and sgid: the mode comes after it.
    if (::fchown(fd.get(), wanted.uid, wanted.gid) != 0 || ::fchmod(fd.get(), wanted.mode) != 0) {
        const int saved = errno;
        return core::fail_errno(
            saved, fmt::format("cannot set owner {}:{} and mode {:o} of {}", wanted.uid, wanted.gid,
                               wanted.mode, quoted(path)));
    }
    return {};
}

}  // namespace

Result<SafeRoot::Place> SafeRoot::place_of(std::string_view path) const {
    AMILIFT_CHECK(check_path(path));
    while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
    const auto slash = path.rfind('/');
    const std::string_view name = path.substr(slash + 1);
    if (name.empty() || name == "." || name == "..") {
        return core::fail(Errc::invalid_input,
                          fmt::format("{} does not end in a file's name", quoted(path)));
    }
    const std::string_view parent = slash == 0 ? "/" : path.substr(0, slash);
    AMILIFT_TRY(Fd directory, open(parent, O_RDONLY | O_DIRECTORY));
    return Place{std::move(directory), std::string(name)};
}

Result<> SafeRoot::remove_leftovers(const Fd& directory, std::string_view path) const {
    AMILIFT_TRY(const auto names, list(path, std::numeric_limits<std::size_t>::max()));
    for (const auto& name : names) {
        struct stat st{};
        if (!name.starts_with(kTemporary) ||
            ::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (!S_ISREG(st.st_mode) || name != temporary_name(st)) continue;
        if (::unlinkat(directory.get(), name.c_str(), 0) != 0) {
            const int saved = errno;
            return core::fail_errno(
                saved, fmt::format("cannot remove '{}' from {} of the image", name, quoted(path)));
        }
    }
    return {};
}

Result<> SafeRoot::write(std::string_view path, std::string_view contents,
                         std::uint32_t mode_if_new) const {
    std::string real(path);
    AMILIFT_TRY(const auto last, link_status(path));
    if (last.kind != FileKind::missing) {
        AMILIFT_TRY(real, resolve(path));
    }
    AMILIFT_TRY(const Place place, place_of(real));
    AMILIFT_TRY(const auto old, link_status(real));
    if (old.kind != FileKind::missing && old.kind != FileKind::regular) {
        AMILIFT_TRY(const Fd there, open(real, O_PATH | O_NOFOLLOW));
        AMILIFT_TRY(const auto st, stat_fd(there, real));
        return not_regular(real, st.st_mode);
    }

    const DirectoryTimes times(place.directory);
    AMILIFT_CHECK(remove_leftovers(place.directory, parent_of(real)));
    // It has no name until it is complete.
    const Fd fd(::openat(place.directory.get(), ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
    if (!fd) {
        const int saved = errno;
        return core::fail_errno(
            saved,
            fmt::format("cannot make a temporary file beside {} of the image", quoted(real)));
    }
    AMILIFT_TRY(const auto made, stat_fd(fd, real));
    const auto temporary = temporary_name(made);
    bool has_name = false;
    auto replace = [&]() -> Result<> {
        AMILIFT_CHECK(core::write_all(fd, contents, real));
        FileStatus wanted = old;
        if (old.kind == FileKind::missing) wanted.mode = mode_if_new & 07777U;
        AMILIFT_CHECK(set_owner_and_mode(fd, wanted, real));
        if (old.kind == FileKind::regular) {
            AMILIFT_TRY(const Fd replaced, open_regular(real));
            AMILIFT_CHECK(copy_xattrs(replaced, fd, real));
            copy_inode_flags(replaced, fd);
        } else {
            AMILIFT_CHECK(label_like(place.directory, fd, real));
        }
        if (old.kind == FileKind::regular && old.links > 1) return rewrite(real, contents);
        if (::fsync(fd.get()) != 0) {
            const int saved = errno;
            return core::fail_errno(saved, fmt::format("cannot flush the new {}", quoted(real)));
        }
        if (::linkat(AT_FDCWD, fd_path(fd).c_str(), place.directory.get(), temporary.c_str(),
                     AT_SYMLINK_FOLLOW) != 0) {
            const int saved = errno;
            return core::fail_errno(
                saved, fmt::format("cannot name the new {} '{}'", quoted(real), temporary),
                saved == EEXIST ? "remove the file of this name from the image" : "");
        }
        has_name = true;
        if (::renameat(place.directory.get(), temporary.c_str(), place.directory.get(),
                       place.name.c_str()) != 0) {
            const int saved = errno;
            return core::fail_errno(
                saved, fmt::format("cannot replace {} of the image", quoted(real)),
                saved == EPERM ? "the file may be immutable: chattr -i it and create the AMI again"
                               : "");
        }
        return {};
    };
    if (auto replaced = replace(); !replaced) {
        if (has_name) ::unlinkat(place.directory.get(), temporary.c_str(), 0);
        return replaced;
    }
    return sync_directory(place.directory, real);
}

/// The temporary file beside it has proved that there is room for the new contents.
Result<> SafeRoot::rewrite(const std::string& path, std::string_view contents) const {
    AMILIFT_TRY(const Fd seen, open_regular(path));
    AMILIFT_TRY(const Fd fd, core::open_file(fd_path(seen), O_WRONLY));
    AMILIFT_CHECK(core::write_all_at(fd, std::as_bytes(std::span(contents)), 0, path));
    if (::ftruncate(fd.get(), static_cast<off_t>(contents.size())) != 0 || ::fsync(fd.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot rewrite {} of the image", quoted(path)));
    }
    return {};
}

Result<> SafeRoot::overwrite(std::string_view path, std::uint64_t offset,
                             std::span<const std::byte> bytes) const {
    AMILIFT_TRY(const Fd seen, open_regular(path));
    AMILIFT_TRY(const auto st, stat_fd(seen, path));
    const auto size = static_cast<std::uint64_t>(st.st_size);
    if (offset > size || bytes.size() > size - offset) {
        return core::fail(Errc::invalid_input,
                          fmt::format("{} has {} bytes, {} are to be overwritten from byte {}",
                                      quoted(path), size, bytes.size(), offset));
    }
    AMILIFT_TRY(const Fd fd, core::open_file(fd_path(seen), O_WRONLY));
    AMILIFT_CHECK(core::write_all_at(fd, bytes, offset, std::string(path)));
    if (::fsync(fd.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot flush {} of the image", quoted(path)));
    }
    return {};
}

Result<> SafeRoot::append(std::string_view path, std::uint64_t old_bytes,
                          std::string_view bytes) const {
    AMILIFT_TRY(const Fd seen, open_regular(path));
    AMILIFT_TRY(const auto st, stat_fd(seen, path));
    if (static_cast<std::uint64_t>(st.st_size) != old_bytes) {
        return core::fail(Errc::invalid_input,
                          fmt::format("{} has {} bytes, expected {} to append to", quoted(path),
                                      st.st_size, old_bytes));
    }
    AMILIFT_TRY(const Fd fd, core::open_file(fd_path(seen), O_WRONLY));
    auto written =
        core::write_all_at(fd, std::as_bytes(std::span(bytes)), old_bytes, std::string(path));
    if (written && ::fsync(fd.get()) != 0) {
        const int saved = errno;
        written =
            core::fail_errno(saved, fmt::format("cannot flush {} of the image", quoted(path)));
    }
    if (!written && ::ftruncate(fd.get(), st.st_size) != 0) {
        return std::unexpected(std::move(written).error().with_context(
            fmt::format("a part of what was appended to {} may have stayed", quoted(path))));
    }
    return written;
}

Result<> SafeRoot::truncate(std::string_view path, std::uint64_t bytes) const {
    AMILIFT_TRY(const Fd seen, open_regular(path));
    AMILIFT_TRY(const auto st, stat_fd(seen, path));
    if (static_cast<std::uint64_t>(st.st_size) <= bytes) {
        return core::fail(Errc::invalid_input, fmt::format("{} has {} bytes, expected more than {}",
                                                           quoted(path), st.st_size, bytes));
    }
    AMILIFT_TRY(const Fd fd, core::open_file(fd_path(seen), O_WRONLY));
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 || ::fsync(fd.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot shorten {} of the image", quoted(path)));
    }
    return {};
}

Result<bool> SafeRoot::is_immutable(std::string_view path) const {
    AMILIFT_TRY(const Fd fd, open_regular(path));
    AMILIFT_TRY(const auto flags, inode_flags(fd, path));
    return (flags & FS_IMMUTABLE_FL) != 0;
}

Result<> SafeRoot::set_immutable(std::string_view path, bool immutable) const {
    AMILIFT_TRY(const Fd fd, open_regular(path));
    AMILIFT_TRY(const auto flags, inode_flags(fd, path));
    constexpr unsigned kImmutable = FS_IMMUTABLE_FL;
    int wanted = static_cast<int>(immutable ? flags | kImmutable : flags & ~kImmutable);
    if (static_cast<unsigned>(wanted) == flags) return {};
    if (::ioctl(fd.get(), FS_IOC_SETFLAGS, &wanted) != 0 || ::fsync(fd.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot {} the immutable flag of {}",
                                                   immutable ? "set" : "clear", quoted(path)));
    }
    return {};
}

Result<std::string> SafeRoot::protection(std::string_view path) const {
    std::string at(path);
    AMILIFT_TRY(auto found, link_status(at));
    if (found.kind == FileKind::symlink) {
        AMILIFT_TRY(found, status(at));
        if (found.kind == FileKind::missing) return std::string();
        AMILIFT_TRY(at, resolve(at));
    }
    // Missing directories are made in the first one that is there.
    for (;; at = parent_of(at)) {
        AMILIFT_TRY(const auto here, status(at));
        if (here.kind == FileKind::missing) continue;
        if (here.kind != FileKind::regular && here.kind != FileKind::directory)
            return std::string();
        AMILIFT_TRY(const Fd fd, open(at, O_RDONLY | O_NONBLOCK));
        int flags = 0;
        // Not every filesystem has them.
        if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) return std::string();
        if ((static_cast<unsigned>(flags) & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0) return at;
        if (here.kind == FileKind::directory) return std::string();
    }
}

Result<std::vector<std::string>> SafeRoot::make_directories(std::string_view path) const {
    AMILIFT_CHECK(check_path(path));
    std::vector<std::string> made;
    std::string here;
    for (const auto& part : components_of(path)) {
        if (part == "." || part == "..") {
            return core::fail(Errc::invalid_input,
                              fmt::format("{} must not hold '.' or '..'", quoted(path)));
        }
        here += "/" + part;
        AMILIFT_TRY(const auto there, status(here));
        if (there.kind == FileKind::directory) continue;
        if (there.kind != FileKind::missing) {
            return core::fail(Errc::corrupt,
                              fmt::format("{} is no directory, expected one", quoted(here)));
        }
        AMILIFT_TRY(const Place place, place_of(here));
        const DirectoryTimes times(place.directory);
        if (::mkdirat(place.directory.get(), place.name.c_str(), 0755) != 0) {
            const int saved = errno;
            return core::fail_errno(
                saved, fmt::format("cannot make the directory {} of the image", quoted(here)),
                saved == EEXIST ? "a dangling link has this name: remove it from the image" : "");
        }
        AMILIFT_TRY(const Fd fd, open(here, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        // mkdir is subject to the umask of the helper.
        AMILIFT_CHECK(set_owner_and_mode(fd, FileStatus{FileKind::directory, 0, 0755, 0, 0}, here));
        AMILIFT_CHECK(label_like(place.directory, fd, here));
        AMILIFT_CHECK(sync_directory(place.directory, here));
        made.push_back(here);
    }
    return made;
}

Result<> SafeRoot::make_link(std::string_view path, std::string_view text) const {
    AMILIFT_TRY(const Place place, place_of(path));
    const DirectoryTimes times(place.directory);
    if (::symlinkat(std::string(text).c_str(), place.directory.get(), place.name.c_str()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot make the link {} to {} in the image",
                                                   quoted(path), quoted(text)));
    }
    AMILIFT_TRY(const auto label, read_xattr(place.directory, kSelinuxLabel, path));
    if (label) {
        // There is no lsetxattrat: the directory's own descriptor makes the name safe.
        const auto name = fmt::format("{}/{}", fd_path(place.directory), place.name);
        if (::lsetxattr(name.c_str(), kSelinuxLabel, label->data(), label->size(), 0) != 0) {
            const int saved = errno;
            return core::fail_errno(saved, fmt::format("cannot label the link {}", quoted(path)));
        }
    }
    return sync_directory(place.directory, path);
}

Result<> SafeRoot::remove(std::string_view path) const {
    AMILIFT_TRY(const auto there, link_status(path));
    if (there.kind == FileKind::missing) {
        return core::fail(Errc::not_found, fmt::format("the image has no {}", quoted(path)));
    }
    AMILIFT_TRY(const Fd seen, open(path, O_PATH | O_NOFOLLOW));
    AMILIFT_TRY(const auto st, stat_fd(seen, path));
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) return not_regular(path, st.st_mode);
    AMILIFT_TRY(const Place place, place_of(path));
    const DirectoryTimes times(place.directory);
    if (::unlinkat(place.directory.get(), place.name.c_str(), 0) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot remove {} of the image", quoted(path)));
    }
    return sync_directory(place.directory, path);
}

}  // namespace amilift::image
