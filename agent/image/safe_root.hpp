// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace amilift::image {

enum class FileKind { missing, regular, directory, symlink, other };

struct FileStatus {
    FileKind kind = FileKind::missing;
    std::uint64_t size_bytes = 0;
    std::uint32_t mode = 0;  ///< permission bits with suid, sgid and sticky
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t links = 0;   ///< names that the file has
    std::uint64_t device = 0;  ///< with `inode`, what tells one file from another
    std::uint64_t inode = 0;

    [[nodiscard]] bool is_same_file(const FileStatus& other) const {
        return kind != FileKind::missing && device == other.device && inode == other.inode;
    }
};

/// The root of an image's filesystem, as hostile input: every path is resolved by
/// openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), so that no link leads out of the image, and
/// only regular files are ever read or written (never a FIFO or device node). Paths are absolute,
/// inside the image ("/boot/grub/menu.lst"). Source: openat2(2).
class SafeRoot {
  public:
    /// Symbolic links that one path may go through, as in the kernel (MAXSYMLINKS).
    static constexpr int kMaxLinks = 40;

    /// `root` is an O_PATH or O_DIRECTORY descriptor of the image's root directory.
    explicit SafeRoot(core::Fd root);

    /// A second handle on the same root.
    [[nodiscard]] core::Result<SafeRoot> duplicate() const;

    /// Status of what the path leads to (links followed inside the image). `missing` for a path
    /// that does not exist and for a dangling link. Errors: corrupt for a loop of links (sys_errno
    /// ELOOP, id "link-loop"), and real failures of the filesystem.
    [[nodiscard]] core::Result<FileStatus> status(std::string_view path) const;
    /// The same without following the last component.
    [[nodiscard]] core::Result<FileStatus> link_status(std::string_view path) const;
    /// Text of a symbolic link.
    [[nodiscard]] core::Result<std::string> read_link(std::string_view path) const;
    /// The path, without links, of what `path` leads to: "/boot/grub/grub.conf" for a menu.lst that
    /// is a link to it. Errc::refused (id "link-out-of-image") when a link's text has more ".."
    /// than there are directories above it, as /../../etc does: outside of the image such a link
    /// leads elsewhere. not_found when a component is missing (a dangling link says so), corrupt
    /// with sys_errno ELOOP after kMaxLinks links, corrupt with ENOTDIR when a file is used as
    /// directory.
    [[nodiscard]] core::Result<std::string> resolve(std::string_view path) const;

    /// Whole contents of a regular file, at most `limit` bytes (Errc::corrupt beyond; nothing is
    /// read of a file whose size says so already). Anything but a regular file is Errc::corrupt.
    [[nodiscard]] core::Result<std::string> read(std::string_view path, std::size_t limit) const;
    /// The first `count` bytes (fewer when the file is shorter).
    [[nodiscard]] core::Result<std::string> read_prefix(std::string_view path,
                                                        std::size_t count) const;
    /// An open descriptor of a regular file for reading (big files are streamed).
    [[nodiscard]] core::Result<core::Fd> open_regular(std::string_view path) const;
    /// An open descriptor of a directory (links followed inside the image).
    [[nodiscard]] core::Result<core::Fd> open_directory(std::string_view path) const;
    /// Names in a directory, sorted, without "." and "..", at most `limit` (corrupt beyond).
    [[nodiscard]] core::Result<std::vector<std::string>> list(std::string_view path,
                                                              std::size_t limit = 100000) const;

    /// Replaces or creates a regular file atomically: temporary file without a name in the same
    /// directory, write, fsync, link as ".amilift-new-INODE", rename, fsync of the directory. No
    /// file of the guest is touched for that; what a killed write has left is removed. A file of
    /// several names (hard links) is rewritten where it lies instead, which is not atomic, so that
    /// it stays one file. Keeps mode, owner, extended attributes and the flags d, A and S
    /// (chattr(1)) of a replaced file (a new one gets `mode_if_new`, root:root, and the directory's
    /// SELinux label if it has one), and keeps the directory's timestamps. Links are followed
    /// inside the image: the file that the link names is replaced, the link stays. Fails if the
    /// target is no regular file (corrupt) and if a link dangles (not_found).
    [[nodiscard]] core::Result<> write(std::string_view path, std::string_view contents,
                                       std::uint32_t mode_if_new = 0644) const;
    /// Overwrites bytes of a regular file where they lie: its size and its blocks stay, and they
    /// are on the disk when it returns. Errors: invalid_input when the file is shorter.
    [[nodiscard]] core::Result<> overwrite(std::string_view path, std::uint64_t offset,
                                           std::span<const std::byte> bytes) const;
    /// Puts bytes behind a regular file of `old_bytes` bytes where it lies: what is there is not
    /// written again. They are on the disk when it returns, and none of them after an error that
    /// it could undo; a crash leaves any part of them. Errors: invalid_input when the file is of
    /// another size.
    [[nodiscard]] core::Result<> append(std::string_view path, std::uint64_t old_bytes,
                                        std::string_view bytes) const;
    /// Makes a regular file shorter, on the disk, too. Errors: invalid_input when it is not longer.
    [[nodiscard]] core::Result<> truncate(std::string_view path, std::uint64_t bytes) const;
    /// Sets or clears the immutable flag of a regular file (chattr(1), FS_IOC_SETFLAGS): nobody can
    /// write, rename, remove or defragment it. Needs CAP_LINUX_IMMUTABLE.
    [[nodiscard]] core::Result<> set_immutable(std::string_view path, bool immutable) const;
    [[nodiscard]] core::Result<bool> is_immutable(std::string_view path) const;
    /// What keeps everybody from replacing or removing the file, or from making one there: the path
    /// of the file or directory that is immutable or append-only (chattr(1)). Empty: nothing.
    [[nodiscard]] core::Result<std::string> protection(std::string_view path) const;
    /// Makes a directory and its missing parents (0755 root:root); fine if it exists.
    [[nodiscard]] core::Result<std::vector<std::string>> make_directories(
        std::string_view path) const;  ///< the directories that were made, outermost first
    /// Makes a symbolic link; already_exists if the name is taken.
    [[nodiscard]] core::Result<> make_link(std::string_view path, std::string_view text) const;
    /// Removes a regular file or symbolic link (the link itself); anything else is corrupt. The
    /// directory keeps its timestamps.
    [[nodiscard]] core::Result<> remove(std::string_view path) const;

  private:
    /// openat2(2) below the root; Errc as by fail_errno, but corrupt where the path itself cannot
    /// be walked (ELOOP, ENAMETOOLONG, ENOTDIR).
    [[nodiscard]] core::Result<core::Fd> open(std::string_view path, int flags) const;
    /// The directory that holds the last component of `path` (links to it followed), and that name.
    struct Place {
        core::Fd directory;
        std::string name;
    };
    [[nodiscard]] core::Result<Place> place_of(std::string_view path) const;
    /// Removes what a killed write() has left in this directory.
    [[nodiscard]] core::Result<> remove_leftovers(const core::Fd& directory,
                                                  std::string_view path) const;
    [[nodiscard]] core::Result<> rewrite(const std::string& path, std::string_view contents) const;

    core::Fd root_;
};

/// The directory that holds `path`: "/boot" of "/boot/grub"; "/" of itself.
[[nodiscard]] std::string parent_of(std::string_view path);

/// Is an error of SafeRoot the image's own fault? Else the filesystem cannot be read, which is no
/// finding.
[[nodiscard]] bool is_content_problem(const core::Error& error) noexcept;

/// Lower-case hex SHA-256 of a whole file of the image.
[[nodiscard]] core::Result<std::string> sha256_of(const SafeRoot& root, std::string_view path);

}  // namespace amilift::image
