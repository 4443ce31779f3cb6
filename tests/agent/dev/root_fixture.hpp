// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "dev/loop_device.hpp"
#include "dev/mount.hpp"
#include "disk_fixture.hpp"

// Tests that make loop devices and mounts skip themselves where that cannot be.
#define AMILIFT_NEEDS_ROOT()                                                     \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: loop devices and mounts"; \
    if (::access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "needs loop devices"

namespace amilift::dev::testing {

inline bool kernel_has_filesystem(const std::string& name) {
    std::ifstream list("/proc/filesystems");
    for (std::string word; list >> word;) {
        if (word == name) return true;
    }
    return false;
}

inline LoopDevice attach(const std::string& path, Access access = Access::read_write,
                         std::uint64_t offset = 0, std::uint64_t size = 0) {
    auto loop = LoopDevice::attach(path, offset, size, access);
    if (!loop) throw std::runtime_error(loop.error().message());
    return *std::move(loop);
}

inline Mount mount(const std::string& device, Filesystem type, Access access) {
    auto mounted = Mount::mount(device, type, access);
    if (!mounted) throw std::runtime_error(mounted.error().message());
    return *std::move(mounted);
}

inline void unmount(Mount& mounted) {
    const auto done = mounted.unmount();
    if (!done) throw std::runtime_error(done.error().message());
}

/// A loop device with sectors of `sector_bytes`, which LoopDevice does not offer: EBS has 512.
class SectorLoop {
  public:
    SectorLoop(const std::string& path, unsigned sector_bytes) {
        path_ = run({"losetup", "--find", "--show", "--direct-io=on", "--sector-size",
                     std::to_string(sector_bytes), path});
        while (!path_.empty() && path_.back() == '\n') path_.pop_back();
    }
    SectorLoop(const SectorLoop&) = delete;
    SectorLoop& operator=(const SectorLoop&) = delete;
    ~SectorLoop() {
        try {
            run({"losetup", "-d", path_});
        } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
        }
    }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline std::uint64_t hash_file(const std::string& path) {
    std::uint64_t hash = 14695981039346656037U;  // FNV-1a
    std::ifstream file(path, std::ios::binary);
    std::vector<char> chunk(1 << 20);
    while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) ||
           file.gcount() > 0) {
        for (std::streamsize i = 0; i < file.gcount(); ++i) {
            hash ^= static_cast<unsigned char>(chunk[static_cast<std::size_t>(i)]);
            hash *= 1099511628211U;
        }
    }
    if (file.bad()) throw std::runtime_error("cannot read " + path);
    return hash;
}

/// Names and values of the extended attributes, access control lists among them. In the kernel's
/// order, which is that of the disk.
inline std::string extended_attributes(const std::string& path) {
    std::string names(4096, '\0');
    const auto length = ::llistxattr(path.c_str(), names.data(), names.size());
    std::string text;
    for (std::size_t at = 0; length > 0 && at < static_cast<std::size_t>(length);) {
        const std::string name(names.c_str() + at);
        at += name.size() + 1;
        std::string value(4096, '\0');
        const auto size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        text += fmt::format(" {}=", name);
        for (std::size_t i = 0; size > 0 && i < static_cast<std::size_t>(size); ++i) {
            text += fmt::format("{:02x}", static_cast<unsigned char>(value[i]));
        }
    }
    return text;
}

/// Where a file has data, in bytes.
inline std::string data_of(const std::string& path) {
    std::string text;
    const auto file = core::open_file(path, O_RDONLY);
    if (!file) throw std::runtime_error(file.error().message());
    off_t end = 0;
    for (off_t at = 0; (at = ::lseek(file->get(), end, SEEK_DATA)) >= 0;) {
        end = ::lseek(file->get(), at, SEEK_HOLE);
        text += fmt::format(" {}-{}", at, end);
    }
    return text;
}

/// Every path below `root` with inode (hard links share one), type, mode, owner, size, blocks,
/// time, extended attributes, link text, places and hash of its contents.
inline std::map<std::string, std::string> describe_tree(const std::string& root) {
    namespace fs = std::filesystem;
    std::map<std::string, std::string> tree;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
        struct stat st{};
        if (::lstat(entry.path().c_str(), &st) != 0) {
            throw std::runtime_error("cannot stat " + entry.path().string());
        }
        std::string text =
            fmt::format("{} {:o} {}:{} {}.{:09} {} {}", st.st_ino, st.st_mode, st.st_uid, st.st_gid,
                        st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_nlink, st.st_blocks);
        text += extended_attributes(entry.path());
        if (entry.is_symlink()) {
            text += " -> " + fs::read_symlink(entry.path()).string();
        } else if (entry.is_regular_file()) {
            text += fmt::format(" {} {:016x}", st.st_size, hash_file(entry.path()));
            text += data_of(entry.path());
        }
        tree[fs::relative(entry.path(), root).string()] = text;
    }
    return tree;
}

inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
    const auto fd = core::open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (!fd) throw std::runtime_error(fd.error().message());
    const auto written = core::write_all_at(*fd, bytes, 0, path);
    if (!written) throw std::runtime_error(written.error().message());
}

/// Fills a mounted filesystem as a machine in use does: files of many sizes, every third deleted
/// again, links, a sparse file and one with unwritten extents. At least `percent` of it is full
/// then.
inline void fill_like_a_machine(const std::string& root, int percent, bool can_preallocate) {
    namespace fs = std::filesystem;
    std::mt19937 random(42);
    const auto content = random_bytes(3 << 20, 43);
    const auto full = [&] {
        const auto space = fs::space(root);
        return (space.capacity - space.free) * 100 >=
               static_cast<std::uintmax_t>(percent) * space.capacity;
    };
    fs::create_directories(root + "/etc/rc.d");
    fs::create_symlink("../etc/rc.d", root + "/etc/init.d");
    write_file(root + "/etc/passwd", std::span(content).first(700));
    fs::create_hard_link(root + "/etc/passwd", root + "/etc/passwd-");
    {
        // An ACL: version 2, then tag, permissions and id of user::rw-, user:7:r--, group::r--,
        // mask::r--, other::---; linux/posix_acl_xattr.h.
        constexpr std::string_view kAcl(
            "\2\0\0\0"
            "\1\0\6\0\377\377\377\377"
            "\2\0\4\0\7\0\0\0"
            "\4\0\4\0\377\377\377\377"
            "\20\0\4\0\377\377\377\377"
            "\40\0\0\0\377\377\377\377",
            44);
        const auto path = root + "/attributes";
        write_file(path, std::span(content).first(100));
        const std::string large(700, 'v');
        for (const auto& [name, value] :
             std::map<std::string, std::string_view>{{"user.small", "value"},
                                                     {"user.large", large},
                                                     {"security.note", "kept"},
                                                     {"system.posix_acl_access", kAcl}}) {
            if (::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) != 0) {
                throw std::runtime_error("cannot set " + name);
            }
        }
    }
    {
        const auto path = root + "/sparse";
        write_file(path, std::span(content).first(10));
        const auto fd = core::open_file(path, O_WRONLY);
        if (!core::write_all_at(*fd, std::span(content).first(5000), 9 << 20, path)) {
            throw std::runtime_error("cannot write " + path);
        }
    }
    if (can_preallocate) {
        const auto fd = core::open_file(root + "/preallocated", O_WRONLY | O_CREAT);
        if (!fd || ::fallocate(fd->get(), 0, 0, 4 << 20) != 0) {
            throw std::runtime_error("cannot preallocate");
        }
    }
    // XFS gives preallocated and deleted space back later: having been full once is enough.
    bool filled = false;
    for (int batch = 0; batch < 1000 && !filled; ++batch) {
        const auto directory = fmt::format("{}/var/data{}", root, batch);
        fs::create_directories(directory);
        for (int i = 0; i < 60 && !full(); ++i) {
            const std::size_t size = (std::size_t{1} << random() % 20) + random() % 1000;
            write_file(fmt::format("{}/f{}", directory, i), std::span(content).first(size));
        }
        for (int i = 0; i < 60; i += 3) fs::remove(fmt::format("{}/f{}", directory, i));
        // Blocks are given out now, not when everything that goes again is gone.
        const auto top = core::open_file(root, O_RDONLY | O_DIRECTORY);
        if (!top || ::syncfs(top->get()) != 0) throw std::runtime_error("cannot sync " + root);
        filled = full();
    }
    if (!filled) throw std::runtime_error("the filesystem did not fill up");
}

}  // namespace amilift::dev::testing
