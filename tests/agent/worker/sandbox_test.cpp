// SPDX-License-Identifier: Apache-2.0
// What the disk worker cannot do, tried from inside. Needs root.
#include "worker/sandbox.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <thread>

#include "core/command.hpp"
#include "core/fd.hpp"
#include "tests/agent/worker/pv_image.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;

struct Pair {
    Pair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
        ours = core::Fd(ends[0]);
        theirs = core::Fd(ends[1]);
    }
    core::Fd ours;
    core::Fd theirs;
};

std::string read_to_end(const core::Fd& fd) {
    std::string text;
    std::array<char, 4096> chunk{};
    while (true) {
        const auto n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n <= 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(n));
    }
}

/// Runs `inside` in a child that has entered the sandbox, and gives what it says.
std::string in_sandbox(const std::function<std::string()>& inside, Enclosure enclosure = {}) {
    Pair pair;
    enclosure.socket_fd = pair.theirs.get();
    const pid_t child = ::fork();
    if (child == 0) {
        std::string said;
        if (const auto entered = enter_sandbox(enclosure); !entered) {
            said = "not entered: " + entered.error().message();
        } else {
            said = inside();
        }
        (void)!::write(pair.theirs.get(), said.data(), said.size());
        ::_exit(0);
    }
    pair.theirs.reset();
    auto said = read_to_end(pair.ours);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) said += fmt::format(" (killed by signal {})", WTERMSIG(status));
    return said;
}

/// The error number of a call that must fail.
std::string outcome(long result) {
    const int saved = errno;
    return result < 0 ? fmt::format("{}", strerrorname_np(saved)) : "worked";
}

class Sandbox : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root for namespaces";
    }
};

TEST_F(Sandbox, CannotReachAPortOfTheHost) {
    const core::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(listener);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    socklen_t length = sizeof address;
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    const auto connect = [&] {
        const core::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!socket) return outcome(-1);
        return outcome(
            ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    };
    EXPECT_EQ(connect(), "worked") << "from outside";
    EXPECT_EQ(in_sandbox(connect), "EAFNOSUPPORT");
}

TEST_F(Sandbox, HasNoNetworkEvenWithoutTheFilter) {
    // The namespace alone must do: io_uring can make sockets past a seccomp filter.
    const auto interfaces = in_sandbox([] {
        std::ifstream devices("/proc/self/net/dev");
        std::ifstream routes("/proc/self/net/route");
        std::string names;
        std::string line;
        for (int i = 0; std::getline(devices, line); ++i) {
            if (i >= 2) names += line.substr(0, line.find(':')) + ";";
        }
        int count = 0;
        while (std::getline(routes, line)) ++count;
        return names + fmt::format("{} routes", count <= 1 ? 0 : count - 1);
    });
    EXPECT_TRUE(interfaces == "    lo;0 routes" || interfaces == "lo;0 routes") << interfaces;
    for (const int family : {AF_INET, AF_INET6, AF_PACKET, AF_NETLINK, AF_VSOCK, AF_ALG}) {
        EXPECT_EQ(in_sandbox([&] { return outcome(::socket(family, SOCK_DGRAM, 0)); }),
                  "EAFNOSUPPORT")
            << family;
    }
}

TEST_F(Sandbox, EnvironmentAndDescriptorsOfTheAgentAreGone) {
    ASSERT_EQ(::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1), 0);
    const core::Fd secret(::open("/etc/hostname", O_RDONLY));  // inherited on purpose
    ASSERT_TRUE(secret);
    const auto said = in_sandbox([] {
        std::string text;
        for (char** variable = environ; *variable != nullptr; ++variable) {
            text += std::string(*variable) + ";";
        }
        int sockets = 0;
        int others = 0;
        for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
            std::error_code error;
            const int number = std::stoi(entry.path().filename().string());
            const auto target = fs::read_symlink(entry.path(), error).string();
            if (number <= 2 || target.starts_with("/proc/")) continue;
            ++(target.starts_with("socket:") ? sockets : others);
        }
        const auto input = fs::read_symlink("/proc/self/fd/0").string();
        return text + fmt::format("sockets {}, others {}, input {}", sockets, others, input);
    });
    ::unsetenv("AWS_SECRET_ACCESS_KEY");
    EXPECT_EQ(said,
              "PATH=/usr/sbin:/usr/bin:/sbin:/bin;LC_ALL=C.UTF-8;sockets 1, others 0, input "
              "/dev/null");
}

TEST_F(Sandbox, TheCopyJournalIsAllThatCanBeWrittenOfTheHelpersFiles) {
    const test::TemporaryDirectory directory;
    const auto path = directory / "copy.journal";
    auto file = core::open_file(path, O_RDWR | O_CREAT, 0600);
    ASSERT_TRUE(file);
    // It has a larger number than the socket, and others lie between and behind.
    const core::Fd between(::fcntl(file->get(), F_DUPFD, 60));
    const core::Fd journal(::fcntl(file->get(), F_DUPFD, 70));
    const core::Fd behind(::fcntl(file->get(), F_DUPFD, 80));
    const auto said = in_sandbox(
        [&] {
            return outcome(::write(journal.get(), "note", 4)) + " " +
                   outcome(::fcntl(between.get(), F_GETFD)) + " " +
                   outcome(::fcntl(behind.get(), F_GETFD)) + " " +
                   outcome(::fcntl(journal.get(), F_GETFD) == FD_CLOEXEC ? 0 : -1);
        },
        {.journal_fd = journal.get()});
    EXPECT_EQ(said, "worked EBADF EBADF worked");
    EXPECT_EQ(test::read_text(path), "note");
}

TEST_F(Sandbox, AnOpenDiskIsKept) {
    const test::TemporaryDirectory directory;
    const auto path = directory / "disk";
    test::write_text(path, "a disk");
    const core::Fd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const core::Fd disk(::fcntl(opened.get(), F_DUPFD, 70));
    const auto said = in_sandbox(
        [&] {
            std::array<char, 6> text{};
            const auto by_name = outcome(::access(path.c_str(), F_OK));
            const auto read = outcome(::pread(disk.get(), text.data(), text.size(), 0));
            return by_name + " " + read + " " + std::string(text.data(), text.size()) + " " +
                   outcome(::fcntl(opened.get(), F_GETFD));
        },
        {.disk_fd = disk.get()});
    EXPECT_EQ(said, "ENOENT worked a disk EBADF");
}

TEST_F(Sandbox, MountsAreNotSeenOutside) {
    const test::TemporaryDirectory directory;
    Pair held;
    Pair pair;
    const pid_t child = ::fork();
    if (child == 0) {
        held.ours.reset();
        const int keep = ::dup2(pair.theirs.get(), held.theirs.get());
        std::string said = "not entered";
        if (enter_sandbox({.socket_fd = keep, .shown_directory = directory.path()})) {
            said = outcome(::mount("none", directory.path().c_str(), "tmpfs", MS_NOSUID, nullptr));
            test::write_text(directory / "inside", "x");
        }
        (void)!::write(keep, said.data(), said.size());
        std::array<char, 1> go{};
        (void)!::read(keep, go.data(), 1);
        ::_exit(0);
    }
    std::array<char, 64> said{};
    const auto n = ::read(pair.ours.get(), said.data(), said.size());
    EXPECT_EQ(std::string(said.data(), n > 0 ? static_cast<std::size_t>(n) : 0), "worked");
    EXPECT_FALSE(fs::exists(directory / "inside"));
    EXPECT_EQ(test::image_mounts(), std::vector<std::string>{});
    (void)!::write(pair.ours.get(), "g", 1);
    EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST_F(Sandbox, FilesAndServicesOfTheHelperAreOutOfReach) {
    for (const char* path : {"/etc/shadow", "/etc/passwd", "/root", "/home", "/var", "/run/systemd",
                             "/run/dbus", "/run/udev"}) {
        EXPECT_EQ(in_sandbox([&] { return outcome(::access(path, F_OK)); }), "ENOENT") << path;
    }
    const auto names = in_sandbox([] {
        std::set<std::string> seen;
        for (const auto& entry : fs::directory_iterator("/")) {
            seen.insert(entry.path().filename().string());
        }
        for (const char* shown : {"bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "run",
                                  "sbin", "sys", "tmp", "usr"}) {
            seen.erase(shown);
        }
        return fmt::format("{}", fmt::join(seen, " "));
    });
    EXPECT_EQ(names, "");
    EXPECT_EQ(in_sandbox([] { return outcome(::mkdir("/usr/amilift-was-here", 0700)); }), "EROFS");
    EXPECT_EQ(in_sandbox([] { return outcome(::mkdir("/sys/amilift-was-here", 0700)); }), "EROFS");
    // The mounts of the old root are gone, too, not only out of sight.
    EXPECT_EQ(in_sandbox([] {
                  std::ifstream mounts("/proc/self/mountinfo");
                  std::string found;
                  for (std::string line; std::getline(mounts, line);) {
                      std::istringstream words(line);
                      std::string id;
                      std::string parent;
                      std::string device;
                      std::string root;
                      std::string point;
                      words >> id >> parent >> device >> root >> point;
                      if (point == "/" && line.find(" tmpfs ") == std::string::npos) found += line;
                  }
                  return found;
              }),
              "");
}

TEST_F(Sandbox, ASocketOfAServiceCannotBeReached) {
    // Of a service; of whoever works on this machine: tmux, an SSH agent; of a shared memory's
    // user.
    for (const char* directory : {"/run", "/tmp", "/dev/shm"}) {
        const auto path = fmt::format("{}/amilift-test-{}.socket", directory, ::getpid());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const core::Fd service(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::bind(service.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
            << path;
        ASSERT_EQ(::listen(service.get(), 1), 0);
        const auto connect = [&] {
            const core::Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
            return outcome(
                ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
        };
        EXPECT_EQ(connect(), "worked") << path << " from outside";
        EXPECT_EQ(in_sandbox(connect), "ENOENT") << path;
        fs::remove(path);
    }
}

TEST_F(Sandbox, TemporaryFilesAreItsOwnAndBounded) {
    const test::TemporaryDirectory directory;
    test::write_text(directory / "note", "x");
    EXPECT_EQ(in_sandbox([&] {
                  std::string found;
                  for (const auto& entry : fs::directory_iterator("/tmp"))
                      found += entry.path().string();
                  return found + outcome(::access((directory / "note").c_str(), F_OK));
              }),
              "ENOENT");
    const auto said = in_sandbox([] {
        const core::Fd file(::open("/tmp/large", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
        const auto as_grub_may_have = outcome(::fallocate(file.get(), 0, 0, 16 << 20));
        const auto without_end = outcome(::fallocate(file.get(), 0, 0, 64 << 20));
        return as_grub_may_have + " " + without_end;
    });
    EXPECT_EQ(said, "worked ENOSPC");
    EXPECT_FALSE(fs::exists("/tmp/large"));
    EXPECT_EQ(in_sandbox([&] { return test::read_text(directory / "note"); },
                         {.shown_directory = directory.path()}),
              "x");
}

/// Of the listed capabilities, those that the test itself has.
std::uint64_t expected_capabilities() {
    std::uint64_t wanted = 0;
    for (const auto& kept : kept_capabilities()) wanted |= std::uint64_t{1} << kept.number;
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("CapPrm:")) wanted &= std::stoull(line.substr(7), nullptr, 16);
    }
    return wanted;
}

TEST_F(Sandbox, KeepsOnlyTheListedCapabilities) {
    for (const auto& kept : kept_capabilities()) EXPECT_NE(std::string(kept.reason), "");
    const auto wanted = expected_capabilities();
    EXPECT_NE(wanted & (std::uint64_t{1} << CAP_SYS_ADMIN), 0U);
    EXPECT_EQ(wanted & (std::uint64_t{1} << CAP_NET_ADMIN), 0U);
    EXPECT_EQ(wanted & (std::uint64_t{1} << CAP_SYS_MODULE), 0U);
    const auto status = in_sandbox([] {
        std::ifstream file("/proc/self/status");
        std::string text;
        for (std::string line; std::getline(file, line);) {
            if (line.starts_with("Cap") || line.starts_with("NoNewPrivs") ||
                line.starts_with("Seccomp:")) {
                text += line + "\n";
            }
        }
        return text;
    });
    const auto set = fmt::format("{:016x}", wanted);
    const std::string none(16, '0');
    EXPECT_EQ(status, fmt::format("CapInh:\t{1}\nCapPrm:\t{0}\nCapEff:\t{0}\nCapBnd:\t{0}\n"
                                  "CapAmb:\t{1}\nNoNewPrivs:\t1\nSeccomp:\t2\n",
                                  set, none));
}

TEST_F(Sandbox, ProgramsThatItStartsAreEnclosedToo) {
    const auto said = in_sandbox([] {
        core::ProcessRunner runner;
        const auto output = runner.run(
            {.argv = {"grep", "-E", "^(CapEff|CapBnd|NoNewPrivs|Seccomp:)", "/proc/self/status"}});
        return output ? output->out : output.error().message();
    });
    const auto wanted = expected_capabilities();
    EXPECT_EQ(said, fmt::format("CapEff:\t{0:016x}\nCapBnd:\t{0:016x}\nNoNewPrivs:\t1\n"
                                "Seccomp:\t2\n",
                                wanted));
}

TEST_F(Sandbox, ThreadsStillWork) {
    EXPECT_EQ(in_sandbox([] {
                  std::string said;
                  std::thread([&] { said = "from a thread"; }).join();
                  return said;
              }),
              "from a thread");
}

TEST_F(Sandbox, CallsThatServeNoConversionAreDenied) {
    const test::TemporaryDirectory directory;
    const auto node = directory / "node";
    const std::vector<std::pair<const char*, std::function<long()>>> calls{
        {"unshare(user)", [] { return ::unshare(CLONE_NEWUSER); }},
        {"unshare(net)", [] { return ::unshare(CLONE_NEWNET); }},
        {"clone(user)", [] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }},
        {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
        {"init_module", [] { return ::syscall(SYS_init_module, nullptr, 0, ""); }},
        {"finit_module", [] { return ::syscall(SYS_finit_module, 0, "", 0); }},
        {"kexec_load", [] { return ::syscall(SYS_kexec_load, 0, 0, nullptr, 0); }},
        {"bpf", [] { return ::syscall(SYS_bpf, 0, nullptr, 0); }},
        {"keyctl", [] { return ::syscall(SYS_keyctl, 0, 0, 0, 0, 0); }},
        {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0); }},
        {"chroot", [] { return ::chroot("/"); }},
        {"setns", [] { return ::setns(0, 0); }},
        {"mknod", [&] { return ::mknod(node.c_str(), S_IFBLK | 0600, ::makedev(7, 0)); }},
        {"sethostname", [] { return ::sethostname("x", 1); }},
        {"reboot", [] { return ::syscall(SYS_reboot, 0, 0, 0, nullptr); }},
        {"setuid", [] { return ::setuid(1); }},
    };
    const Enclosure shown{.shown_directory = directory.path()};
    for (const auto& denied : calls) {
        EXPECT_EQ(in_sandbox([&denied] { return outcome(denied.second()); }, shown), "EPERM")
            << denied.first;
    }
    EXPECT_FALSE(fs::exists(node));
    EXPECT_EQ(in_sandbox([] { return outcome(::unshare(CLONE_NEWNS)); }), "worked");
    EXPECT_EQ(in_sandbox([] { return outcome(::syscall(SYS_clone3, nullptr, 0)); }), "ENOSYS");
}

#if defined(__x86_64__)
TEST_F(Sandbox, TheSecondSetOfCallNumbersIsNoWayAround) {
    constexpr long kX32 = 0x40000000;
    EXPECT_EQ(in_sandbox([] { return outcome(::syscall(kX32 + SYS_socket, AF_INET, 1, 0)); }),
              "EPERM");
}
#endif

TEST_F(Sandbox, DiesWithTheThreadThatStartedIt) {
    Pair pair;
    const pid_t agent = ::fork();
    if (agent == 0) {
        const pid_t worker = ::fork();
        if (worker == 0) {
            pair.ours.reset();
            const bool entered = enter_sandbox({.socket_fd = pair.theirs.get()}).has_value();
            (void)!::write(pair.theirs.get(), entered ? "+" : "-", 1);
            ::pause();
            ::_exit(0);
        }
        std::array<char, 1> entered{};
        (void)!::read(pair.ours.get(), entered.data(), 1);
        ::_exit(entered[0] == '+' ? 0 : 1);
    }
    pair.theirs.reset();
    int status = 0;
    ASSERT_EQ(::waitpid(agent, &status, 0), agent);
    EXPECT_EQ(status, 0);
    // The end of the stream comes when the last holder of the other end is dead.
    timeval limit{20, 0};
    ASSERT_EQ(::setsockopt(pair.ours.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    std::array<char, 1> end{};
    EXPECT_EQ(::read(pair.ours.get(), end.data(), 1), 0);
}

TEST_F(Sandbox, SocketMustNotBeAStandardStream) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(enter_sandbox({.socket_fd = 2}) ? 0 : 5);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 5);
}

}  // namespace
}  // namespace amilift::worker
