// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/output.hpp"
#include "app/signals.hpp"
#include "app/version.hpp"
#include "aws/ec2_client.hpp"
#include "aws/imds.hpp"
#include "flow/resources.hpp"
#include "net/http.hpp"

namespace amilift::app {
namespace {

/// Credentials of the environment if there are any, else of the instance's role.
class Account {
  public:
    Account(core::Clock& clock, const core::Cancel& cancel)
        : clock_(clock), cancel_(cancel), imds_(transport_, clock, cancel, quick()) {}

    core::Result<> open(const CleanupOptions& options) {
        AMILIFT_TRY(auto keys, aws::credentials_from_environment());
        if (keys) {
            credentials_ = std::make_unique<aws::StaticCredentials>(*std::move(keys));
        } else {
            credentials_ = std::make_unique<aws::RefreshingCredentials>(
                [this] { return imds_.role_credentials(); }, clock_);
        }
        aws::EndpointOptions endpoints;
        AMILIFT_TRY(endpoints.region, region(options));
        if (!options.endpoint.empty()) endpoints.overrides["ec2"] = options.endpoint;
        client_ = std::make_unique<aws::Client>(
            transport_, *credentials_, clock_, cancel_, endpoints,
            aws::ClientOptions{.user_agent = "amilift/" + std::string(kVersion)});
        ec2_ = std::make_unique<aws::Ec2Client>(*client_);
        return {};
    }

    [[nodiscard]] aws::Ec2Api& ec2() { return *ec2_; }

  private:
    /// Outside EC2 nothing answers at the metadata address: find out soon.
    static aws::ImdsOptions quick() {
        aws::ImdsOptions options;
        options.overall_timeout = std::chrono::seconds(5);
        return options;
    }

    core::Result<std::string> region(const CleanupOptions& options) {
        if (!options.region.empty()) return options.region;
        for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
            const char* value = std::getenv(name);
            if (value != nullptr && *value != '\0') return std::string(value);
        }
        auto found = imds_.region();
        if (found) return found;
        return core::fail(core::Errc::invalid_input,
                          "no region: neither --region nor AWS_REGION is set, and the metadata "
                          "service does not answer",
                          "give --region");
    }

    core::Clock& clock_;
    const core::Cancel& cancel_;
    net::CurlTransport transport_;
    aws::Imds imds_;
    std::unique_ptr<aws::CredentialsProvider> credentials_;
    std::unique_ptr<aws::Client> client_;
    std::unique_ptr<aws::Ec2Client> ec2_;
};

core::Result<> clean_up(const CleanupOptions& options, core::Clock& clock,
                        const core::Cancel& cancel) {
    Account account(clock, cancel);
    AMILIFT_CHECK(account.open(options));
    AMILIFT_TRY(const auto leftovers, flow::find_leftovers(account.ec2(), options.job_id));
    const auto lines = flow::describe(leftovers);
    if (!options.dry_run) {
        AMILIFT_CHECK(flow::remove(account.ec2(), clock, cancel, {}, leftovers));
    }
    if (options.json) {
        const nlohmann::ordered_json document{{"version", 1},
                                              {"ok", true},
                                              {"job", options.job_id},
                                              {"removed", !options.dry_run},
                                              {"resources", lines}};
        fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
        return {};
    }
    if (lines.empty()) fmt::print("nothing is left of job '{}'\n", printable(options.job_id));
    for (const auto& line : lines) {
        fmt::print("{} {}\n", options.dry_run ? "would remove" : "removed", printable(line));
    }
    return {};
}

}  // namespace

ExitCode run_cleanup(const CleanupOptions& options) {
    core::SystemClock clock;
    core::Cancel cancel;
    const auto signals = SignalWatcher::start(
        [&cancel](int number) { cancel.request(fmt::format("stopped by signal {}", number)); });
    if (!signals) return tell_error(signals.error(), options.json);
    const auto done = clean_up(options, clock, cancel);
    return done ? ExitCode::ok : tell_error(done.error(), options.json);
}

}  // namespace amilift::app
