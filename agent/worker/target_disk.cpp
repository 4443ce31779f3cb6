// SPDX-License-Identifier: Apache-2.0
#include "worker/target_disk.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "modules/partition.hpp"
#include "worker/source_image.hpp"

namespace amilift::worker {

using core::Errc;
using core::fail;
using core::Result;

Result<TargetDisk> TargetDisk::open_device(const DiskRef& ref) {
    AMILIFT_TRY(auto disk, dev::BlockDevice::open(ref.path, dev::Access::read_write));
    if (!ref.volume_id.empty()) AMILIFT_CHECK(disk.require_volume(ref.volume_id));
    return TargetDisk(std::move(disk), {});
}

Result<TargetDisk> TargetDisk::create_file(const std::string& path, std::uint64_t size_bytes,
                                           std::uint64_t used_bytes) {
    const auto parent = std::filesystem::path(path).parent_path();
    const auto directory = parent.empty() ? std::string(".") : parent.string();
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
    auto file = core::open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (!file && file.error().sys_errno == EEXIST) {
        return fail(Errc::already_exists, fmt::format("output file '{}' exists", path),
                    "remove it or choose another name");
    }
    if (!file) return std::unexpected(std::move(file).error());
    const auto drop = [&](core::Error error) {
        ::unlink(path.c_str());
        return std::unexpected(std::move(error));
    };
    if (::ftruncate(file->get(), static_cast<off_t>(size_bytes)) != 0) {
        const int saved = errno;
        return drop(
            core::fail_errno(saved, fmt::format("cannot make '{}' {} bytes long", path, size_bytes))
                .error());
    }
    auto disk = dev::BlockDevice::open(path, dev::Access::read_write);
    if (!disk) return drop(std::move(disk).error());
    return TargetDisk(*std::move(disk), path);
}

TargetDisk::TargetDisk(TargetDisk&& other) noexcept
    : disk_(std::move(other.disk_)),
      remove_in_the_end_(std::exchange(other.remove_in_the_end_, {})) {}

TargetDisk::~TargetDisk() {
    if (!remove_in_the_end_.empty()) ::unlink(remove_in_the_end_.c_str());
}

Result<MountedTarget> MountedTarget::mount(const dev::BlockDevice& disk,
                                           const dev::FilesystemInfo& filesystem,
                                           dev::Access access) {
    MountedTarget target;
    AMILIFT_TRY(target.loop_,
                dev::LoopDevice::attach(disk, modules::kRootOffset, filesystem.size_bytes, access));
    AMILIFT_TRY(target.mount_, dev::Mount::mount(target.loop_->path(), filesystem.type, access));
    AMILIFT_TRY(target.root_, open_root(*target.mount_));
    return target;
}

Result<> MountedTarget::unmount() {
    root_.reset();
    if (mount_) AMILIFT_CHECK(mount_->unmount());
    mount_.reset();
    if (loop_) AMILIFT_CHECK(loop_->detach());
    loop_.reset();
    return {};
}

}  // namespace amilift::worker
