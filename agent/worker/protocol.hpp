// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "worker/conversion.hpp"
#include "worker/exact_text.hpp"

namespace amilift::worker {

/// The talk between the agent and the disk worker over one stream socket. A message is its length
/// (4 bytes, big-endian) and a JSON object {"v": 1, "type": ..., ...}. The agent sends one request;
/// the worker answers with any number of events and ends with one outcome, inspection, plan or
/// error. The worker has read a hostile disk, so the agent takes nothing from it on trust: sizes,
/// types and ranges are checked, and a message that is not understood ends the conversion.
inline constexpr int kProtocolVersion = 1;
/// The descriptors that the worker is started with, besides standard ones: the socket; the copy
/// journal, and the disk that a request says is open, if there are such.
inline constexpr int kWorkerSocket = 3;
inline constexpr int kWorkerJournal = 4;
inline constexpr int kWorkerDisk = 5;
/// Longest message in bytes. A manifest of 20000 paths fits.
inline constexpr std::size_t kMessageLimit = 8U << 20;

/// What the agent learns of a finished conversion. No content of the image is among it.
struct WorkerOutcome {
    std::string os_pretty_name;
    std::string filesystem_uuid;
    std::string kernel_version;  ///< of the kernel that will boot
    bool boots_by_uefi = false;  ///< besides BIOS: the disk and that kernel can
    std::string ena_driver;      ///< of that kernel, see image::Kernel; empty: none
    std::vector<std::string> steps;
    std::uint64_t used_bytes = 0;
    std::uint64_t target_bytes = 0;
    std::string manifest_json;  ///< modules::Manifest::from_json reads it
    std::vector<std::string> proofs;
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
    std::uint64_t resumed_bytes = 0;   ///< on the target from an earlier start: not read again
    std::uint64_t verified_bytes = 0;  ///< read back and compared
    double copy_seconds = 0;
    double verify_seconds = 0;
};
[[nodiscard]] WorkerOutcome outcome_of(const ConversionResult& result);

/// A sign of life while a command runs that reports nothing.
struct AliveMessage {};
struct StageMessage {
    std::string stage;
};
struct StepMessage {
    std::size_t index = 0;
    std::size_t count = 0;
    std::string text;
};
using WorkerMessage =
    std::variant<AliveMessage, StageMessage, image::Finding, StepMessage, dev::CopyProgress,
                 WorkerOutcome, Inspection, PlanText, core::Error>;

/// Look at one disk, see inspect().
struct InspectionRequest {
    DiskRef disk;
    bool may_replay_journal = false;
};
/// Only say what a conversion would do, see plan().
struct PlanRequest {
    ConversionRequest conversion;
};
using WorkerRequest = std::variant<ConversionRequest, InspectionRequest, PlanRequest>;

/// Of a disk that has a descriptor, only that it has one crosses.
[[nodiscard]] std::string encode_request(const WorkerRequest& request);
/// Such a disk has the descriptor kWorkerDisk then.
[[nodiscard]] core::Result<WorkerRequest> decode_request(std::string_view json);
[[nodiscard]] std::string encode(const WorkerMessage& message);
/// Errc::corrupt says which field is missing or wrong.
[[nodiscard]] core::Result<WorkerMessage> decode(std::string_view json,
                                                 TextForm form = TextForm::readable);

/// Sends one message, all of it. Errc::unavailable when the other side has gone.
[[nodiscard]] core::Result<> send_message(const core::Fd& socket, std::string_view json);

/// Cuts messages out of a stream, however its bytes arrive.
class MessageReader {
  public:
    /// Takes what has arrived.
    void feed(std::string_view bytes) { buffer_.append(bytes); }
    /// The next whole message, or nothing yet. Errc::corrupt for a length of 0 or above
    /// kMessageLimit; the stream is useless from there on.
    [[nodiscard]] core::Result<std::optional<std::string>> next();
    /// True when the stream would end in the middle of a message.
    [[nodiscard]] bool in_the_middle() const { return !buffer_.empty(); }

  private:
    std::string buffer_;
};

/// Waits for one message, at most `timeout`. Errors: timed_out; unavailable at the end of the
/// stream; corrupt.
[[nodiscard]] core::Result<std::string> receive_message(const core::Fd& socket,
                                                        MessageReader& reader,
                                                        core::Duration timeout);

}  // namespace amilift::worker
