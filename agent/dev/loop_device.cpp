// SPDX-License-Identifier: Apache-2.0
#include "dev/loop_device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "dev/partition_table.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Fd;
using core::Result;

// The kernel hands out a free number, and somebody else may configure it first.
constexpr int kAttachAttempts = 64;
constexpr auto kRetryPause = std::chrono::milliseconds(5);
// Detaching ends when the last I/O has; the kernel does it from a work queue.
constexpr int kDetachAttempts = 400;
constexpr unsigned kLoopMajor = 7;  // Documentation/admin-guide/devices.txt

/// Opens loop device `number`, making its node where no devtmpfs does so.
Result<Fd> open_loop(int number, const std::string& path, Access access) {
    const int flags = access == Access::read_write ? O_RDWR : O_RDONLY;
    auto opened = core::open_file(path, flags);
    if (opened || !opened.error().is(Errc::not_found)) return opened;
    // With `max_part` set, minors are spaced out: ask sysfs.
    unsigned minor_number = static_cast<unsigned>(number);
    if (const auto text = core::read_file(fmt::format("/sys/block/loop{}/dev", number), 64)) {
        // "7:16": sysfs writes nothing else.
        char* rest = nullptr;
        if (std::strtoul(text->c_str(), &rest, 10) == kLoopMajor && *rest == ':') {
            minor_number = static_cast<unsigned>(std::strtoul(rest + 1, nullptr, 10));
        }
    }
    if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(kLoopMajor, minor_number)) != 0 &&
        errno != EEXIST) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot make device node '{}'", path),
                          "mount a devtmpfs at /dev");
    }
    return core::open_file(path, flags);
}

struct Attached {
    std::string path;
    Fd fd;
};

Result<Attached> attach_fd(const Fd& backing, const std::string& name, std::uint64_t backing_bytes,
                           std::uint64_t offset, std::uint64_t size, Access access) {
    if (offset % kSectorBytes != 0 || size % kSectorBytes != 0 || offset > backing_bytes ||
        size > backing_bytes - offset) {
        return fail(Errc::invalid_input,
                    fmt::format("cannot make a loop device of {} bytes at byte {} of '{}': it has "
                                "{} bytes, and both must be multiples of {}",
                                size, offset, name, backing_bytes, kSectorBytes));
    }
    AMILIFT_TRY(const Fd control, [&]() -> Result<Fd> {
        auto opened = core::open_file("/dev/loop-control", O_RDWR);
        if (opened) return opened;
        auto error = std::move(opened).error();
        error.hint = "load the kernel module 'loop', and run as root";
        return std::unexpected(std::move(error));
    }());

    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.info.lo_offset = offset;
    config.info.lo_sizelimit = size;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (access == Access::read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    // For losetup(8) only; the kernel gives it no meaning.
    const auto shown = std::min(name.size(), sizeof(config.info.lo_file_name) - 1);
    std::memcpy(config.info.lo_file_name, name.data(), shown);

    int seen_errno = 0;
    for (int attempt = 0; attempt < kAttachAttempts; ++attempt) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) {
            const int saved = errno;
            return fail_errno(saved, "cannot get a free loop device",
                              "detach loop devices that nobody uses (losetup -D)");
        }
        const auto path = fmt::format("/dev/loop{}", number);
        AMILIFT_TRY(Fd fd, open_loop(number, path, access));
        if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
            return Attached{path, std::move(fd)};
        }
        seen_errno = errno;
        if (seen_errno != EBUSY && seen_errno != EAGAIN) {
            return fail_errno(seen_errno, fmt::format("cannot attach '{}' to '{}'", name, path),
                              seen_errno == EINVAL || seen_errno == ENOTTY
                                  ? "a helper needs Linux 5.8 or later, for LOOP_CONFIGURE"
                                  : "loop devices need root; see the kernel log (dmesg)");
        }
        std::this_thread::sleep_for(kRetryPause);
    }
    return fail(Errc::unavailable,
                fmt::format("no loop device stayed free long enough to attach '{}', tried {} "
                            "times, last error: {}",
                            name, kAttachAttempts, std::strerror(seen_errno)),
                "stop what else makes loop devices, then retry");
}

}  // namespace

Result<LoopDevice> LoopDevice::attach(const std::string& backing_path, std::uint64_t offset,
                                      std::uint64_t size, Access access) {
    AMILIFT_TRY(const Fd fd,
                core::open_file(backing_path, (access == Access::read_write ? O_RDWR : O_RDONLY) |
                                                  O_NONBLOCK | O_NOCTTY));
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) {
        const int saved = errno;
        return fail_errno(saved, fmt::format("cannot read status of '{}'", backing_path));
    }
    std::uint64_t bytes = static_cast<std::uint64_t>(st.st_size);
    if (S_ISBLK(st.st_mode)) {
        if (::ioctl(fd.get(), BLKGETSIZE64, &bytes) != 0) {
            const int saved = errno;
            return fail_errno(saved, fmt::format("cannot read the size of '{}'", backing_path));
        }
    } else if (!S_ISREG(st.st_mode)) {
        return fail(Errc::invalid_input,
                    fmt::format("cannot make a loop device of '{}': expected a block device or a "
                                "regular file",
                                backing_path));
    }
    AMILIFT_TRY(auto attached, attach_fd(fd, backing_path, bytes, offset, size, access));
    LoopDevice loop;
    loop.path_ = std::move(attached.path);
    loop.fd_ = std::move(attached.fd);
    return loop;
}

Result<LoopDevice> LoopDevice::attach(const BlockDevice& backing, std::uint64_t offset,
                                      std::uint64_t size, Access access) {
    if (access == Access::read_write && backing.access() != Access::read_write) {
        return fail(Errc::invalid_input,
                    fmt::format("cannot make a writable loop device of '{}': it was opened "
                                "read-only",
                                backing.path()));
    }
    AMILIFT_TRY(auto attached, attach_fd(backing.fd(), backing.path(), backing.size_bytes(), offset,
                                         size, access));
    LoopDevice loop;
    loop.path_ = std::move(attached.path);
    loop.fd_ = std::move(attached.fd);
    return loop;
}

Result<> LoopDevice::detach() {
    if (!fd_) return {};
    if (::fsync(fd_.get()) != 0) {
        const int saved = errno;
        auto error = fail_errno(saved, fmt::format("cannot flush '{}'", path_));
        fd_.reset();
        return error;
    }
    loop_info64 mine{};
    if (::ioctl(fd_.get(), LOOP_GET_STATUS64, &mine) != 0) {
        const int saved = errno;
        fd_.reset();
        return fail_errno(saved, fmt::format("cannot read the status of '{}'", path_));
    }
    fd_.reset();
    // Autoclear acts when the last user closes. The number may be somebody else's at once: only
    // the same backing file at the same offset is still ours.
    for (int attempt = 0; attempt < kDetachAttempts; ++attempt) {
        auto look = core::open_file(path_, O_RDONLY | O_NONBLOCK);
        if (!look) return {};
        loop_info64 now{};
        if (::ioctl(look->get(), LOOP_GET_STATUS64, &now) != 0) return {};
        if (now.lo_device != mine.lo_device || now.lo_inode != mine.lo_inode ||
            now.lo_offset != mine.lo_offset) {
            return {};
        }
        look->reset();
        std::this_thread::sleep_for(kRetryPause);
    }
    return fail(Errc::conflict,
                fmt::format("'{}' is still attached: it is mounted or open elsewhere", path_),
                fmt::format("see 'findmnt {}', unmount it; it detaches itself then", path_));
}

}  // namespace amilift::dev
