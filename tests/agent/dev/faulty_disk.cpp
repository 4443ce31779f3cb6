// SPDX-License-Identifier: Apache-2.0
#include "faulty_disk.hpp"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

#include "disk_fixture.hpp"

namespace amilift::dev::testing {
namespace {

constexpr fuse_ino_t kDiskInode = 2;
constexpr double kForever = 1e9;

}  // namespace

class FaultyDisk::Server {
  public:
    explicit Server(std::vector<std::byte> bytes)
        : bytes_(std::move(bytes)), path_(directory_.file("disk")) {
        fuse_lowlevel_ops operations{};
        operations.lookup = on_lookup;
        operations.getattr = on_getattr;
        operations.open = on_open;
        operations.read = on_read;
        operations.write = on_write;
        operations.fsync = on_fsync;
        std::string name = "amilift-faultydisk";
        std::vector<char*> words{name.data()};
        fuse_args arguments = FUSE_ARGS_INIT(1, words.data());
        session_ = fuse_session_new(&arguments, &operations, sizeof(operations), this);
        if (session_ == nullptr) throw std::runtime_error("cannot make a FUSE session");
        if (fuse_session_mount(session_, directory_.path().c_str()) != 0) {
            fuse_session_destroy(session_);
            throw std::runtime_error("cannot mount a FUSE filesystem");
        }
        thread_ = std::thread([this] { fuse_session_loop(session_); });
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() {
        give_up();
        // Ends the loop, too: its descriptor is of no filesystem any more.
        fuse_session_exit(session_);
        fuse_session_unmount(session_);
        thread_.join();
        fuse_session_destroy(session_);
    }

    [[nodiscard]] const std::string& path() const { return path_; }

    void break_down(const Fault& fault) {
        const std::lock_guard lock(mutex_);
        fault_ = fault;
    }

    void give_up() {
        const std::lock_guard lock(mutex_);
        for (auto* request : waiting_) fuse_reply_err(request, EIO);
        waiting_.clear();
        if (fault_) fault_->answer = Fault::Answer::error;
    }

  private:
    static Server& of(fuse_req_t request) {
        return *static_cast<Server*>(fuse_req_userdata(request));
    }

    [[nodiscard]] struct stat status_of(fuse_ino_t inode) const {
        struct stat status{};
        status.st_ino = inode;
        status.st_nlink = 1;
        if (inode == FUSE_ROOT_ID) {
            status.st_mode = S_IFDIR | 0755;
        } else {
            status.st_mode = S_IFREG | 0644;
            status.st_size = static_cast<off_t>(bytes_.size());
        }
        return status;
    }

    /// Whether the request has been dealt with: it met the fault.
    bool meets_fault(fuse_req_t request, Fault::Request kind, std::uint64_t offset,
                     std::uint64_t count) {
        const std::lock_guard lock(mutex_);
        if (!fault_ || kind != fault_->request) return false;
        if (kind != Fault::Request::flush &&
            (fault_->at < offset || fault_->at >= offset + count)) {
            return false;
        }
        if (fault_->answer == Fault::Answer::silence) {
            waiting_.push_back(request);
        } else {
            fuse_reply_err(request, EIO);
        }
        return true;
    }

    static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
        if (parent != FUSE_ROOT_ID || std::string_view(name) != "disk") {
            fuse_reply_err(request, ENOENT);
            return;
        }
        fuse_entry_param entry{};
        entry.ino = kDiskInode;
        entry.attr_timeout = kForever;
        entry.entry_timeout = kForever;
        entry.attr = of(request).status_of(kDiskInode);
        fuse_reply_entry(request, &entry);
    }

    static void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*file*/) {
        const auto status = of(request).status_of(inode);
        fuse_reply_attr(request, &status, kForever);
    }

    static void on_open(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* file) {
        fuse_reply_open(request, file);
    }

    static void on_read(fuse_req_t request, fuse_ino_t /*inode*/, std::size_t count, off_t offset,
                        fuse_file_info* /*file*/) {
        auto& disk = of(request);
        const auto from = std::min(static_cast<std::size_t>(offset), disk.bytes_.size());
        count = std::min(count, disk.bytes_.size() - from);
        if (disk.meets_fault(request, Fault::Request::read, from, count)) return;
        const auto part = std::span(disk.bytes_).subspan(from, count);
        fuse_reply_buf(request, reinterpret_cast<const char*>(part.data()), part.size());
    }

    static void on_write(fuse_req_t request, fuse_ino_t /*inode*/, const char* data,
                         std::size_t count, off_t offset, fuse_file_info* /*file*/) {
        auto& disk = of(request);
        const auto to = static_cast<std::size_t>(offset);
        if (to > disk.bytes_.size() || count > disk.bytes_.size() - to) {
            fuse_reply_err(request, ENOSPC);
            return;
        }
        if (disk.meets_fault(request, Fault::Request::write, to, count)) return;
        std::ranges::copy(std::as_bytes(std::span(data, count)),
                          disk.bytes_.begin() + static_cast<std::ptrdiff_t>(to));
        fuse_reply_write(request, count);
    }

    static void on_fsync(fuse_req_t request, fuse_ino_t /*inode*/, int /*data_only*/,
                         fuse_file_info* /*file*/) {
        if (!of(request).meets_fault(request, Fault::Request::flush, 0, 0)) {
            fuse_reply_err(request, 0);
        }
    }

    TemporaryDirectory directory_;
    std::vector<std::byte> bytes_;
    std::mutex mutex_;  ///< of the two that follow
    std::optional<Fault> fault_;
    std::vector<fuse_req_t> waiting_;
    std::string path_;
    fuse_session* session_ = nullptr;
    std::thread thread_;
};

FaultyDisk::FaultyDisk(std::vector<std::byte> bytes)
    : server_(std::make_unique<Server>(std::move(bytes))) {}

FaultyDisk::~FaultyDisk() = default;

const std::string& FaultyDisk::path() const {
    return server_->path();
}

void FaultyDisk::break_down(const Fault& fault) {
    server_->break_down(fault);
}

void FaultyDisk::give_up() {
    server_->give_up();
}

}  // namespace amilift::dev::testing
