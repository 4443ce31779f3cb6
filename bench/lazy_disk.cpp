// SPDX-License-Identifier: Apache-2.0
// A disk that is loaded as it is read, as a volume is that was made from a snapshot: a FUSE
// filesystem with one file, `disk`, which shows another file. The first touch of each 512 KiB takes
// milliseconds, differently for each but the same in each run; touches of a part that is on its way
// wait for it. Latencies of requests under way at once overlap, as on a disk behind a network. Runs
// until SIGTERM, then prints one JSON object.
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/fd.hpp"

namespace {

namespace core = amilift::core;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::uint64_t kPartBytes = 512U << 10U;
constexpr fuse_ino_t kDiskInode = 2;
constexpr double kForever = 1e9;
// Each read that waits has a thread: more of them than any of the tools has requests under way.
constexpr unsigned kThreads = 300;

struct Options {
    std::string directory;
    std::string file;
    std::uint32_t least_ms = 5;
    std::uint32_t most_ms = 25;
    std::uint32_t again_us = 200;
};

/// A number that looks random and depends on `x` only (the finish of MurmurHash3).
std::uint64_t scatter(std::uint64_t x) {
    x ^= x >> 33U;
    x *= 0xff51afd7ed558ccdU;
    x ^= x >> 33U;
    x *= 0xc4ceb9fe1a85ec53U;
    return x ^ x >> 33U;
}

class LazyDisk {
  public:
    LazyDisk(Options options, core::Fd file, std::uint64_t size)
        : options_(std::move(options)),
          file_(std::move(file)),
          size_(size),
          loaded_at_((size + kPartBytes - 1) / kPartBytes) {}

    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] int fd() const { return file_.get(); }

    /// Returns when a disk of this kind would have answered.
    void wait_for(std::uint64_t offset, std::uint64_t count) {
        ++reads_;
        const auto now = Clock::now();
        auto ready = now + microseconds(options_.again_us);
        const auto last =
            std::min<std::uint64_t>((offset + count - 1) / kPartBytes, loaded_at_.size() - 1);
        for (auto part = offset / kPartBytes; part <= last; ++part) {
            const auto due = now + latency_of(part);
            Clock::rep seen = 0;
            if (loaded_at_[part].compare_exchange_strong(seen, due.time_since_epoch().count())) {
                ++first_touches_;
                ready = std::max(ready, due);
            } else {
                ready = std::max(ready, Clock::time_point(Clock::duration(seen)));
            }
        }
        std::this_thread::sleep_until(ready);
    }

    void report() const {
        fmt::print(R"({{"reads":{},"first_touches":{},"parts":{}}})"
                   "\n",
                   reads_.load(), first_touches_.load(), loaded_at_.size());
    }

  private:
    [[nodiscard]] microseconds latency_of(std::uint64_t part) const {
        const std::uint64_t least = std::uint64_t{options_.least_ms} * 1000;
        const std::uint64_t most = std::uint64_t{options_.most_ms} * 1000;
        return microseconds(least + scatter(part + 1) % (most - least + 1));
    }

    Options options_;
    core::Fd file_;
    std::uint64_t size_;
    std::vector<std::atomic<Clock::rep>> loaded_at_;  ///< 0: not touched yet
    std::atomic<std::uint64_t> reads_{0};
    std::atomic<std::uint64_t> first_touches_{0};
};

LazyDisk& disk_of(fuse_req_t request) {
    return *static_cast<LazyDisk*>(fuse_req_userdata(request));
}

struct stat status_of(const LazyDisk& disk, fuse_ino_t inode) {
    struct stat status{};
    status.st_ino = inode;
    status.st_nlink = 1;
    if (inode == FUSE_ROOT_ID) {
        status.st_mode = S_IFDIR | 0755;
    } else {
        status.st_mode = S_IFREG | 0444;
        status.st_size = static_cast<off_t>(disk.size());
    }
    return status;
}

void on_init(void* /*disk*/, fuse_conn_info* connection) {
    // Direct reads of a loop device count as background: the default of 12 would be its depth.
    connection->max_background = kThreads;
    connection->congestion_threshold = kThreads;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    if (parent != FUSE_ROOT_ID || std::string_view(name) != "disk") {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fuse_entry_param entry{};
    entry.ino = kDiskInode;
    entry.attr_timeout = kForever;
    entry.entry_timeout = kForever;
    entry.attr = status_of(disk_of(request), kDiskInode);
    fuse_reply_entry(request, &entry);
}

void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*file*/) {
    const auto status = status_of(disk_of(request), inode);
    fuse_reply_attr(request, &status, kForever);
}

void on_open(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* file) {
    file->direct_io = 1;
    fuse_reply_open(request, file);
}

void on_read(fuse_req_t request, fuse_ino_t /*inode*/, std::size_t count, off_t offset,
             fuse_file_info* /*file*/) {
    auto& disk = disk_of(request);
    const auto from = static_cast<std::uint64_t>(offset);
    if (from >= disk.size() || count == 0) {
        fuse_reply_buf(request, nullptr, 0);
        return;
    }
    const auto length = std::min<std::uint64_t>(count, disk.size() - from);
    disk.wait_for(from, length);
    fuse_bufvec data{};
    data.count = 1;
    data.buf[0].size = static_cast<std::size_t>(length);
    data.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
    data.buf[0].fd = disk.fd();
    data.buf[0].pos = offset;
    fuse_reply_data(request, &data, FUSE_BUF_SPLICE_MOVE);
}

bool serve(LazyDisk& disk, const std::string& directory) {
    fuse_lowlevel_ops operations{};
    operations.init = on_init;
    operations.lookup = on_lookup;
    operations.getattr = on_getattr;
    operations.open = on_open;
    operations.read = on_read;
    std::string name = "amilift-lazydisk";
    std::string mount_options = "-oro,default_permissions";
    std::vector<char*> words{name.data(), mount_options.data()};
    fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(words.size()), words.data());
    fuse_session* session =
        fuse_session_new(&arguments, &operations, sizeof(operations), static_cast<void*>(&disk));
    if (session == nullptr) return false;
    bool good = fuse_set_signal_handlers(session) == 0;
    if (good && fuse_session_mount(session, directory.c_str()) == 0) {
        fuse_loop_config* config = fuse_loop_cfg_create();
        fuse_loop_cfg_set_max_threads(config, kThreads);
        fuse_loop_cfg_set_idle_threads(config, kThreads);
        good = fuse_session_loop_mt(session, config) >= 0;
        fuse_loop_cfg_destroy(config);
        fuse_session_unmount(session);
    } else {
        good = false;
    }
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Shows a file as a disk that is loaded as it is read");
    app.add_option("directory", options.directory, "where to mount it")->required();
    app.add_option("file", options.file, "what the disk holds")->required();
    app.add_option("--least-ms", options.least_ms, "of a first touch");
    app.add_option("--most-ms", options.most_ms, "of a first touch");
    app.add_option("--again-us", options.again_us, "of any other touch");
    CLI11_PARSE(app, argc, argv);
    core::Fd file(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status{};
    if (!file || ::fstat(file.get(), &status) != 0 || status.st_size <= 0 ||
        options.most_ms < options.least_ms) {
        fmt::print(stderr, "amilift-lazydisk: '{}' cannot be read, or is empty\n", options.file);
        return 1;
    }
    LazyDisk disk(options, std::move(file), static_cast<std::uint64_t>(status.st_size));
    if (!serve(disk, options.directory)) return 1;
    disk.report();
    return 0;
}
