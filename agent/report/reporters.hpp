// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "aws/ec2.hpp"
#include "core/clock.hpp"
#include "flow/observer.hpp"

namespace amilift::report {

/// Tells every update to each of its reporters, in order.
class FanOut final : public flow::Observer {
  public:
    void add(std::unique_ptr<flow::Observer> reporter) {
        reporters_.push_back(std::move(reporter));
    }
    void on_update(const flow::Record& record, const flow::Update& update) override;

  private:
    std::vector<std::unique_ptr<flow::Observer>> reporters_;
};

/// Lines "amilift <job>: <state>: <text>" for the serial console or a terminal. Progress is told
/// every ten percent. The console's file is opened for every line, because a getty that starts
/// later hangs up every descriptor that is open on it.
class ConsoleReporter final : public flow::Observer {
  public:
    /// `path` is "/dev/console", or "-" for standard output.
    explicit ConsoleReporter(std::string path);
    void on_update(const flow::Record& record, const flow::Update& update) override;

  private:
    void print(const std::string& line) const;
    std::string path_;
    int last_tenth_ = -1;
};

/// Tags of the helper: amilift:job, amilift:state, amilift:progress, amilift:result, amilift:error.
/// A tag that cannot be written is dropped: the tag is a report, not a step of the job. Only the
/// outcome is told again for two minutes, because nobody does so later. Progress at most every five
/// seconds, so that a fleet stays below the CreateTags rate.
class TagReporter final : public flow::Observer {
  public:
    TagReporter(aws::Ec2Api& ec2, core::Clock& clock, std::string instance_id);
    void on_update(const flow::Record& record, const flow::Update& update) override;

  private:
    void put(aws::Tags tags);
    void put_outcome(const aws::Tags& tags);
    aws::Ec2Api& ec2_;
    core::Clock& clock_;
    std::string instance_id_;
    std::optional<std::chrono::steady_clock::time_point> last_progress_;
    aws::Tags written_;
    /// EC2 did not answer: progress is not told until the next state, because every try costs the
    /// job the time of a whole call.
    bool unreachable_ = false;
    core::Cancel never_;
};

/// Structured journal entries: AMILIFT_JOB, AMILIFT_STATE, AMILIFT_IMAGE, AMILIFT_ERROR_ID,
/// PRIORITY and, for what an operator acts on, a MESSAGE_ID with an entry in the catalog. Source:
/// sd_journal_send(3).
class JournalReporter final : public flow::Observer {
  public:
    void on_update(const flow::Record& record, const flow::Update& update) override;
};

/// /run/amilift/status.json: the newest state, progress and outcome, replaced atomically.
class StatusFileReporter final : public flow::Observer {
  public:
    explicit StatusFileReporter(std::string path);
    void on_update(const flow::Record& record, const flow::Update& update) override;

  private:
    std::string path_;
    flow::Update progress_;
    std::string last_message_;
    std::vector<std::string> warnings_;
};

/// STATUS= for systemctl status, and the sign of life for the watchdog: a job that says nothing for
/// longer than WatchdogSec is hung. Source: sd_notify(3).
class NotifyReporter final : public flow::Observer {
  public:
    void on_update(const flow::Record& record, const flow::Update& update) override;
};

/// The fields of a journal entry, "NAME=value"; none for what is not told there.
[[nodiscard]] std::vector<std::string> journal_fields(const flow::Record& record,
                                                      const flow::Update& update);

/// The document of the status file. `progress` is the last of its kind.
[[nodiscard]] std::string status_json(const flow::Record& record, const flow::Update& progress,
                                      const std::string& message,
                                      const std::vector<std::string>& warnings);

/// An EC2 tag value: at most 256 characters, no control characters, whole UTF-8 characters only; a
/// cut is marked with "...". Source: EC2 User Guide, "Tag restrictions".
[[nodiscard]] std::string tag_value(std::string_view text);

}  // namespace amilift::report
