// SPDX-License-Identifier: Apache-2.0
#include "dev/block_device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "dev/device_match.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Fd;
using core::Result;

constexpr std::size_t kSerialLimit = 4096;

/// NVMe pads the 20 bytes of a serial with blanks (NVM Express base specification, SN field).
std::string without_padding(std::string text) {
    const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\0'; };
    while (!text.empty() && blank(text.back())) text.pop_back();
    std::size_t start = 0;
    while (start < text.size() && blank(text[start])) ++start;
    return text.substr(start);
}

Result<struct stat> status_of(const Fd& fd, const std::string& path) {
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot read status of '{}'", path));
    }
    return st;
}

Result<std::filesystem::path> device_directory(const std::string& sysfs, unsigned major,
                                               unsigned minor) {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::path node =
        fs::canonical(fs::path(sysfs) / "dev/block" / fmt::format("{}:{}", major, minor), error);
    if (!error) return node;
    return fail_errno(error.value(),
                      fmt::format("cannot find block device {}:{} in '{}'", major, minor, sysfs));
}

const char* kind_name(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISCHR(mode)) return "a character device";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "of an unknown kind";
}

Result<> require_disk(const std::string& path, mode_t mode) {
    if (S_ISBLK(mode) || S_ISREG(mode)) return {};
    return fail(Errc::invalid_input,
                fmt::format("cannot use '{}' as a disk: it is {}, expected a block device or a "
                            "regular file",
                            path, kind_name(mode)),
                "name a disk such as /dev/nvme1n1, or a disk image");
}

/// A block device is its number, whatever node it was opened by.
bool is_same_disk(const struct stat& a, const struct stat& b) {
    if ((a.st_mode & S_IFMT) != (b.st_mode & S_IFMT)) return false;
    if (S_ISBLK(a.st_mode)) return a.st_rdev == b.st_rdev;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

Result<BlockDevice> BlockDevice::open(const std::string& path, Access access) {
    // The kind is asked before opening: opening a pipe would wait for its other end, and opening a
    // tape or a watchdog has side effects.
    struct stat before{};
    if (::stat(path.c_str(), &before) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot open disk '{}'", path));
    }
    AMILIFT_CHECK(require_disk(path, before.st_mode));
    const bool is_block = S_ISBLK(before.st_mode);
    int flags = (access == Access::read_write ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY;
    // On a block device, O_EXCL without O_CREAT claims it: open(2).
    if (is_block && access == Access::read_write) flags |= O_EXCL;

    auto opened = core::open_file(path, flags);
    if (!opened) {
        auto error = std::move(opened).error();
        if (error.is(Errc::conflict)) {
            error.what =
                fmt::format("cannot open disk '{}' for writing: it is mounted or in use", path);
            error.hint = fmt::format("see 'lsblk {}', unmount what is mounted, then retry", path);
        }
        return std::unexpected(std::move(error));
    }

    BlockDevice device;
    device.path_ = path;
    device.fd_ = *std::move(opened);
    device.access_ = access;
    device.is_block_ = is_block;

    AMILIFT_TRY(const auto after, status_of(device.fd_, path));
    if (S_ISBLK(after.st_mode) != is_block || S_ISREG(after.st_mode) == is_block) {
        return fail(Errc::conflict,
                    fmt::format("'{}' was replaced by another kind of file while opening it", path),
                    "retry when nothing else changes it");
    }
    AMILIFT_CHECK(device.measure());
    return device;
}

Result<BlockDevice> BlockDevice::duplicate(int fd, const std::string& name) {
    BlockDevice device;
    device.path_ = name;
    device.fd_ = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!device.fd_) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot take over the open disk '{}'", name));
    }
    AMILIFT_TRY(const auto mine, status_of(device.fd_, name));
    AMILIFT_CHECK(require_disk(name, mine.st_mode));
    device.is_block_ = S_ISBLK(mine.st_mode);
    struct stat named{};
    device.is_at_path_ = ::stat(name.c_str(), &named) == 0 && is_same_disk(mine, named);
    AMILIFT_CHECK(device.measure());
    return device;
}

/// The sizes of what is open.
Result<> BlockDevice::measure() {
    if (!is_block_) {
        AMILIFT_TRY(const auto status, status_of(fd_, path_));
        size_bytes_ = static_cast<std::uint64_t>(status.st_size);
        return {};
    }
    // A device that is read-only can be opened for writing all the same; only the writes fail.
    int read_only = 0;
    if (access_ == Access::read_write && ::ioctl(fd_.get(), BLKROGET, &read_only) == 0 &&
        read_only != 0) {
        return fail(Errc::permission_denied,
                    fmt::format("cannot open disk '{}' for writing: it is read-only", path_),
                    "use another disk, or make it writable with 'blockdev --setrw'");
    }
    std::uint64_t size = 0;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &size) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot read the size of '{}'", path_));
    }
    int sector = 0;
    if (::ioctl(fd_.get(), BLKSSZGET, &sector) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot read the sector size of '{}'", path_));
    }
    if (sector < 512 || (sector & (sector - 1)) != 0) {
        return fail(Errc::io_error,
                    fmt::format("'{}' says its sectors have {} bytes, expected a power of two from "
                                "512 on",
                                path_, sector),
                    "use another device");
    }
    size_bytes_ = size;
    sector_bytes_ = static_cast<std::uint32_t>(sector);
    return {};
}

Result<std::string> BlockDevice::nvme_serial() const {
    if (!is_block_) return std::string();
    AMILIFT_TRY(const auto st, status_of(fd_, path_));
    return read_nvme_serial("/sys", major(st.st_rdev), minor(st.st_rdev));
}

Result<> BlockDevice::require_volume(const std::string& volume_id,
                                     const std::string& requested_device) const {
    DeviceFacts facts;
    if (is_block_) {
        AMILIFT_TRY(const auto st, status_of(fd_, path_));
        AMILIFT_TRY(facts, read_device_facts("/sys", major(st.st_rdev), minor(st.st_rdev)));
        if (is_device_of_volume(facts, volume_id, requested_device)) return {};
    }
    return fail(Errc::conflict,
                fmt::format("'{}' is not volume '{}', attached as '{}': it is {}{} with NVMe "
                            "serial '{}'",
                            path_, volume_id, requested_device,
                            facts.devtype.empty() ? "no block device" : facts.devtype + " ",
                            facts.sysname, facts.serial.empty() ? "(none)" : facts.serial),
                "the device changed its name; wait for the volume's device again");
}

Result<> BlockDevice::flush() const {
    int rc = 0;
    do {
        rc = ::fsync(fd_.get());
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot flush '{}'", path_),
                          "the disk did not keep what was written; start again with another one");
    }
    // Pages read so far are dropped, so that a later read asks the device. It needs CAP_SYS_ADMIN;
    // without it fsync has done what the data's safety needs.
    if (is_block_ && ::ioctl(fd_.get(), BLKFLSBUF, 0) != 0 && errno != EACCES && errno != EPERM) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot drop the cached pages of '{}'", path_));
    }
    return {};
}

std::string BlockDevice::self_path() const {
    return fmt::format("/proc/self/fd/{}", fd_.get());
}

Result<Fd> BlockDevice::reopen(int flags) const {
    auto again = core::open_file(self_path(), flags);
    if (!again) return std::unexpected(std::move(again).error().with_context(path_));
    AMILIFT_TRY(const auto mine, status_of(fd_, path_));
    AMILIFT_TRY(const auto theirs, status_of(*again, path_));
    if (mine.st_dev != theirs.st_dev || mine.st_ino != theirs.st_ino ||
        mine.st_rdev != theirs.st_rdev) {
        return fail(Errc::internal, fmt::format("reopening '{}' gave another file", path_),
                    "check that /proc is the kernel's");
    }
    return again;
}

Result<std::string> read_nvme_serial(const std::string& sysfs, unsigned major, unsigned minor) {
    AMILIFT_TRY(auto node, device_directory(sysfs, major, minor));
    std::error_code error;
    if (std::filesystem::exists(node / "partition", error)) node = node.parent_path();
    if (!node.filename().string().starts_with("nvme")) return std::string();
    // "device" is the controller, or with native multipath the subsystem: both have a serial.
    AMILIFT_TRY(auto serial, core::read_file((node / "device/serial").string(), kSerialLimit));
    return without_padding(std::move(serial));
}

Result<DeviceFacts> read_device_facts(const std::string& sysfs, unsigned major, unsigned minor) {
    AMILIFT_TRY(const auto node, device_directory(sysfs, major, minor));
    DeviceFacts facts;
    facts.sysname = node.filename().string();
    std::error_code error;
    facts.devtype = std::filesystem::exists(node / "partition", error) ? "partition" : "disk";
    AMILIFT_TRY(facts.serial, read_nvme_serial(sysfs, major, minor));
    return facts;
}

bool serial_is_volume(std::string_view serial, std::string_view volume_id) {
    const auto bare = [](std::string_view text) {
        std::string out(text);
        if (out.starts_with("vol-")) out.erase(3, 1);
        return out;
    };
    return !serial.empty() && !volume_id.empty() && bare(serial) == bare(volume_id);
}

core::Result<DiskIdentity> identity_of(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot look at '{}'", path));
    }
    if (!S_ISBLK(status.st_mode)) return DiskIdentity{true, status.st_dev, status.st_ino};
    if (major(status.st_rdev) == LOOP_MAJOR) {
        const core::Fd loop(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        loop_info64 info{};
        // A loop device over a block device reports that device's number in lo_rdevice.
        if (loop && ::ioctl(loop.get(), LOOP_GET_STATUS64, &info) == 0) {
            if (info.lo_rdevice != 0) return DiskIdentity{false, info.lo_rdevice, 0};
            return DiskIdentity{true, info.lo_device, info.lo_inode};
        }
    }
    return DiskIdentity{false, status.st_rdev, 0};
}

}  // namespace amilift::dev
