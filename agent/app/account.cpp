// SPDX-License-Identifier: Apache-2.0
#include "app/account.hpp"

#include <cstdlib>
#include <utility>

#include "app/version.hpp"

namespace amilift::app {
namespace {

/// A person who gave a wrong Region or endpoint is told so soon.
constexpr core::Duration kPatience = std::chrono::seconds(20);

aws::ImdsOptions quick(const std::string& url) {
    aws::ImdsOptions options;
    if (!url.empty()) options.base_url = url;
    options.overall_timeout = std::chrono::seconds(5);
    return options;
}

}  // namespace

Account::Account(core::Clock& clock, const core::Cancel& cancel, AccountOptions options)
    : clock_(clock),
      cancel_(cancel),
      options_(std::move(options)),
      imds_(transport_, clock, cancel, quick(options_.imds_url)) {}

core::Result<> Account::open() {
    AMILIFT_TRY(auto keys, aws::credentials_from_environment());
    if (keys) {
        credentials_ = std::make_unique<aws::StaticCredentials>(*std::move(keys));
    } else {
        credentials_ = std::make_unique<aws::RefreshingCredentials>(
            [this] { return imds_.role_credentials(); }, clock_);
    }
    aws::EndpointOptions endpoints;
    AMILIFT_TRY(endpoints.region, region());
    endpoints.domain = aws::domain_of_region(endpoints.region);
    // The metadata service knows partitions that this program does not.
    if (region_is_of_instance_) {
        AMILIFT_TRY(endpoints.domain, imds_.domain());
    }
    if (!options_.endpoint.empty()) endpoints.overrides["ec2"] = options_.endpoint;
    client_ = std::make_unique<aws::Client>(
        transport_, *credentials_, clock_, cancel_, endpoints,
        aws::ClientOptions{.longest_call = kPatience,
                           .user_agent = "amilift/" + std::string(kVersion)});
    ec2_ = std::make_unique<aws::Ec2Client>(*client_);
    return {};
}

core::Result<std::string> Account::region() {
    if (!options_.region.empty()) return options_.region;
    for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
        const char* value = std::getenv(name);
        if (value != nullptr && *value != '\0') return std::string(value);
    }
    auto found = imds_.region();
    region_is_of_instance_ = found.has_value();
    if (found) return found;
    return core::fail(core::Errc::invalid_input,
                      "no region: neither --region nor AWS_REGION is set, and the metadata "
                      "service does not answer",
                      "give --region");
}

}  // namespace amilift::app
