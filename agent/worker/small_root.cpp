// SPDX-License-Identifier: Apache-2.0
#include "worker/small_root.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "core/fd.hpp"

namespace amilift::worker {
namespace {

using core::fail_errno;
using core::Result;

// Where the new root is built. It must be there, and what is mounted on it is seen by nobody else.
constexpr const char* kPlace = "/run";
constexpr unsigned long kReadOnly = MS_RDONLY | MS_NOSUID | MS_NODEV;
constexpr unsigned long kNoPrivileges = MS_NOSUID | MS_NODEV;
// Programs of GRUB that are made for the image, one at a time: the largest that is taken has 16 MiB
// (modules/grub2_image.cpp), and nothing else is written there. It is memory that no limit of a
// process counts.
constexpr const char* kTemporaryOptions = "mode=1777,size=32m,nr_inodes=1k";

struct Shown {
    const char* path;
    unsigned long flags;
    unsigned long with_mounts_below = MS_REC;
};
constexpr std::array kTrees{Shown{"/usr", kReadOnly}, Shown{"/bin", kReadOnly},
                            Shown{"/sbin", kReadOnly}, Shown{"/lib", kReadOnly},
                            Shown{"/lib32", kReadOnly}, Shown{"/lib64", kReadOnly},
                            // Not /dev/shm, where sockets may be, nor the terminals.
                            Shown{"/dev", MS_NOSUID, 0}, Shown{"/proc", kNoPrivileges | MS_NOEXEC},
                            Shown{"/sys", kReadOnly}, Shown{"/etc/alternatives", kReadOnly}};
constexpr std::array kFiles{"/etc/ld.so.cache", "/etc/mke2fs.conf", "/etc/mtools.conf",
                            "/etc/localtime"};

Result<> failed(const std::string& what) {
    const int saved = errno;
    return fail_errno(saved, fmt::format("cannot enclose the disk worker: {}", what),
                      "run it as root");
}

/// `path` of the old root, seen from the new one that is being built in kPlace.
std::string inside(const char* path) {
    return std::string(kPlace) + path;
}

Result<> bind(const char* path, unsigned long flags, unsigned long with_mounts_below = MS_REC) {
    const auto target = inside(path);
    if (::mount(path, target.c_str(), nullptr, MS_BIND | with_mounts_below, nullptr) != 0) {
        return failed(fmt::format("showing it '{}'", path));
    }
    if (::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) != 0) {
        return failed(fmt::format("restricting its '{}'", path));
    }
    return {};
}

Result<> show_tree(const Shown& tree) {
    struct stat status{};
    if (::lstat(tree.path, &status) != 0) return {};
    const auto target = inside(tree.path);
    if (S_ISLNK(status.st_mode)) {
        std::array<char, 4096> text{};
        const auto length = ::readlink(tree.path, text.data(), text.size() - 1);
        if (length < 0 || ::symlink(text.data(), target.c_str()) != 0) {
            return failed(fmt::format("linking '{}'", tree.path));
        }
        return {};
    }
    if (!S_ISDIR(status.st_mode)) return {};
    if (::mkdir(target.c_str(), 0755) != 0) return failed(fmt::format("making '{}'", tree.path));
    return bind(tree.path, tree.flags, tree.with_mounts_below);
}

Result<> show_file(const char* path) {
    struct stat status{};
    if (::stat(path, &status) != 0 || !S_ISREG(status.st_mode)) return {};
    AMILIFT_CHECK(core::open_file(inside(path), O_WRONLY | O_CREAT | O_EXCL, 0600));
    return bind(path, kReadOnly | MS_NOEXEC);
}

Result<> show_directory(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(inside(path.c_str()), error);
    if (!error) return bind(path.c_str(), kNoPrivileges | MS_NOEXEC);
    return fail_errno(error.value(),
                      fmt::format("cannot enclose the disk worker: making '{}'", path));
}

}  // namespace

Result<> enter_small_root(const std::string& shown_directory) {
    if (::mount("tmpfs", kPlace, "tmpfs", kNoPrivileges, "mode=0755,size=64m") != 0) {
        return failed("mounting a tmpfs");
    }
    for (const char* directory : {"/etc", "/run", "/tmp"}) {
        if (::mkdir(inside(directory).c_str(), 0755) != 0) return failed("making a directory");
    }
    for (const auto& tree : kTrees) AMILIFT_CHECK(show_tree(tree));
    for (const auto* file : kFiles) AMILIFT_CHECK(show_file(file));
    if (::mount("tmpfs", inside("/tmp").c_str(), "tmpfs", kNoPrivileges | MS_NOEXEC,
                kTemporaryOptions) != 0) {
        return failed("mounting a tmpfs on its '/tmp'");
    }
    if (!shown_directory.empty()) AMILIFT_CHECK(show_directory(shown_directory));

    // The old root is put over the new one, and taken away from there: pivot_root(2),
    // "pivot_root(".", ".")".
    if (::chdir(kPlace) != 0) return failed("chdir");
    if (::syscall(SYS_pivot_root, ".", ".") != 0) return failed("pivot_root");
    if (::umount2(".", MNT_DETACH) != 0) return failed("leaving the old root");
    if (::chdir("/") != 0) return failed("chdir");
    return {};
}

}  // namespace amilift::worker
