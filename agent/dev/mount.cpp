// SPDX-License-Identifier: Apache-2.0
#include "dev/mount.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/btrfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr const char* kRuntimeDirectory = "/run/amilift";
// A just closed file may keep the mount busy for a moment (delayed release).
constexpr int kUnmountAttempts = 40;
constexpr auto kUnmountPause = std::chrono::milliseconds(50);
constexpr std::size_t kHoldersShown = 5;

std::string options_for(Filesystem type, Access access, std::uint64_t subvolume) {
    if (type == Filesystem::btrfs) {
        // Discarding would go on in the background after the mount, in whatever order.
        std::string options = access == Access::read_only ? "rescue=nologreplay" : "nodiscard";
        if (subvolume != 0) options += fmt::format(",subvolid={}", subvolume);
        return options;
    }
    if (type == Filesystem::xfs) {
        // The helper may have the same filesystem mounted elsewhere: source and its copy.
        return access == Access::read_only ? "norecovery,nouuid" : "nouuid";
    }
    // The superblock is the image's, and its wish on errors may be "panic".
    std::string options = "errors=remount-ro";
    if (access == Access::read_only && type != Filesystem::ext2) options += ",noload";
    // Else a kernel thread writes zeros to all inode tables that mke2fs has left for later.
    if (access == Access::read_write && type == Filesystem::ext4) options += ",noinit_itable";
    return options;
}

Result<std::string> make_directory() {
    std::vector<std::string> bases;
    if (::mkdir(kRuntimeDirectory, 0700) == 0 || errno == EEXIST) {
        bases.emplace_back(kRuntimeDirectory);
    }
    const char* temporary = std::getenv("TMPDIR");
    bases.emplace_back(temporary != nullptr && *temporary == '/' ? temporary : "/tmp");
    int seen_errno = 0;
    for (const auto& base : bases) {
        std::string name = base + "/mount-XXXXXX";
        if (::mkdtemp(name.data()) != nullptr) return name;
        seen_errno = errno;
    }
    return fail_errno(seen_errno,
                      fmt::format("cannot make a directory to mount on in '{}'", bases.back()),
                      "make /run/amilift writable, or set TMPDIR");
}

std::unexpected<core::Error> mount_failed(int sys_errno, const std::string& device,
                                          std::string_view type) {
    switch (sys_errno) {
        case EINVAL:
        case EUCLEAN:
        case EIO:
            return fail(Errc::corrupt,
                        fmt::format("the kernel refuses to mount '{}' as {}: {}", device, type,
                                    std::generic_category().message(sys_errno)),
                        "see the kernel log (dmesg); repair the image with fsck");
        case EEXIST:
            return fail(Errc::conflict,
                        fmt::format("cannot mount '{}' as {}: a filesystem with its UUID is "
                                    "mounted already",
                                    device, type),
                        "unmount that one, or use a helper that was not made from this image");
        case ENODEV:
            return fail(Errc::not_installed,
                        fmt::format("cannot mount '{}': the helper's kernel has no filesystem {}",
                                    device, type),
                        fmt::format("load the kernel module '{}'", type));
        default:
            return fail_errno(sys_errno, fmt::format("cannot mount '{}' as {}", device, type),
                              "mounting needs root and a device that nobody else has mounted");
    }
}

/// Processes with an open file, working directory or root below `directory`, as /proc tells.
std::string holders_of(const std::string& directory) {
    namespace fs = std::filesystem;
    std::string text;
    std::size_t found = 0;
    const auto below = [&](const fs::path& link) {
        std::error_code error;
        const auto target = fs::read_symlink(link, error).string();
        return !error && (target == directory || target.starts_with(directory + "/"));
    };
    std::error_code error;
    for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
        const auto pid = it->path().filename().string();
        if (pid.empty() || pid.find_first_not_of("0123456789") != std::string::npos) continue;
        bool holds = below(it->path() / "cwd") || below(it->path() / "root");
        std::error_code inner;
        for (fs::directory_iterator fd(it->path() / "fd", inner), last;
             !holds && !inner && fd != last; fd.increment(inner)) {
            holds = below(fd->path());
        }
        if (!holds) continue;
        if (++found > kHoldersShown) break;
        auto name = core::read_file((it->path() / "comm").string(), 64).value_or("?");
        while (!name.empty() && name.back() == '\n') name.pop_back();
        text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", pid, name);
    }
    return text.empty() ? "nobody that can be seen" : text;
}

Result<> require_mountable(const std::string& device_path, Filesystem type) {
    if (!is_ext(type) && type != Filesystem::xfs && type != Filesystem::btrfs) {
        return fail(Errc::invalid_input,
                    fmt::format("cannot mount '{}': its filesystem is {}, expected ext2, ext3, "
                                "ext4, xfs or btrfs",
                                device_path, to_string(type)));
    }
    return {};
}

/// A btrfs is known by its UUID, and a device that once had it (the source, of which this is the
/// copy) is remembered: the kernel takes the newer of two for it. Forgets what is not mounted.
/// Source: fs/btrfs/volumes.c of the kernel, device_list_add().
bool forget_btrfs_devices() {
    const core::Fd control(::open("/dev/btrfs-control", O_RDWR | O_CLOEXEC));
    btrfs_ioctl_vol_args all{};
    return control && ::ioctl(control.get(), BTRFS_IOC_FORGET_DEV, &all) == 0;
}

Result<> mount_on(const std::string& device_path, const std::string& target, Filesystem type,
                  Access access, std::uint64_t subvolume) {
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME;
    if (access == Access::read_only) flags |= MS_RDONLY;
    const auto options = options_for(type, access, subvolume);

    // ext4's driver serves ext2 and ext3 too, under their names only if it was built so.
    std::vector<std::string> drivers{std::string(to_string(type))};
    if (is_ext(type) && type != Filesystem::ext4) drivers.emplace_back("ext4");
    int seen_errno = 0;
    for (const auto& driver : drivers) {
        if (::mount(device_path.c_str(), target.c_str(), driver.c_str(), flags, options.c_str()) ==
            0) {
            seen_errno = 0;
            break;
        }
        seen_errno = errno;
        if (seen_errno != ENODEV) break;
    }
    if (seen_errno == EEXIST && type == Filesystem::btrfs && forget_btrfs_devices() &&
        ::mount(device_path.c_str(), target.c_str(), "btrfs", flags, options.c_str()) == 0) {
        seen_errno = 0;
    }
    if (seen_errno != 0) return mount_failed(seen_errno, device_path, to_string(type));
    return {};
}

/// The directory `below` of `parent`, with no link on the way. Mounts on the way are followed.
Result<core::Fd> open_below(const core::Fd& parent, const std::string& below) {
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const auto fd = ::syscall(SYS_openat2, parent.get(), below.c_str(), &how, sizeof(how));
    if (fd >= 0) return core::Fd(static_cast<int>(fd));
    const int saved = errno;
    const auto what = fmt::format("the image has no directory '/{}' to mount on", below);
    if (saved == ENOENT) return fail(Errc::not_found, what);
    if (saved == ELOOP || saved == ENOTDIR) {
        return fail(Errc::corrupt, what + ": a link or a file is in its place");
    }
    return fail_errno(saved, fmt::format("cannot open '/{}' of the image", below));
}

}  // namespace

Result<Mount> Mount::mount_below(const Mount& parent, const std::string& below,
                                 const std::string& device_path, Filesystem type, Access access,
                                 std::uint64_t subvolume) {
    AMILIFT_CHECK(require_mountable(device_path, type));
    {
        AMILIFT_TRY(const auto place, open_below(parent.root(), below));
        AMILIFT_CHECK(mount_on(device_path, fmt::format("/proc/self/fd/{}", place.get()), type,
                               access, subvolume));
    }
    Mount mounted;
    mounted.directory_ = parent.directory() + "/" + below;
    mounted.is_own_directory_ = false;
    AMILIFT_TRY(const auto place, open_below(parent.root(), below));
    AMILIFT_TRY(mounted.root_, core::open_file(fmt::format("/proc/self/fd/{}", place.get()),
                                               O_RDONLY | O_DIRECTORY));
    return mounted;
}

Result<Mount> Mount::mount(const std::string& device_path, Filesystem type, Access access,
                           std::uint64_t subvolume) {
    AMILIFT_CHECK(require_mountable(device_path, type));
    AMILIFT_TRY(auto directory, make_directory());
    if (auto done = mount_on(device_path, directory, type, access, subvolume); !done) {
        ::rmdir(directory.c_str());
        return std::unexpected(std::move(done).error());
    }
    Mount mounted;
    mounted.directory_ = std::move(directory);
    AMILIFT_TRY(mounted.root_,
                core::open_file(mounted.directory_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return mounted;
}

Mount::Mount(Mount&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      is_own_directory_(other.is_own_directory_),
      root_(std::move(other.root_)) {}

Mount& Mount::operator=(Mount&& other) noexcept {
    if (this != &other) {
        abandon();
        directory_ = std::exchange(other.directory_, {});
        is_own_directory_ = other.is_own_directory_;
        root_ = std::move(other.root_);
    }
    return *this;
}

Mount::~Mount() {
    abandon();
}

void Mount::abandon() noexcept {
    if (directory_.empty()) return;
    root_.reset();
    if (::umount2(directory_.c_str(), UMOUNT_NOFOLLOW) != 0) {
        ::umount2(directory_.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH);
    }
    leave_directory();
}

void Mount::leave_directory() noexcept {
    if (is_own_directory_) ::rmdir(directory_.c_str());
    directory_.clear();
}

Result<> Mount::unmount() {
    if (directory_.empty()) return {};
    // The descriptor dates from the mount, so that syncfs reports every write that failed since.
    if (root_ && ::syncfs(root_.get()) != 0) {
        const int saved = errno;
        return fail_errno(saved,
                          fmt::format("cannot write back what changed below '{}'", directory_),
                          "the device did not keep what was written; start again with another one");
    }
    root_.reset();
    int seen_errno = 0;
    for (int attempt = 0; attempt < kUnmountAttempts; ++attempt) {
        if (attempt > 0) std::this_thread::sleep_for(kUnmountPause);
        if (::umount2(directory_.c_str(), UMOUNT_NOFOLLOW) == 0) {
            leave_directory();
            return {};
        }
        seen_errno = errno;
        if (seen_errno != EBUSY) break;
    }
    if (seen_errno == EBUSY) {
        return fail(
            Errc::conflict,
            fmt::format("cannot unmount '{}': held by {}", directory_, holders_of(directory_)),
            "end what holds it, then retry");
    }
    return fail_errno(seen_errno, fmt::format("cannot unmount '{}'", directory_));
}

Result<> enter_private_mount_namespace() {
    if (::unshare(CLONE_NEWNS) != 0) {
        const int saved = errno;
        return fail_errno(saved, "cannot make a private mount namespace",
                          "run as root, with CAP_SYS_ADMIN");
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        const int saved = errno;
        return fail_errno(saved, "cannot make the mounts of the new namespace private",
                          "run as root, with CAP_SYS_ADMIN");
    }
    return {};
}

}  // namespace amilift::dev
