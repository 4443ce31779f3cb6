// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <limits>

#include "core/fd.hpp"
#include "dev/mount.hpp"
#include "worker/small_root.hpp"
#include "worker/syscall_filter.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;

constexpr std::array kKept{
    KeptCapability{CAP_SYS_ADMIN, "mount, loop devices, flushing of block devices"},
    KeptCapability{CAP_SYS_RESOURCE,
                   "a mounted ext filesystem grows, and gives the last blocks it keeps for others"},
    KeptCapability{CAP_DAC_OVERRIDE, "files of the image may deny everybody to write"},
    KeptCapability{CAP_DAC_READ_SEARCH, "files of the image may deny everybody to read"},
    KeptCapability{CAP_CHOWN, "a replaced file keeps its owner"},
    KeptCapability{CAP_FOWNER, "a replaced file keeps mode, times and attributes"},
    KeptCapability{CAP_FSETID, "a replaced file keeps its set-id bits"},
    KeptCapability{CAP_SETFCAP, "a file that moves to another filesystem keeps its capabilities"},
    KeptCapability{CAP_LINUX_IMMUTABLE,
                   "nobody may move the boot loader of a disk without partition"},
    KeptCapability{CAP_MAC_ADMIN, "SELinux labels of the image are unknown to the helper's policy"},
};

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kShadowMemory = true;  // AddressSanitizer reserves terabytes
#elif defined(__has_feature)
constexpr bool kShadowMemory = __has_feature(address_sanitizer);
#else
constexpr bool kShadowMemory = false;
#endif

constexpr rlim_t kDataLimit = 4ULL << 30;      // the block bitmap of 16 TiB has 512 MiB
constexpr rlim_t kLockedLimit = 256ULL << 20;  // buffers that are registered with io_uring
constexpr rlim_t kFileLimit = 1024;

Result<> failed(const char* call, const char* hint = "") {
    const int saved = errno;
    return fail_errno(saved, fmt::format("cannot enclose the disk worker: {}", call), hint);
}

Result<> die_with_parent() {
    const pid_t parent = ::getppid();
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return failed("PR_SET_PDEATHSIG");
    // It may have died before the call.
    if (::getppid() != parent) {
        return fail(Errc::cancelled, "the agent ended before the disk worker began");
    }
    return {};
}

Result<> clean_environment() {
    if (::clearenv() != 0 || ::setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) != 0 ||
        ::setenv("LC_ALL", "C.UTF-8", 1) != 0) {
        return failed("clearenv");
    }
    return {};
}

Result<> close_descriptors(const Enclosure& enclosure) {
    if (enclosure.socket_fd <= STDERR_FILENO) {
        return fail(Errc::internal,
                    fmt::format("the disk worker's socket is descriptor {}, expected 3 or more",
                                enclosure.socket_fd));
    }
    std::array all_kept{enclosure.socket_fd, enclosure.journal_fd, enclosure.disk_fd};
    std::ranges::sort(all_kept);
    auto next = static_cast<unsigned>(STDERR_FILENO) + 1;
    for (const int kept : all_kept) {
        if (kept < 0) continue;
        const auto number = static_cast<unsigned>(kept);
        if (next < number && ::close_range(next, number - 1, 0) != 0) return failed("close_range");
        // No program that the worker starts gets it.
        if (::fcntl(kept, F_SETFD, FD_CLOEXEC) != 0) return failed("fcntl");
        next = number + 1;
    }
    if (::close_range(next, std::numeric_limits<unsigned>::max(), 0) != 0) {
        return failed("close_range");
    }
    AMILIFT_TRY(const auto null, core::open_file("/dev/null", O_RDWR));
    if (::dup2(null.get(), STDIN_FILENO) < 0) return failed("dup2");
    return {};
}

Result<> bound_resources() {
    struct Limit {
        __rlimit_resource_t what;
        rlim_t value;
        const char* name;
    };
    for (const auto& limit :
         {Limit{RLIMIT_CORE, 0, "RLIMIT_CORE"}, Limit{RLIMIT_NOFILE, kFileLimit, "RLIMIT_NOFILE"},
          Limit{RLIMIT_MEMLOCK, kLockedLimit, "RLIMIT_MEMLOCK"},
          Limit{RLIMIT_DATA, kShadowMemory ? RLIM_INFINITY : kDataLimit, "RLIMIT_DATA"}}) {
        // Never above what the service or container that runs amilift allows.
        rlimit bound{};
        if (::getrlimit(limit.what, &bound) != 0) return failed(limit.name);
        bound.rlim_max = std::min(bound.rlim_max, limit.value);
        bound.rlim_cur = bound.rlim_max;
        if (::setrlimit(limit.what, &bound) != 0) return failed(limit.name);
    }
    // No core file, and no other process of the helper may look inside.
    if (::prctl(PR_SET_DUMPABLE, 0) != 0) return failed("PR_SET_DUMPABLE");
    return {};
}

Result<> leave_namespaces() {
    if (::unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
        return failed("unshare", "run it as root");
    }
    return dev::enter_private_mount_namespace();
}

bool is_kept(unsigned capability) {
    for (const auto& kept : kKept) {
        if (kept.number == capability) return true;
    }
    return false;
}

Result<> drop_capabilities() {
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        return failed("PR_CAP_AMBIENT_CLEAR_ALL");
    }
    // The kernel may know more capabilities than the headers: it says EINVAL behind the last one.
    for (unsigned capability = 0; capability < 64; ++capability) {
        if (is_kept(capability)) continue;
        if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL) {
            return failed("PR_CAPBSET_DROP", "run it as root");
        }
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return failed("capget");
    for (std::size_t word = 0; word < data.size(); ++word) {
        std::uint32_t kept_bits = 0;
        for (const auto& kept : kKept) {
            if (kept.number / 32 == word) kept_bits |= 1U << (kept.number % 32);
        }
        // A container may have taken one of them already; what then fails says so itself.
        data[word].permitted &= kept_bits;
        data[word].effective = data[word].permitted;
        data[word].inheritable = 0;
    }
    if (::syscall(SYS_capset, &header, data.data()) != 0) return failed("capset", "run it as root");
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("PR_SET_NO_NEW_PRIVS");
    return {};
}

}  // namespace

std::span<const KeptCapability> kept_capabilities() {
    return kKept;
}

Result<> enter_sandbox(const Enclosure& enclosure) {
    AMILIFT_CHECK(die_with_parent());
    AMILIFT_CHECK(clean_environment());
    AMILIFT_CHECK(close_descriptors(enclosure));
    AMILIFT_CHECK(bound_resources());
    AMILIFT_CHECK(leave_namespaces());
    AMILIFT_CHECK(enter_small_root(enclosure.shown_directory));
    AMILIFT_CHECK(drop_capabilities());
    return filter_system_calls();
}

}  // namespace amilift::worker
