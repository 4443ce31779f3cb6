// SPDX-License-Identifier: Apache-2.0
#include "image/tree_copy.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "core/owned.hpp"
#include "image/text_lines.hpp"
#include "image/xattrs.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::fail;
using core::Fd;
using core::Result;

constexpr std::size_t kPiece = std::size_t{256} << 10;

std::unexpected<core::Error> failed(int saved, std::string_view call, const std::string& path) {
    return core::fail_errno(saved, fmt::format("{} '{}' of the image", call, printable(path)));
}

std::unexpected<core::Error> not_copyable(std::string why) {
    return fail(Errc::refused, "a part of the image cannot be copied: " + std::move(why),
                "take it out of the source, then make the image again", "tree-not-copyable");
}

/// Names in the directory, sorted; only as many as a tree may have.
Result<std::vector<std::string>> names_in(const Fd& directory, const std::string& path) {
    const int copy = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return failed(errno, "cannot open", path);
    const core::Owned<DIR, ::closedir> stream(::fdopendir(copy));
    if (!stream) {
        const int saved = errno;
        ::close(copy);
        return failed(saved, "cannot read", path);
    }
    std::vector<std::string> names;
    while (true) {
        errno = 0;
        const auto* entry = ::readdir(stream.get());
        if (entry == nullptr) {
            if (errno != 0) return failed(errno, "cannot read", path);
            break;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        names.emplace_back(name);
        if (names.size() > kMaxTreeFiles) {
            return not_copyable(fmt::format("more than {} names", kMaxTreeFiles));
        }
    }
    std::ranges::sort(names);
    return names;
}

Result<Fd> open_directory(const Fd& parent, const std::string& name, const std::string& path) {
    Fd fd(::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) return failed(errno, "cannot open", path);
    return fd;
}

/// Goes through a tree; the visitor does the rest.
class Walk {
  public:
    explicit Walk(dev_t device) : device_(device) {}

    /// Calls visit(directory, name, path, status) for each name, and for directories
    /// enter(directory, name, path, status) too, which gives what the visitor needs below.
    template <class Visitor>
    Result<> run(const Fd& directory, const std::string& path, std::size_t depth,
                 Visitor& visitor) {
        if (depth > kMaxTreeDepth) {
            return not_copyable(fmt::format("more than {} levels of directories", kMaxTreeDepth));
        }
        AMILIFT_TRY(const auto names, names_in(directory, path));
        for (const auto& name : names) {
            if (depth == 0 && name == "lost+found") continue;
            if (++count_ > kMaxTreeFiles) {
                return not_copyable(fmt::format("more than {} names", kMaxTreeFiles));
            }
            const auto inside = path.empty() ? name : fmt::format("{}/{}", path, name);
            struct stat status{};
            if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
                return failed(errno, "cannot look at", inside);
            }
            if (!S_ISDIR(status.st_mode)) {
                if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
                    return not_copyable(
                        fmt::format("'{}' is a device, FIFO or socket", printable(inside)));
                }
                AMILIFT_CHECK(visitor.visit(directory, name, inside, status));
                continue;
            }
            AMILIFT_TRY(const auto below, open_directory(directory, name, inside));
            AMILIFT_CHECK(visitor.enter(name, inside));
            // A filesystem that is mounted there is no part of this one: only its place is.
            if (status.st_dev == device_) AMILIFT_CHECK(run(below, inside, depth + 1, visitor));
            AMILIFT_CHECK(visitor.leave(below, inside, status));
        }
        return {};
    }

    [[nodiscard]] std::size_t count() const { return count_; }

  private:
    dev_t device_;
    std::size_t count_ = 0;
};

constexpr std::uint64_t kBlock = 4096;

/// Has it blocks for less than its size?
bool has_holes(const struct stat& status) {
    return std::uint64_t{512} * static_cast<std::uint64_t>(status.st_blocks) <
           static_cast<std::uint64_t>(status.st_size);
}

struct Measurer {
    const FilesWithoutHoles& whole;
    std::uint64_t bytes = 0;
    Result<> visit(const Fd& /*directory*/, const std::string& /*name*/, const std::string& path,
                   const struct stat& status) {
        // ext keeps a short link in its inode.
        constexpr off_t kShortLink = 60;
        if (status.st_size <= (S_ISLNK(status.st_mode) ? kShortLink - 1 : 0)) return {};
        const auto size = (static_cast<std::uint64_t>(status.st_size) + kBlock - 1) / kBlock;
        auto blocks = size;
        if (S_ISREG(status.st_mode) && has_holes(status) && !whole.contains(path)) {
            // A piece of 512 bytes here may take a block there.
            blocks = std::min(size, static_cast<std::uint64_t>(status.st_blocks) + 1);
        }
        bytes += blocks * kBlock;
        return {};
    }
    Result<> enter(const std::string& /*name*/, const std::string& /*path*/) {
        bytes += kBlock;
        return {};
    }
    Result<> leave(const Fd& /*from*/, const std::string& /*path*/, const struct stat& /*status*/) {
        return {};
    }
};

/// Notes the first name that is no directory.
struct FirstFile {
    std::optional<std::string> found;
    Result<> visit(const Fd& /*directory*/, const std::string& /*name*/, const std::string& path,
                   const struct stat& /*status*/) {
        if (!found) found = path;
        return {};
    }
    Result<> enter(const std::string& /*name*/, const std::string& /*path*/) { return {}; }
    Result<> leave(const Fd& /*from*/, const std::string& /*path*/, const struct stat& /*status*/) {
        return {};
    }
};

/// Owner first: a change of it takes the set-user-id bit away. Times last.
Result<> copy_attributes(const Fd& from, const Fd& to, const std::string& path,
                         const struct stat& status) {
    if (::fchown(to.get(), status.st_uid, status.st_gid) != 0 ||
        ::fchmod(to.get(), status.st_mode & 07777U) != 0) {
        return failed(errno, "cannot set owner and mode of", path);
    }
    AMILIFT_CHECK(detail::copy_xattrs(from, to, path));
    const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
    if (::futimens(to.get(), times.data()) != 0) return failed(errno, "cannot set times of", path);
    return {};
}

/// Copies [`at`, `end`) of `from`, or up to its end.
Result<> copy_range(const Fd& from, const Fd& to, off_t at, off_t end, const std::string& path) {
    if (at >= end) return {};
    std::vector<std::byte> piece(std::min(kPiece, static_cast<std::size_t>(end - at)));
    while (at < end) {
        const auto wanted = std::min(piece.size(), static_cast<std::size_t>(end - at));
        const auto n = ::pread(from.get(), piece.data(), wanted, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(errno, "cannot read", path);
        if (n == 0) return {};
        AMILIFT_CHECK(core::write_all_at(to, {piece.data(), static_cast<std::size_t>(n)},
                                         static_cast<std::uint64_t>(at), path));
        at += n;
    }
    return {};
}

/// Only what is no hole.
Result<> copy_data(const Fd& from, const Fd& to, off_t size, const std::string& path) {
    for (off_t at = 0; at < size;) {
        const auto data = ::lseek(from.get(), at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;
        if (data < 0) return failed(errno, "cannot look for data in", path);
        const auto hole = ::lseek(from.get(), data, SEEK_HOLE);
        if (hole < 0) return failed(errno, "cannot look for holes in", path);
        AMILIFT_CHECK(copy_range(from, to, data, std::min(hole, size), path));
        at = hole;
    }
    if (::ftruncate(to.get(), size) != 0) return failed(errno, "cannot set the size of", path);
    return {};
}

class Copier {
  public:
    Copier(const Fd& to, const FilesWithoutHoles& whole) : whole_(whole) {
        targets_.push_back(&to);
    }

    Result<> visit(const Fd& from, const std::string& name, const std::string& path,
                   const struct stat& status) {
        const auto& to = *targets_.back();
        AMILIFT_CHECK(make_way(to, name, path));
        if (S_ISLNK(status.st_mode)) {
            AMILIFT_CHECK(copy_link(from, to, name, path, status));
            copied_.push_back({path, "link"});
            return {};
        }
        AMILIFT_CHECK(copy_file(from, to, name, path, status));
        copied_.push_back({path, "file"});
        return {};
    }

    Result<> enter(const std::string& name, const std::string& path) {
        const auto& to = *targets_.back();
        if (::mkdirat(to.get(), name.c_str(), 0700) == 0) {
            copied_.push_back({path, "directory"});
        } else if (errno != EEXIST) {
            return failed(errno, "cannot make", path);
        }
        auto made = open_directory(to, name, path);
        if (!made) {
            return fail(Errc::conflict, fmt::format("'{}' is a directory on one filesystem of the "
                                                    "image and something else on the other",
                                                    printable(path)));
        }
        owned_.push_back(std::make_unique<Fd>(*std::move(made)));
        targets_.push_back(owned_.back().get());
        return {};
    }

    Result<> leave(const Fd& from, const std::string& path, const struct stat& status) {
        AMILIFT_CHECK(copy_attributes(from, *targets_.back(), path, status));
        targets_.pop_back();
        owned_.pop_back();
        return {};
    }

    std::vector<CopiedPath> take() && { return std::move(copied_); }

  private:
    static Result<> make_way(const Fd& to, const std::string& name, const std::string& path) {
        if (::unlinkat(to.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
        if (errno == EISDIR || errno == EPERM) {
            if (::unlinkat(to.get(), name.c_str(), AT_REMOVEDIR) == 0) return {};
            return fail(Errc::conflict,
                        fmt::format("there is a directory in the place of '{}' of the image",
                                    printable(path)),
                        "remove it in the source");
        }
        return failed(errno, "cannot replace", path);
    }

    static Result<> copy_link(const Fd& from, const Fd& to, const std::string& name,
                              const std::string& path, const struct stat& status) {
        std::string text(PATH_MAX, '\0');
        const auto length = ::readlinkat(from.get(), name.c_str(), text.data(), text.size());
        if (length < 0) return failed(errno, "cannot read link", path);
        text.resize(static_cast<std::size_t>(length));
        const std::array<timespec, 2> times{status.st_atim, status.st_mtim};
        if (::symlinkat(text.c_str(), to.get(), name.c_str()) != 0 ||
            ::fchownat(to.get(), name.c_str(), status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) !=
                0 ||
            ::utimensat(to.get(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
            return failed(errno, "cannot make link", path);
        }
        return copy_link_label(from, to, name, path);
    }

    /// Of a link's attributes only the SELinux label means something. There is no lgetxattrat: the
    /// directory's own descriptor makes the name safe.
    static Result<> copy_link_label(const Fd& from, const Fd& to, const std::string& name,
                                    const std::string& path) {
        constexpr const char* kLabel = "security.selinux";
        std::string label(65536, '\0');  // XATTR_SIZE_MAX of linux/limits.h
        const auto read_from = fmt::format("/proc/self/fd/{}/{}", from.get(), name);
        const auto size = ::lgetxattr(read_from.c_str(), kLabel, label.data(), label.size());
        if (size < 0) {
            if (errno == ENODATA || errno == ENOTSUP) return {};
            return failed(errno, "cannot read the label of", path);
        }
        const auto write_to = fmt::format("/proc/self/fd/{}/{}", to.get(), name);
        if (::lsetxattr(write_to.c_str(), kLabel, label.data(), static_cast<std::size_t>(size),
                        0) != 0) {
            return failed(errno, "cannot write the label of", path);
        }
        return {};
    }

    Result<> copy_file(const Fd& from, const Fd& to, const std::string& name,
                       const std::string& path, const struct stat& status) {
        if (status.st_nlink > 1) {
            const auto [first, is_new] = files_.try_emplace(status.st_ino, path);
            if (!is_new) {
                // Relative to the top: both names lie below it.
                if (::linkat(targets_.front()->get(), first->second.c_str(), to.get(), name.c_str(),
                             0) != 0) {
                    return failed(errno, "cannot make hard link", path);
                }
                return {};
            }
        }
        const Fd in(
            ::openat(from.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!in.valid()) return failed(errno, "cannot open", path);
        const Fd out(::openat(to.get(), name.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!out.valid()) return failed(errno, "cannot make", path);
        const bool whole = whole_.contains(path) || !has_holes(status);
        AMILIFT_CHECK(whole ? copy_range(in, out, 0, status.st_size, path)
                            : copy_data(in, out, status.st_size, path));
        return copy_attributes(in, out, path, status);
    }

    const FilesWithoutHoles& whole_;
    std::vector<const Fd*> targets_;  ///< the directory of the target, one for each level
    std::vector<std::unique_ptr<Fd>> owned_;
    std::map<ino_t, std::string> files_;  ///< with more than one name
    std::vector<CopiedPath> copied_;
};

Result<struct stat> status_of(const Fd& directory) {
    struct stat status{};
    if (::fstat(directory.get(), &status) != 0) return failed(errno, "cannot look at", "");
    return status;
}

}  // namespace

Result<TreeSize> measure_tree(const Fd& from, const FilesWithoutHoles& whole) {
    AMILIFT_TRY(const auto status, status_of(from));
    Walk walk(status.st_dev);
    Measurer measurer{whole};
    AMILIFT_CHECK(walk.run(from, "", 0, measurer));
    return TreeSize{measurer.bytes, walk.count()};
}

Result<std::optional<std::string>> first_file(const Fd& directory) {
    AMILIFT_TRY(const auto status, status_of(directory));
    Walk walk(status.st_dev);
    FirstFile visitor;
    AMILIFT_CHECK(walk.run(directory, "", 0, visitor));
    return std::move(visitor.found);
}

Result<std::vector<CopiedPath>> copy_tree(const Fd& from, const Fd& to,
                                          const FilesWithoutHoles& whole) {
    AMILIFT_TRY(const auto status, status_of(from));
    Walk walk(status.st_dev);
    Copier copier(to, whole);
    AMILIFT_CHECK(walk.run(from, "", 0, copier));
    AMILIFT_CHECK(copy_attributes(from, to, ".", status));
    return std::move(copier).take();
}

}  // namespace amilift::image
