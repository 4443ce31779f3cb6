// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <map>
#include <memory>

#include "app/commands.hpp"
#include "app/disk_worker.hpp"
#include "app/helper_control.hpp"
#include "app/job_source.hpp"
#include "app/local_instance.hpp"
#include "app/output.hpp"
#include "app/signals.hpp"
#include "app/version.hpp"
#include "aws/ec2_client.hpp"
#include "aws/imds.hpp"
#include "aws/s3_client.hpp"
#include "core/command.hpp"
#include "core/fd.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "flow/runner.hpp"
#include "job/job.hpp"
#include "net/http.hpp"
#include "report/reporters.hpp"

namespace amilift::app {
namespace {

/// The system's clock, which also tells the watchdog that a wait is no hang.
class WatchdogClock final : public core::Clock {
  public:
    [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
        return system_.wall();
    }
    [[nodiscard]] std::chrono::steady_clock::time_point steady() const override {
        return system_.steady();
    }
    [[nodiscard]] core::Result<> sleep_for(core::Duration d, const core::Cancel& cancel) override {
        (void)sd_notify(0, "WATCHDOG=1");
        return system_.sleep_for(d, cancel);
    }

  private:
    core::SystemClock system_;
};

/// Empty if the kernel does not tell.
std::string boot_id() {
    auto text = core::read_file("/proc/sys/kernel/random/boot_id", 256);
    return text ? std::string(core::trimmed(*text)) : std::string();
}

core::Result<std::map<std::string, std::string>> parse_endpoints(
    const std::vector<std::string>& texts) {
    std::map<std::string, std::string> endpoints;
    for (const auto& text : texts) {
        const auto equals = text.find('=');
        if (equals == 0 || equals == std::string::npos) {
            return core::fail(core::Errc::invalid_input,
                              fmt::format("--endpoint '{}' is not of the form SERVICE=URL", text),
                              "for example --endpoint ec2=https://vpce-1.ec2.eu-west-1.vpce."
                              "amazonaws.com");
        }
        const auto service = text.substr(0, equals);
        if (std::ranges::find(job::kEndpointServices, service) == job::kEndpointServices.end()) {
            return core::fail(
                core::Errc::invalid_input,
                fmt::format("--endpoint: the agent calls no service '{}', expected {}", service,
                            fmt::join(job::kEndpointServices, " or ")),
                "leave it out");
        }
        endpoints[service] = text.substr(equals + 1);
    }
    return endpoints;
}

/// What the agent needs before it can talk to EC2 at all.
struct Ground {
    flow::HelperIdentity helper;
    aws::EndpointOptions endpoints;
    core::Result<job::Job> job = core::fail(core::Errc::internal, "no job was fetched");
};

class Agent {
  public:
    explicit Agent(const AgentOptions& options)
        : options_(options),
          control_(commands_, job_cancel_, options.runtime_directory + "/deadline") {}

    ExitCode run() {
        auto signals = SignalWatcher::start([this](int number) {
            const auto reason = fmt::format("told to stop by signal {}", number);
            stop_.request(reason);
            job_cancel_.request(reason);
        });
        if (!signals) return tell_error(signals.error(), false);
        (void)sd_notify(0, "READY=1\nSTATUS=asking the metadata service");

        auto record = run_job();
        if (record) {
            return record->outcome == flow::Outcome::succeeded ? ExitCode::ok : ExitCode::refused;
        }
        const auto code = tell_error(record.error(), false);
        // Without a record nobody else would end the helper before its deadline. A stop by signal
        // is different: the machine goes down already, or an operator is at work.
        if (options_.throwaway && !stop_.requested()) {
            report::ConsoleReporter console(options_.console);
            flow::Record nobody;
            nobody.outcome = flow::Outcome::failed;
            nobody.job_id = "-";
            console.on_update(nobody, {flow::Update::Kind::finished, record.error().message(), {}});
            if (auto off = control_.power_off(); !off) (void)tell_error(off.error(), false);
        }
        return code;
    }

  private:
    core::Result<flow::Record> run_job() {
        aws::ImdsOptions imds_options;
        if (!options_.imds_url.empty()) imds_options.base_url = options_.imds_url;
        aws::Imds imds(transport_, clock_, stop_, imds_options);
        aws::RefreshingCredentials credentials([&imds] { return imds.role_credentials(); }, clock_);

        Ground ground;
        AMILIFT_TRY(ground.endpoints.overrides, parse_endpoints(options_.endpoints));
        AMILIFT_TRY(ground.helper, identify_helper(imds));
        ground.endpoints.region = ground.helper.region;
        AMILIFT_TRY(ground.endpoints.domain, imds.domain());
        const aws::ClientOptions client_options{
            .longest_call = std::chrono::seconds(options_.api_timeout_seconds),
            .user_agent = "amilift/" + std::string(kVersion)};
        {
            aws::Client plain(transport_, credentials, clock_, stop_, ground.endpoints,
                              client_options);
            aws::S3Client s3(plain);
            ground.job = fetch_job(imds, s3);
        }
        if (ground.job) {
            for (const auto& [service, url] : ground.job->endpoints) {
                ground.endpoints.overrides[service] = url;
            }
        }
        aws::Client client(transport_, credentials, clock_, stop_, ground.endpoints,
                           client_options);
        aws::Ec2Client ec2(client);

        LateDeviceMonitor devices;
        SandboxedDiskWorker worker(options_.state_directory + "/copy.journal");
        report::FanOut reporters;
        reporters.add(std::make_unique<report::ConsoleReporter>(options_.console));
        reporters.add(std::make_unique<report::NotifyReporter>());
        reporters.add(std::make_unique<report::JournalReporter>());
        reporters.add(std::make_unique<report::StatusFileReporter>(options_.runtime_directory +
                                                                   "/status.json"));
        reporters.add(
            std::make_unique<report::TagReporter>(ec2, clock_, ground.helper.instance_id));
        flow::Services services{ec2,
                                devices,
                                worker,
                                control_,
                                clock_,
                                stop_,
                                job_cancel_,
                                reporters,
                                [&ground] { return ground.job; },
                                ground.helper,
                                options_.state_directory + "/flow.json",
                                std::string(kVersion),
                                options_.throwaway,
                                {},
                                boot_id()};
        return flow::run_job(services);
    }

    const AgentOptions& options_;
    core::Cancel stop_;
    core::Cancel job_cancel_;
    WatchdogClock clock_;
    core::ProcessRunner commands_;
    net::CurlTransport transport_;
    SystemHelperControl control_;
};

}  // namespace

ExitCode run_agent(const AgentOptions& options) {
    return Agent(options).run();
}

}  // namespace amilift::app
