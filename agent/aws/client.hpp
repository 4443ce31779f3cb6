// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/credentials.hpp"
#include "aws/endpoints.hpp"
#include "aws/service_error.hpp"
#include "aws/sigv4.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "net/http.hpp"
#include "net/retry.hpp"

namespace amilift::aws {

/// Error::id of a request that must not run twice and whose fate is unknown: the reply was lost or
/// was an internal error. The caller looks for the result before it asks again.
inline constexpr std::string_view kOutcomeUnknown = "OutcomeUnknown";

/// May a request that was perhaps carried out be sent again?
enum class Repeat {
    safe,  ///< it reads, or doing it twice is the same as once
    once   ///< it creates something at each call
};

/// For all attempts of a call and the waits between them: longer than EC2's short outages.
inline constexpr std::chrono::seconds kLongestCall{120};

/// One API call, before endpoint, keys and time are known.
struct ServiceCall {
    std::string service;    ///< endpoint and signing name: "ec2"
    std::string operation;  ///< for messages and the IAM action: "DescribeImages"
    net::Method method = net::Method::post;
    std::string host_prefix{};  ///< put before the host: "bucket." (S3)
    std::string path = "/";     ///< percent-encoded
    std::vector<QueryPair> query{};
    net::Headers headers{};  ///< signed
    std::string body{};
    PathRule path_rule = PathRule::normalized;
    Repeat repeat = Repeat::safe;
    std::size_t body_limit = std::size_t{16} << 20;  ///< bytes of the reply's body
    core::Duration attempt_timeout = std::chrono::seconds(30);
    core::Duration deadline = kLongestCall;
};

struct ClientOptions {
    net::RetryParams retry{};
    /// Shortens ServiceCall::deadline, for whom a person waits.
    core::Duration longest_call = core::Duration::max();
    std::string user_agent = "amilift";
    /// Random numbers in [0, 1) for the jitter; tests give their own. Must be thread-safe.
    std::function<double()> random{};
};

/// Signs and sends the calls of all service clients; the only retry layer above HTTP. It repeats
/// transport failures, throttling and the services' own failures with back-off until the call's
/// deadline, corrects the clock once by the reply's Date header, and renews refused credentials
/// once. Thread-safe. The references must outlive it.
class Client {
  public:
    Client(net::HttpTransport& transport, CredentialsProvider& credentials, core::Clock& clock,
           const core::Cancel& cancel, EndpointOptions endpoints, ClientOptions options = {});

    /// The reply of a successful call (status 2xx). Else Error::id is the AWS error code or
    /// kOutcomeUnknown, and Error::code is errc_of() it; unavailable if the service could not be
    /// reached in time; cancelled.
    [[nodiscard]] core::Result<net::HttpResponse> call(const ServiceCall& call);

    /// Where `service` answers.
    [[nodiscard]] core::Result<Endpoint> endpoint(const std::string& service) const {
        return resolve_endpoint(service, endpoints_);
    }
    [[nodiscard]] const std::string& region() const noexcept { return endpoints_.region; }

  private:
    [[nodiscard]] core::Result<Credentials> keys_for(const ServiceCall& call);
    [[nodiscard]] core::Result<net::HttpRequest> signed_request(const ServiceCall& call,
                                                                const Endpoint& endpoint,
                                                                const Credentials& keys) const;
    [[nodiscard]] bool corrected_clock(const net::HttpResponse& reply, net::Verdict verdict);

    net::HttpTransport& transport_;
    CredentialsProvider& credentials_;
    core::Clock& clock_;
    const core::Cancel& cancel_;
    EndpointOptions endpoints_;
    ClientOptions options_;
    /// Server's time minus ours, as last learnt; one for all services, for there is one clock.
    std::atomic<std::int64_t> skew_ms_ = 0;
};

}  // namespace amilift::aws
