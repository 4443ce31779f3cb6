// SPDX-License-Identifier: Apache-2.0
// What no copy can beat: reads so many bytes of one device and writes so many to another, both in
// order and both at once, with a deep queue and nothing else. Knows nothing of filesystems. Prints
// one JSON object.
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "dev/copy_job.hpp"

namespace {

namespace core = amilift::core;
namespace dev = amilift::dev;

constexpr std::uint64_t kPage = 4096;

struct Options {
    std::string source;
    std::string target;
    std::uint64_t read_bytes = 0;
    std::uint64_t write_bytes = 0;
    std::uint32_t depth = 16;
    std::uint32_t block_bytes = 1U << 20U;
};

/// One direction: what of it has been asked for.
struct Stream {
    int fd;
    std::uint64_t left;
    std::uint64_t offset = 0;
};

core::Result<core::Fd> open_direct(const std::string& path, int mode) {
    core::Fd fd(::open(path.c_str(), mode | O_DIRECT | O_CLOEXEC));
    if (!fd) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot open '{}' for direct I/O", path));
    }
    return fd;
}

class Pump {
  public:
    Pump(const Options& options, io_uring& ring, std::span<std::byte> buffers)
        : options_(options), ring_(ring), buffers_(buffers) {}

    core::Result<> run(Stream reads, Stream writes) {
        std::vector<iovec> vectors;
        for (std::uint32_t i = 0; i < 2 * options_.depth; ++i) {
            vectors.push_back({buffer(i), options_.block_bytes});
        }
        if (const int rc = io_uring_register_buffers(&ring_, vectors.data(),
                                                     static_cast<unsigned>(vectors.size()));
            rc != 0) {
            return core::fail_errno(-rc, "cannot register buffers");
        }
        for (std::uint32_t i = 0; i < options_.depth; ++i) {
            start(i, reads);
            start(options_.depth + i, writes);
        }
        while (under_way_ > 0) {
            io_uring_cqe* entry = nullptr;
            if (const int rc = io_uring_submit_and_wait(&ring_, 1); rc < 0 && rc != -EINTR) {
                return core::fail_errno(-rc, "cannot wait for io_uring");
            }
            while (io_uring_peek_cqe(&ring_, &entry) == 0) {
                const auto index = static_cast<std::uint32_t>(entry->user_data);
                const int result = entry->res;
                io_uring_cqe_seen(&ring_, entry);
                --under_way_;
                if (result <= 0) {
                    return core::fail_errno(result == 0 ? EIO : -result, "a request failed");
                }
                start(index, index < options_.depth ? reads : writes);
            }
        }
        return {};
    }

  private:
    std::byte* buffer(std::uint32_t index) {
        return buffers_.subspan(std::size_t{index} * options_.block_bytes).data();
    }

    void start(std::uint32_t index, Stream& stream) {
        if (stream.left == 0) return;
        const auto length =
            static_cast<unsigned>(std::min<std::uint64_t>(stream.left, options_.block_bytes));
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        const auto buffer_index = static_cast<int>(index);
        if (index < options_.depth) {
            io_uring_prep_read_fixed(entry, stream.fd, buffer(index), length, stream.offset,
                                     buffer_index);
        } else {
            io_uring_prep_write_fixed(entry, stream.fd, buffer(index), length, stream.offset,
                                      buffer_index);
        }
        io_uring_sqe_set_data64(entry, index);
        stream.offset += length;
        stream.left -= length;
        ++under_way_;
    }

    const Options& options_;
    io_uring& ring_;
    std::span<std::byte> buffers_;
    std::uint32_t under_way_ = 0;
};

core::Result<> measure(const Options& options) {
    const auto start = std::chrono::steady_clock::now();
    AMILIFT_TRY(const auto source, open_direct(options.source, O_RDONLY));
    AMILIFT_TRY(const auto target, open_direct(options.target, O_RDWR));
    AMILIFT_TRY(const auto pool,
                dev::BufferPool::allocate(std::size_t{2} * options.depth * options.block_bytes));
    std::ranges::fill(pool.bytes(), std::byte{0xa5});
    io_uring ring{};
    if (const int rc = io_uring_queue_init(
            4 * options.depth, &ring,
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN);
        rc != 0) {
        return core::fail_errno(-rc, "cannot set up io_uring");
    }
    const auto whole_pages = [](std::uint64_t bytes) {
        return (bytes + kPage - 1) / kPage * kPage;
    };
    auto done = Pump(options, ring, pool.bytes())
                    .run({.fd = source.get(), .left = whole_pages(options.read_bytes)},
                         {.fd = target.get(), .left = whole_pages(options.write_bytes)});
    io_uring_queue_exit(&ring);
    AMILIFT_CHECK(done);
    if (::fdatasync(target.get()) != 0) {
        const int saved = errno;
        return core::fail_errno(saved, fmt::format("cannot flush '{}'", options.target));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    fmt::print(R"({{"seconds":{:.4f}}})"
               "\n",
               seconds.count());
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Reads and writes at a device's own bandwidth");
    app.add_option("source", options.source, "device that is read from its start")->required();
    app.add_option("target", options.target, "device that is written from its start")->required();
    app.add_option("--read-bytes", options.read_bytes)->required();
    app.add_option("--write-bytes", options.write_bytes)->required();
    app.add_option("--depth", options.depth, "requests under way, of each direction")
        ->check(CLI::Range(1, 256));
    app.add_option("--block-bytes", options.block_bytes)->check(CLI::Range(4096, 16 << 20));
    CLI11_PARSE(app, argc, argv);
    const auto done = measure(options);
    if (done) return 0;
    fmt::print(stderr, "amilift-copyfloor: {}\n", done.error().message());
    return 1;
}
