// SPDX-License-Identifier: Apache-2.0
#include "worker/syscall_filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

namespace amilift::worker {
namespace {

using core::Result;

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "name the audit architecture of this machine here"
#endif

/// Numbers from this bit on are the x32 calls, which name the same kernel functions once more.
constexpr std::uint32_t kX32Bit = 0x40000000;

constexpr std::array kDenied{
    // the kernel itself
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_syslog, SYS_quotactl,
    // other processes
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_getfd, SYS_kcmp,
    SYS_process_madvise,
    // programs and events inside the kernel
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_fanotify_init,
    // keys
    SYS_add_key, SYS_request_key, SYS_keyctl,
    // other namespaces and roots: no code of the image runs, so nobody needs a chroot
    SYS_setns, SYS_pivot_root, SYS_chroot, SYS_open_by_handle_at,
    // clocks and names of the host
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname,
    SYS_setdomainname,
    // device nodes: the image's would be made on the helper
    SYS_mknodat,
    // other identities
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
    SYS_personality};

#if defined(__x86_64__)
/// Calls that only x86 has: the older form of mknodat, and the ports.
constexpr std::array<int, 3> kDeniedHere{SYS_mknod, SYS_iopl, SYS_ioperm};
#else
constexpr std::array<int, 0> kDeniedHere{};
#endif

/// Flags of clone(2) that make a namespace: a new user namespace would give all capabilities back.
constexpr std::uint32_t kNamespaceFlags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS |
                                          CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                                          CLONE_NEWCGROUP;

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;

constexpr std::uint32_t denied_with(int error) {
    return SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA);
}

/// A seccomp program, built instruction by instruction.
class Program {
  public:
    /// Loads a word of seccomp_data.
    void load(std::size_t offset) {
        add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset), 0, 0);
    }
    void give(std::uint32_t verdict) { add(BPF_RET | BPF_K, verdict, 0, 0); }
    void if_equal(std::uint32_t value, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
        give(verdict);
    }
    void if_not_equal(std::uint32_t value, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
        give(verdict);
    }
    void if_at_least(std::uint32_t value, std::uint32_t verdict) {
        add(BPF_JMP | BPF_JGE | BPF_K, value, 0, 1);
        give(verdict);
    }
    /// Call `number`: `equal` decides by its first argument being `value`, else `otherwise`.
    void by_first_argument(int number, std::uint32_t value, std::uint32_t equal,
                           std::uint32_t otherwise) {
        add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 4);
        load(kFirstArgument);
        if_equal(value, equal);
        give(otherwise);
    }
    /// Call `number`: `any` if its first argument has one of `bits`, else `otherwise`.
    void by_argument_bits(int number, std::uint32_t bits, std::uint32_t any,
                          std::uint32_t otherwise) {
        add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 4);
        load(kFirstArgument);
        add(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
        give(any);
        give(otherwise);
    }
    std::vector<sock_filter>& code() { return code_; }

  private:
    // The lower half: family and flags lie in it, on both (little-endian) architectures.
    static constexpr std::size_t kFirstArgument = offsetof(seccomp_data, args);
    void add(int operation, std::uint32_t k, std::uint8_t if_true, std::uint8_t if_false) {
        code_.push_back({static_cast<std::uint16_t>(operation), if_true, if_false, k});
    }
    std::vector<sock_filter> code_;
};

Program make_program() {
    Program program;
    program.load(offsetof(seccomp_data, arch));
    program.if_not_equal(kArchitecture, SECCOMP_RET_KILL_PROCESS);
    program.load(offsetof(seccomp_data, nr));
    program.if_at_least(kX32Bit, denied_with(EPERM));
    for (const int number : kDenied) {
        program.if_equal(static_cast<std::uint32_t>(number), denied_with(EPERM));
    }
    for (const int number : kDeniedHere) {
        program.if_equal(static_cast<std::uint32_t>(number), denied_with(EPERM));
    }
    // Its flags lie in memory, where a filter cannot look; libc falls back to clone().
    program.if_equal(SYS_clone3, denied_with(ENOSYS));
    program.by_first_argument(SYS_socket, AF_UNIX, kAllow, denied_with(EAFNOSUPPORT));
    program.by_first_argument(SYS_unshare, CLONE_NEWNS, kAllow, denied_with(EPERM));
    program.by_argument_bits(SYS_clone, kNamespaceFlags, denied_with(EPERM), kAllow);
    program.give(kAllow);
    return program;
}

}  // namespace

Result<> filter_system_calls() {
    auto program = make_program();
    const sock_fprog code{static_cast<unsigned short>(program.code().size()),
                          program.code().data()};
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, "cannot enclose the disk worker: PR_SET_SECCOMP",
                                "the helper's kernel needs CONFIG_SECCOMP_FILTER");
    }
    return {};
}

}  // namespace amilift::worker
