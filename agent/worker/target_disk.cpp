// SPDX-License-Identifier: Apache-2.0
#include "worker/target_disk.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace amilift::worker {

using core::Errc;
using core::fail;
using core::Result;

namespace {

std::string directory_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    return parent.empty() ? std::string(".") : parent.string();
}

std::unexpected<core::Error> output_exists(const std::string& name) {
    return fail(Errc::already_exists, fmt::format("output file '{}' exists", name),
                "remove it or choose another name");
}

/// Whoever converts to a file holds a lock on it; one without a lock was left by a killed process,
/// as its name tells.
Result<core::Fd> make_locked_file(const std::string& path) {
    constexpr int kAttempts = 3;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        auto made = core::open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (made) {
            if (::flock(made->get(), LOCK_EX | LOCK_NB) == 0) return made;
            break;
        }
        if (made.error().sys_errno != EEXIST) return made;
        auto left = core::open_file(path, O_RDWR | O_NOFOLLOW);
        if (!left && left.error().is(Errc::not_found)) continue;
        if (!left) return left;
        if (::flock(left->get(), LOCK_EX | LOCK_NB) != 0) break;
        ::unlink(path.c_str());
    }
    return fail(Errc::conflict, fmt::format("another conversion is writing '{}'", path),
                "wait for its end or choose another output file");
}

}  // namespace

std::string partial_name(const std::string& name) {
    return name + ".amilift-partial";
}

Result<TargetDisk> TargetDisk::open_device(const DiskRef& ref) {
    AMILIFT_TRY(auto disk, dev::BlockDevice::open(ref.path, dev::Access::read_write));
    if (!ref.volume_id.empty()) {
        AMILIFT_CHECK(disk.require_volume(ref.volume_id, ref.requested_device));
    }
    return TargetDisk(std::move(disk), {}, {});
}

Result<TargetDisk> TargetDisk::create_file(const std::string& path, std::uint64_t size_bytes,
                                           std::uint64_t used_bytes) {
    const auto directory = directory_of(path);
    struct statvfs space{};
    if (::statvfs(directory.c_str(), &space) != 0) {
        const int saved = errno;
        return core::fail_errno(
            saved,
            fmt::format("cannot look at directory '{}' of the output file '{}'", directory, path),
            "make the directory first");
    }
    if (const auto free = std::uint64_t{space.f_bavail} * space.f_frsize; free < used_bytes) {
        return fail(Errc::no_space,
                    fmt::format("directory '{}' has {} MiB free, the output file needs {} MiB",
                                directory, free >> 20, (used_bytes >> 20) + 1),
                    "free space there or write to another directory");
    }
    struct stat there{};
    if (::lstat(path.c_str(), &there) == 0) return output_exists(path);
    const auto partial = partial_name(path);
    AMILIFT_TRY(auto file, make_locked_file(partial));
    const auto drop = [&](core::Error error) {
        ::unlink(partial.c_str());
        return std::unexpected(std::move(error));
    };
    if (::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) {
        const int saved = errno;
        return drop(core::fail_errno(
                        saved, fmt::format("cannot make '{}' {} bytes long", partial, size_bytes))
                        .error());
    }
    auto disk = dev::BlockDevice::open(partial, dev::Access::read_write);
    if (!disk) return drop(std::move(disk).error());
    return TargetDisk(*std::move(disk), path, std::move(file));
}

TargetDisk::TargetDisk(TargetDisk&& other) noexcept
    : disk_(std::move(other.disk_)),
      name_(std::exchange(other.name_, {})),
      lock_(std::move(other.lock_)) {}

TargetDisk::~TargetDisk() {
    if (!name_.empty()) ::unlink(partial_name(name_).c_str());
}

Result<> TargetDisk::keep() {
    if (name_.empty()) return {};
    const auto partial = partial_name(name_);
    if (::fsync(lock_.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot flush '{}'", partial));
    }
    if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, name_.c_str(), RENAME_NOREPLACE) != 0) {
        const int saved = errno;
        if (saved == EEXIST) return output_exists(name_);
        return core::fail_errno(saved, fmt::format("cannot rename '{}' to '{}'", partial, name_));
    }
    const auto name = std::exchange(name_, {});
    AMILIFT_TRY(const auto directory, core::open_file(directory_of(name), O_RDONLY | O_DIRECTORY));
    if (::fsync(directory.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot flush the directory of '{}'", name));
    }
    return {};
}

}  // namespace amilift::worker
