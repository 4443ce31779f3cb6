// SPDX-License-Identifier: Apache-2.0
#include "worker/protocol.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>

#include "worker/inspection_json.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using nlohmann::json;

constexpr std::size_t kHeaderBytes = 4;
constexpr std::size_t kTextLimit = 64U << 10;
constexpr std::size_t kListLimit = 20000;

/// Why a message is not understood; never leaves this file.
class BadMessage : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

std::string dump(json message, const char* type) {
    message["v"] = kProtocolVersion;
    message["type"] = type;
    make_utf8(message);
    return message.dump();
}

/// Typed access to an object's fields that names the field in every complaint.
class Fields {
  public:
    explicit Fields(const json& object) : object_(object) {
        if (!object.is_object()) throw BadMessage("expected an object");
    }
    std::string text(const char* key, std::size_t limit = kTextLimit) const {
        const auto& value = at(key);
        if (!value.is_string()) wrong(key, "a text");
        auto result = value.get<std::string>();
        if (result.size() > limit) wrong(key, "shorter");
        return result;
    }
    std::uint64_t number(const char* key) const {
        const auto& value = at(key);
        if (!value.is_number_unsigned()) wrong(key, "a whole number from 0 on");
        return value.get<std::uint64_t>();
    }
    int signed_number(const char* key) const {
        const auto& value = at(key);
        if (!value.is_number_integer() || value.get<std::int64_t>() != value.get<int>()) {
            wrong(key, "a small whole number");
        }
        return value.get<int>();
    }
    double real(const char* key) const {
        const auto& value = at(key);
        if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, "a number");
        return value.get<double>();
    }
    bool flag(const char* key) const {
        const auto& value = at(key);
        if (!value.is_boolean()) wrong(key, "true or false");
        return value.get<bool>();
    }
    std::vector<std::string> texts(const char* key) const {
        const auto& value = at(key);
        if (!value.is_array() || value.size() > kListLimit) wrong(key, "a list of bounded length");
        std::vector<std::string> result;
        for (const auto& item : value) {
            if (!item.is_string()) wrong(key, "a list of texts");
            result.push_back(item.get<std::string>());
        }
        return result;
    }
    Fields object(const char* key) const {
        const auto& value = at(key);
        if (!value.is_object()) wrong(key, "an object");
        return Fields(value);
    }
    Inspection inspection(const char* key) const { return inspection_from_json(at(key)); }
    template <class Choices>
    auto choice(const char* key, const Choices& choices) const {
        const auto seen = text(key);
        for (const auto& [name, value] : choices) {
            if (name == seen) return value;
        }
        throw BadMessage(fmt::format("field '{}' has the unknown value '{}'", key, seen));
    }

  private:
    const json& at(const char* key) const {
        const auto found = object_.find(key);
        if (found == object_.end()) throw BadMessage(fmt::format("field '{}' is missing", key));
        return *found;
    }
    [[noreturn]] static void wrong(const char* key, std::string_view expected) {
        throw BadMessage(fmt::format("field '{}' is not as expected: {}", key, expected));
    }
    const json& object_;
};

template <class Enum>
using Choice = std::pair<std::string_view, Enum>;
constexpr std::array kVirtualizations{
    Choice<job::Virtualization>{"hvm", job::Virtualization::hvm},
    Choice<job::Virtualization>{"paravirtual", job::Virtualization::paravirtual}};
constexpr std::array kBootloaders{
    Choice<job::Bootloader>{"grub2", job::Bootloader::grub2},
    Choice<job::Bootloader>{"grub-legacy", job::Bootloader::grub_legacy}};
constexpr std::array kLayouts{Choice<job::Layout>{"mbr", job::Layout::mbr},
                              Choice<job::Layout>{"gpt", job::Layout::gpt},

                              Choice<job::Layout>{"in-place", job::Layout::in_place}};
constexpr std::array kPlatforms{Choice<std::optional<job::Platform>>{"any", std::nullopt},
                                Choice<std::optional<job::Platform>>{"nitro", job::Platform::nitro},
                                Choice<std::optional<job::Platform>>{"xen", job::Platform::xen}};
constexpr std::array kContents{Choice<dev::TargetContent>{"zeros", dev::TargetContent::zeros},
                               Choice<dev::TargetContent>{"unknown", dev::TargetContent::unknown}};
constexpr std::array kPasses{Choice<dev::CopyPass>{"copy", dev::CopyPass::copy},
                             Choice<dev::CopyPass>{"verify", dev::CopyPass::verify}};
constexpr std::array kSeverities{Choice<image::Severity>{"info", image::Severity::info},
                                 Choice<image::Severity>{"warning", image::Severity::warning},
                                 Choice<image::Severity>{"refusal", image::Severity::refusal}};

template <class Enum, class Choices>
std::string name_of(Enum value, const Choices& choices) {
    for (const auto& [name, known] : choices) {
        if (known == value) return std::string(name);
    }
    return "?";
}

constexpr std::array kErrcs{Errc::invalid_input,  Errc::refused,           Errc::not_found,
                            Errc::already_exists, Errc::permission_denied, Errc::unavailable,
                            Errc::timed_out,      Errc::io_error,          Errc::corrupt,
                            Errc::no_space,       Errc::conflict,          Errc::cancelled,
                            Errc::not_installed,  Errc::internal};

Errc errc_from(const std::string& name) {
    for (const auto code : kErrcs) {
        if (core::to_string(code) == name) return code;
    }
    throw BadMessage(fmt::format("field 'code' has the unknown value '{}'", name));
}

json disk_to_json(const DiskRef& disk) {
    return {{"path", disk.path},
            {"volume_id", disk.volume_id},
            {"requested_device", disk.requested_device}};
}

DiskRef disk_from(const Fields& fields) {
    return {fields.text("path", 4096), fields.text("volume_id", 64),
            fields.text("requested_device", 64)};
}

struct Encoder {
    std::string operator()(const AliveMessage& /*m*/) const { return dump({}, "alive"); }
    std::string operator()(const StageMessage& m) const {
        return dump({{"stage", m.stage}}, "stage");
    }
    std::string operator()(const image::Finding& m) const {
        return dump({{"severity", name_of(m.severity, kSeverities)},
                     {"id", m.id},
                     {"where", m.where},
                     {"seen", m.seen},
                     {"consequence", m.consequence},
                     {"action", m.action}},
                    "finding");
    }
    std::string operator()(const StepMessage& m) const {
        return dump({{"index", m.index}, {"count", m.count}, {"text", m.text}}, "step");
    }
    std::string operator()(const dev::CopyProgress& m) const {
        return dump({{"done_bytes", m.done_bytes},
                     {"total_bytes", m.total_bytes},
                     {"resumed_bytes", m.resumed_bytes},
                     {"pass", name_of(m.pass, kPasses)}},
                    "progress");
    }
    std::string operator()(const WorkerOutcome& m) const {
        return dump({{"os", m.os_pretty_name},
                     {"filesystem_uuid", m.filesystem_uuid},
                     {"kernel_version", m.kernel_version},
                     {"boots_by_uefi", m.boots_by_uefi},
                     {"ena_driver", m.ena_driver},
                     {"steps", m.steps},
                     {"used_bytes", m.used_bytes},
                     {"target_bytes", m.target_bytes},
                     {"manifest", m.manifest_json},
                     {"proofs", m.proofs},
                     {"read_bytes", m.read_bytes},
                     {"written_bytes", m.written_bytes},
                     {"resumed_bytes", m.resumed_bytes},
                     {"verified_bytes", m.verified_bytes},
                     {"copy_seconds", m.copy_seconds},
                     {"verify_seconds", m.verify_seconds}},
                    "outcome");
    }
    std::string operator()(const Inspection& m) const {
        return dump({{"inspection", inspection_to_json(m)}}, "inspection");
    }
    std::string operator()(const PlanText& m) const {
        return dump({{"inspection", inspection_to_json(m.inspection)},
                     {"steps", m.steps},
                     {"used_bytes", m.used_bytes},
                     {"target_bytes", m.target_bytes}},
                    "plan");
    }
    std::string operator()(const core::Error& m) const {
        return dump({{"code", core::to_string(m.code)},
                     {"what", m.what},
                     {"hint", m.hint},
                     {"id", m.id},
                     {"errno", m.sys_errno}},
                    "error");
    }
};

WorkerMessage message_from(const Fields& fields) {
    const auto type = fields.text("type", 64);
    if (type == "alive") return AliveMessage{};
    if (type == "stage") return StageMessage{fields.text("stage", 64)};
    if (type == "finding") {
        return image::Finding{fields.choice("severity", kSeverities),
                              fields.text("id"),
                              fields.text("where"),
                              fields.text("seen"),
                              fields.text("consequence"),
                              fields.text("action")};
    }
    if (type == "step") {
        StepMessage step{fields.number("index"), fields.number("count"), fields.text("text")};
        if (step.index >= step.count) throw BadMessage("field 'index' is not below 'count'");
        return step;
    }
    if (type == "progress") {
        const dev::CopyProgress progress{fields.number("done_bytes"), fields.number("total_bytes"),
                                         fields.number("resumed_bytes"),
                                         fields.choice("pass", kPasses)};
        if (progress.done_bytes > progress.total_bytes) {
            throw BadMessage("field 'done_bytes' is above 'total_bytes'");
        }
        if (progress.resumed_bytes > progress.done_bytes) {
            throw BadMessage("field 'resumed_bytes' is above 'done_bytes'");
        }
        return progress;
    }
    if (type == "outcome") {
        WorkerOutcome outcome;
        outcome.os_pretty_name = fields.text("os");
        outcome.filesystem_uuid = fields.text("filesystem_uuid", 64);
        outcome.kernel_version = fields.text("kernel_version", 256);
        outcome.boots_by_uefi = fields.flag("boots_by_uefi");
        outcome.ena_driver = fields.text("ena_driver");
        outcome.steps = fields.texts("steps");
        outcome.used_bytes = fields.number("used_bytes");
        outcome.target_bytes = fields.number("target_bytes");
        outcome.manifest_json = fields.text("manifest", kMessageLimit);
        outcome.proofs = fields.texts("proofs");
        outcome.read_bytes = fields.number("read_bytes");
        outcome.written_bytes = fields.number("written_bytes");
        outcome.resumed_bytes = fields.number("resumed_bytes");
        outcome.verified_bytes = fields.number("verified_bytes");
        outcome.copy_seconds = fields.real("copy_seconds");
        outcome.verify_seconds = fields.real("verify_seconds");
        return outcome;
    }
    if (type == "inspection") return fields.inspection("inspection");
    if (type == "plan") {
        return PlanText{fields.inspection("inspection"), fields.texts("steps"),
                        fields.number("used_bytes"), fields.number("target_bytes")};
    }
    if (type == "error") {
        return core::Error{errc_from(fields.text("code", 64)), fields.text("what"),
                           fields.text("hint"), fields.text("id", 256),
                           fields.signed_number("errno")};
    }
    throw BadMessage(fmt::format("field 'type' has the unknown value '{}'", type));
}

template <class Read>
auto decoded(std::string_view text, const char* what, TextForm form, Read read)
    -> Result<decltype(read(std::declval<const Fields&>()))> {
    try {
        auto document = json::parse(text);
        restore_texts(document, form);
        const Fields fields(document);
        if (const auto version = fields.signed_number("v"); version != kProtocolVersion) {
            throw BadMessage(
                fmt::format("protocol version {} is not {}: agent and disk worker are "
                            "of different builds",
                            version, kProtocolVersion));
        }
        return read(fields);
    } catch (const std::exception& e) {
        return fail(Errc::corrupt, fmt::format("{} cannot be understood: {}", what, e.what()));
    }
}

}  // namespace

WorkerOutcome outcome_of(const ConversionResult& result) {
    WorkerOutcome outcome;
    outcome.os_pretty_name = result.plan.inspection.facts.os_pretty_name;
    outcome.filesystem_uuid = result.plan.inspection.filesystem.uuid;
    const auto& facts = result.plan.inspection.facts;
    if (const auto* kernel = facts.boot_kernel(); kernel != nullptr) {
        outcome.kernel_version = kernel->version;
        const auto& ena = kernel->ena;
        if (ena.is_usable()) outcome.ena_driver = ena.place;
    }
    outcome.boots_by_uefi = result.boots_by_uefi;
    outcome.steps = result.plan.steps;
    outcome.used_bytes = result.plan.used_bytes;
    outcome.target_bytes = result.plan.target_bytes;
    outcome.manifest_json = result.manifest.to_json();
    outcome.proofs = result.proofs;
    outcome.read_bytes = result.copy.read_bytes;
    outcome.written_bytes = result.copy.written_bytes;
    outcome.resumed_bytes = result.copy.resumed_bytes;
    outcome.verified_bytes = result.copy.verified_bytes;
    outcome.copy_seconds = result.copy.seconds;
    outcome.verify_seconds = result.copy.verify_seconds;
    return outcome;
}

namespace {

json conversion_to_json(const ConversionRequest& request) {
    return {
        {"source", disk_to_json(request.source)},
        {"target", disk_to_json(request.target)},
        {"virtualization", name_of(request.options.virtualization, kVirtualizations)},
        {"architecture", request.options.architecture},
        {"bootloader", name_of(request.options.bootloader, kBootloaders)},
        {"layout", name_of(request.options.layout, kLayouts)},
        {"size_gib", request.options.size_gib},
        {"consoles", request.options.consoles},
        {"platform", name_of(request.options.platform, kPlatforms)},
        {"verify_copy", request.options.verify_copy},
        {"may_replay_source_journal", request.may_replay_source_journal},
        {"target_content", name_of(request.target_content, kContents)},
        {"is_interrupted", request.is_interrupted},
        {"journaled_disks",
         {{"source", request.journaled_disks.source}, {"target", request.journaled_disks.target}}}};
}

struct RequestEncoder {
    std::string operator()(const ConversionRequest& m) const {
        return dump(conversion_to_json(m), "convert");
    }
    std::string operator()(const InspectionRequest& m) const {
        return dump({{"disk", disk_to_json(m.disk)},
                     {"disk_is_open", m.disk.descriptor >= 0},
                     {"may_replay_journal", m.may_replay_journal}},
                    "inspect");
    }
    std::string operator()(const PlanRequest& m) const {
        auto message = conversion_to_json(m.conversion);
        message["disk_is_open"] = m.conversion.source.descriptor >= 0;
        return dump(std::move(message), "plan");
    }
};

ConversionRequest conversion_from(const Fields& fields) {
    ConversionRequest request;
    request.source = disk_from(fields.object("source"));
    request.target = disk_from(fields.object("target"));
    request.options.virtualization = fields.choice("virtualization", kVirtualizations);
    request.options.architecture = fields.text("architecture", 64);
    request.options.bootloader = fields.choice("bootloader", kBootloaders);
    request.options.layout = fields.choice("layout", kLayouts);
    const auto size_gib = fields.number("size_gib");
    if (size_gib > job::kMaxSizeGib) {
        throw BadMessage(
            fmt::format("field 'size_gib' is {}, expected at most {}", size_gib, job::kMaxSizeGib));
    }
    request.options.size_gib = static_cast<std::uint32_t>(size_gib);
    request.options.consoles = fields.texts("consoles");
    request.options.platform = fields.choice("platform", kPlatforms);
    request.options.verify_copy = fields.flag("verify_copy");
    request.may_replay_source_journal = fields.flag("may_replay_source_journal");
    request.target_content = fields.choice("target_content", kContents);
    request.is_interrupted = fields.flag("is_interrupted");
    const auto journaled = fields.object("journaled_disks");
    request.journaled_disks = {journaled.text("source", 64), journaled.text("target", 64)};
    return request;
}

WorkerRequest request_from(const Fields& fields) {
    const auto type = fields.text("type", 64);
    if (type == "convert") return conversion_from(fields);
    if (type != "inspect" && type != "plan") {
        throw BadMessage(fmt::format("field 'type' has the unknown value '{}'", type));
    }
    const int descriptor = fields.flag("disk_is_open") ? kWorkerDisk : -1;
    if (type == "plan") {
        PlanRequest request{conversion_from(fields)};
        request.conversion.source.descriptor = descriptor;
        return request;
    }
    InspectionRequest request{disk_from(fields.object("disk")), fields.flag("may_replay_journal")};
    request.disk.descriptor = descriptor;
    return request;
}

}  // namespace

std::string encode_request(const WorkerRequest& request) {
    return std::visit(RequestEncoder{}, request);
}

Result<WorkerRequest> decode_request(std::string_view text) {
    return decoded(text, "request to the disk worker", TextForm::exact, request_from);
}

std::string encode(const WorkerMessage& message) {
    return std::visit(Encoder{}, message);
}

Result<WorkerMessage> decode(std::string_view text, TextForm form) {
    return decoded(text, "message of the disk worker", form, message_from);
}

Result<> send_message(const core::Fd& socket, std::string_view text) {
    if (text.empty() || text.size() > kMessageLimit) {
        return fail(Errc::internal, fmt::format("a message of {} bytes is to be sent, at most {} "
                                                "are allowed",
                                                text.size(), kMessageLimit));
    }
    std::string frame;
    for (std::size_t i = kHeaderBytes; i-- > 0;) {
        frame.push_back(static_cast<char>((text.size() >> (8 * i)) & 0xffU));
    }
    frame.append(text);
    std::string_view rest = frame;
    while (!rest.empty()) {
        const auto n = ::send(socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            const int saved = errno;
            auto error = core::fail_errno(saved, "cannot send to the other process").error();
            if (saved == EPIPE || saved == ECONNRESET) error.code = Errc::unavailable;
            return std::unexpected(std::move(error));
        }
        rest.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Result<std::optional<std::string>> MessageReader::next() {
    if (buffer_.size() < kHeaderBytes) return std::nullopt;
    std::size_t length = 0;
    for (std::size_t i = 0; i < kHeaderBytes; ++i) {
        length = (length << 8U) | static_cast<unsigned char>(buffer_[i]);
    }
    if (length == 0 || length > kMessageLimit) {
        return fail(Errc::corrupt, fmt::format("a message of {} bytes is announced, expected 1 to "
                                               "{}",
                                               length, kMessageLimit));
    }
    if (buffer_.size() < kHeaderBytes + length) return std::nullopt;
    auto message = buffer_.substr(kHeaderBytes, length);
    buffer_.erase(0, kHeaderBytes + length);
    return message;
}

Result<std::string> receive_message(const core::Fd& socket, MessageReader& reader,
                                    core::Duration timeout) {
    const core::SystemClock clock;
    const core::Deadline deadline(clock, timeout);
    std::array<char, 65536> chunk{};
    while (true) {
        AMILIFT_TRY(auto message, reader.next());
        if (message) return *std::move(message);
        pollfd polled{socket.get(), POLLIN, 0};
        const int ready = ::poll(&polled, 1, static_cast<int>(deadline.left(clock).count()));
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) {
            return fail(Errc::timed_out, fmt::format("no message within {} ms", timeout.count()));
        }
        const auto n = ::recv(socket.get(), chunk.data(), chunk.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            const int saved = errno;
            return core::fail_errno(saved, "cannot receive from the other process");
        }
        if (n == 0) {
            return fail(Errc::unavailable, reader.in_the_middle()
                                               ? "the other process ended within a message"
                                               : "the other process closed the connection");
        }
        reader.feed({chunk.data(), static_cast<std::size_t>(n)});
    }
}

}  // namespace amilift::worker
