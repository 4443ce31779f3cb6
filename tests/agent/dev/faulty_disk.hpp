// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace amilift::dev::testing {

/// What a disk does to the requests that touch a byte of it; a flush touches none.
struct Fault {
    enum class Request { read, write, flush };
    enum class Answer { error, silence };
    Request request = Request::read;
    Answer answer = Answer::error;  ///< EIO, or none
    std::uint64_t at = 0;
};

/// A disk in memory that fails on purpose: the one file of a FUSE filesystem, which a thread of
/// this process serves. A loop device makes a block device of it. Needs root and /dev/fuse.
class FaultyDisk {
  public:
    /// Good until break_down(). Throws std::runtime_error when it cannot be mounted.
    explicit FaultyDisk(std::vector<std::byte> bytes);
    FaultyDisk(const FaultyDisk&) = delete;
    FaultyDisk& operator=(const FaultyDisk&) = delete;
    /// Unmounts; who still uses the disk gets errors.
    ~FaultyDisk();

    [[nodiscard]] const std::string& path() const;
    void break_down(const Fault& fault);
    /// Answers the requests that wait for ever, with EIO: a loop device cannot go before.
    void give_up();

  private:
    class Server;
    std::unique_ptr<Server> server_;
};

}  // namespace amilift::dev::testing
