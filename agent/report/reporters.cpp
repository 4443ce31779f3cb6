// SPDX-License-Identifier: Apache-2.0
#include "report/reporters.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

// The journal's helper macros would record this file as the origin of every message.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/fd.hpp"
#include "core/log.hpp"
#include "core/printable.hpp"
#include "report/message_ids.hpp"

namespace amilift::report {
namespace {

using flow::Outcome;
using flow::Record;
using flow::Update;

constexpr std::size_t kMaxTagValue = 256;

/// One line without control characters: console and tags are read by people and scripts.
std::string one_line(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
        out += control ? ' ' : c;
    }
    return core::printable(out);
}

}  // namespace

void FanOut::on_update(const Record& record, const Update& update) {
    for (const auto& reporter : reporters_) reporter->on_update(record, update);
}

// ---- console ------------------------------------------------------------------------------------

ConsoleReporter::ConsoleReporter(std::string path) : path_(std::move(path)) {}

void ConsoleReporter::on_update(const Record& record, const Update& update) {
    const auto state = flow::to_string(record.state);
    std::string text;
    switch (update.kind) {
        case Update::Kind::state_entered:
            last_tenth_ = -1;
            text = std::string(state);
            break;
        case Update::Kind::message:
            text = fmt::format("{}: {}", state, update.text);
            break;
        case Update::Kind::warning:
            text = fmt::format("{}: warning: {}", state, update.text);
            break;
        case Update::Kind::progress: {
            if (update.fraction) {
                const int tenth = static_cast<int>(*update.fraction * 10);
                if (tenth == last_tenth_) return;
                last_tenth_ = tenth;
            }
            text = fmt::format("{}: {}", state, update.text);
            break;
        }
        case Update::Kind::finished:
            text = record.outcome == Outcome::succeeded ? "succeeded: " + update.text
                                                        : "FAILED: " + update.text;
            break;
    }
    print(fmt::format("amilift {}: {}\n", record.job_id, one_line(text)));
}

void ConsoleReporter::print(const std::string& line) const {
    if (path_ == "-") {
        // A standard output that nobody reads any more is no reason to stop the job.
        (void)std::fputs(line.c_str(), stdout);
        (void)std::fflush(stdout);
        return;
    }
    // O_NONBLOCK: a stuck serial line must not hold the job up; the line is lost then.
    const auto fd = core::open_file(path_, O_WRONLY | O_NOCTTY | O_NONBLOCK);
    if (!fd) return;
    // A serial console wants CR LF; the tty's own output processing may be off.
    (void)core::write_all(*fd, line, path_);
}

// ---- tags ---------------------------------------------------------------------------------------

std::string tag_value(std::string_view text) {
    auto value = one_line(text);
    if (value.size() <= kMaxTagValue) return value;
    std::size_t end = kMaxTagValue - 3;
    // Never cut a UTF-8 sequence: step back over continuation bytes.
    while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0U) == 0x80U) --end;
    return value.substr(0, end) + "...";
}

TagReporter::TagReporter(aws::Ec2Api& ec2, core::Clock& clock, std::string instance_id)
    : ec2_(ec2), clock_(clock), instance_id_(std::move(instance_id)) {}

void TagReporter::put(aws::Tags tags) {
    std::erase_if(tags, [this](const auto& tag) {
        const auto old = written_.find(tag.first);
        return old != written_.end() && old->second == tag.second;
    });
    if (tags.empty()) return;
    const auto done = ec2_.create_tags({instance_id_}, tags);
    unreachable_ = !done && (done.error().is(core::Errc::unavailable) ||
                             done.error().is(core::Errc::timed_out));
    if (!done) {
        core::log_debug(
            fmt::format("cannot tag '{}': {}, ignoring", instance_id_, done.error().message()));
        return;
    }
    for (auto& [key, value] : tags) written_[key] = std::move(value);
}

void TagReporter::put_outcome(const aws::Tags& tags) {
    const core::Deadline deadline(clock_, std::chrono::minutes(2));
    for (;;) {
        put(tags);
        if (!unreachable_ || deadline.passed(clock_)) return;
        if (!clock_.sleep_for(std::chrono::seconds(5), never_)) return;
    }
}

void TagReporter::on_update(const Record& record, const Update& update) {
    switch (update.kind) {
        case Update::Kind::state_entered:
            last_progress_.reset();
            put({{"amilift:job", tag_value(record.job_id)},
                 {"amilift:state", std::string(flow::to_string(record.state))}});
            break;
        case Update::Kind::progress: {
            if (unreachable_) return;
            const auto now = clock_.steady();
            if (last_progress_ && now - *last_progress_ < std::chrono::seconds(5)) return;
            last_progress_ = now;
            put({{"amilift:progress",
                  tag_value(fmt::format("{}: {}", flow::to_string(record.state), update.text))}});
            break;
        }
        case Update::Kind::finished:
            if (record.outcome == Outcome::succeeded) {
                aws::Tags tags{{"amilift:state", "succeeded"},
                               {"amilift:progress", "done"},
                               {"amilift:result", record.image}};
                if (!record.warning.empty()) tags["amilift:error"] = tag_value(record.warning);
                put_outcome(tags);
            } else {
                put_outcome({{"amilift:job", tag_value(record.job_id)},
                             {"amilift:state", "failed"},
                             {"amilift:error", tag_value(record.error)}});
            }
            break;
        case Update::Kind::message:
        case Update::Kind::warning:
            break;
    }
}

// ---- journal ------------------------------------------------------------------------------------

std::vector<std::string> journal_fields(const Record& record, const Update& update) {
    const char* message_id = "";
    int priority = LOG_INFO;
    switch (update.kind) {
        case Update::Kind::progress:
            return {};  // the tag and the status file have it
        case Update::Kind::state_entered:
            message_id = kMessageStateEntered;
            break;
        case Update::Kind::message:
            break;
        case Update::Kind::warning:
            priority = LOG_WARNING;
            break;
        case Update::Kind::finished:
            message_id = record.outcome == Outcome::succeeded ? kMessageSucceeded : kMessageFailed;
            priority = record.outcome == Outcome::succeeded ? LOG_NOTICE : LOG_ERR;
            break;
    }
    std::vector<std::string> fields{
        fmt::format("MESSAGE={}", update.text),
        fmt::format("PRIORITY={}", priority),
        fmt::format("AMILIFT_JOB={}", record.job_id),
        fmt::format("AMILIFT_STATE={}", flow::to_string(record.state)),
    };
    const auto add = [&fields](const char* name, const std::string& value) {
        if (!value.empty()) fields.push_back(fmt::format("{}={}", name, value));
    };
    add("MESSAGE_ID", message_id);
    add("AMILIFT_SOURCE_VOLUME", record.source_volume);
    add("AMILIFT_TARGET_VOLUME", record.target_volume);
    add("AMILIFT_SNAPSHOT", record.snapshot);
    add("AMILIFT_IMAGE", record.image);
    if (record.outcome == Outcome::failed) add("AMILIFT_ERROR_ID", record.error_id);
    return fields;
}

void JournalReporter::on_update(const Record& record, const Update& update) {
    auto fields = journal_fields(record, update);
    if (fields.empty()) return;
    std::vector<iovec> parts;
    parts.reserve(fields.size());
    for (auto& field : fields) parts.push_back({field.data(), field.size()});
    // Without a journal (a container, a test) there is nobody to tell.
    (void)sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

// ---- status file --------------------------------------------------------------------------------

namespace {

/// Where the copy or its check is; null when there is none.
nlohmann::ordered_json copy_json(const std::optional<dev::CopyStatus>& copy) {
    if (!copy) return nullptr;
    const auto& progress = copy->progress;
    nlohmann::ordered_json json{
        {"pass", progress.pass == dev::CopyPass::verify ? "verify" : "copy"},
        {"done_bytes", progress.done_bytes},
        {"total_bytes", progress.total_bytes},
        {"resumed_bytes", progress.resumed_bytes},
        {"bytes_per_second", copy->bytes_per_second},
        {"seconds_left", nullptr}};
    if (copy->left) json["seconds_left"] = copy->left->count();
    return json;
}

}  // namespace

std::string status_json(const Record& record, const Update& progress, const std::string& message,
                        const std::vector<std::string>& warnings) {
    const nlohmann::ordered_json json{{"version", 1},
                                      {"job", record.job_id},
                                      {"instance", record.instance_id},
                                      {"state", flow::to_string(record.state)},
                                      {"outcome", flow::to_string(record.outcome)},
                                      {"progress", progress.text},
                                      {"copy", copy_json(progress.copy)},
                                      {"message", message},
                                      {"warnings", warnings},
                                      {"image", record.image},
                                      {"image_name", record.image_name},
                                      {"snapshot", record.snapshot},
                                      {"source_volume", record.source_volume},
                                      {"target_volume", record.target_volume},
                                      {"error", record.error},
                                      {"error_id", record.error_id},
                                      {"started_at", record.started_at}};
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

StatusFileReporter::StatusFileReporter(std::string path) : path_(std::move(path)) {}

void StatusFileReporter::on_update(const Record& record, const Update& update) {
    switch (update.kind) {
        case Update::Kind::progress:
            progress_ = update;
            break;
        case Update::Kind::warning:
            warnings_.push_back(update.text);
            [[fallthrough]];
        case Update::Kind::message:
        case Update::Kind::finished:
            last_message_ = update.text;
            break;
        case Update::Kind::state_entered:
            progress_ = {};
            last_message_.clear();
            break;
    }
    const auto text = status_json(record, progress_, last_message_, warnings_);
    if (auto written = core::write_file_atomically(path_, text); !written) {
        core::log_debug(written.error().message() + ", ignoring");
    }
}

// ---- systemd ------------------------------------------------------------------------------------

void NotifyReporter::on_update(const Record& record, const Update& update) {
    const auto text = one_line(fmt::format("{}: {}", flow::to_string(record.state), update.text));
    (void)sd_notify(0, fmt::format("STATUS={}\nWATCHDOG=1", text).c_str());
}

}  // namespace amilift::report
