// SPDX-License-Identifier: Apache-2.0
#include "aws/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <utility>

#include "core/log.hpp"
#include "core/sha256.hpp"

namespace amilift::aws {
namespace {

using core::Duration;
using core::Errc;

/// AWS accepts five minutes of difference; JavaScript's SDK corrects from there on, too.
constexpr Duration kTolerableSkew = std::chrono::minutes(5);

double thread_random() {
    thread_local std::mt19937_64 generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

void replace_all(std::string& text, const std::string& what, std::string_view with) {
    if (what.empty()) return;
    for (auto at = text.find(what); at != std::string::npos;
         at = text.find(what, at + with.size())) {
        text.replace(at, what.size(), with);
    }
}

/// What one attempt came to, with what is needed to speak about it.
struct Attempt {
    net::HttpResult result;
    std::optional<ServiceError> service_error{};
    net::Outcome outcome{};
};

Attempt judge(net::HttpResult result) {
    Attempt attempt{.result = std::move(result)};
    if (!attempt.result) {
        attempt.outcome.failure = attempt.result.error().kind;
        attempt.outcome.request_sent = attempt.result.error().request_sent;
        return attempt;
    }
    attempt.outcome.status = attempt.result->status;
    if (attempt.outcome.status >= 200 && attempt.outcome.status < 300) return attempt;
    attempt.service_error = parse_service_error(attempt.result->body);
    if (attempt.service_error) {
        attempt.outcome.aws_code = attempt.service_error->code;
        attempt.outcome.body = net::BodyKind::aws_error;
    } else if (!attempt.result->body.empty()) {
        attempt.outcome.body = net::BodyKind::foreign;
    }
    return attempt;
}

std::string hint_for(const ServiceCall& call, const ServiceError& error) {
    const auto& code = error.code;
    if (code == "UnauthorizedOperation" || code.starts_with("AccessDenied")) {
        return fmt::format(
            "allow '{}:{}' on this resource in the IAM policy of the keys' owner, "
            "and in the VPC endpoint's policy if it has one",
            call.service, call.operation);
    }
    if (code == "AuthFailure" || code == "SignatureDoesNotMatch" ||
        code == "InvalidSignatureException") {
        return "check the access keys and the helper's clock";
    }
    if (code == "RequestInTheFuture" || code == "RequestTimeTooSkewed" ||
        code == "RequestExpired") {
        return "set the helper's clock";
    }
    if (code == "OptInRequired") return "enable the region or service for this account";
    if (code.ends_with("LimitExceeded")) return "wait, or ask AWS for a higher quota";
    return {};
}

/// The service's words, without anything secret: a refused signature makes some services recite
/// the canonical request with its session token.
std::string safe_message(const ServiceError& error, const Credentials& keys) {
    if (error.code == "SignatureDoesNotMatch" || error.code == "InvalidSignatureException") {
        return "the service computed another signature";
    }
    auto message = error.message;
    replace_all(message, keys.session_token.reveal(), "(hidden)");
    replace_all(message, keys.secret_access_key.reveal(), "(hidden)");
    return one_line(message, 500);
}

/// S3 tells where a bucket is when it was asked for in the wrong region.
std::string bucket_region(const ServiceError& error, const net::HttpResponse& reply) {
    const auto* header = net::find_header(reply.headers, "x-amz-bucket-region");
    const auto region = header ? one_line(*header, 80) : error.region;
    return region.empty() ? std::string() : fmt::format("; the bucket is in region '{}'", region);
}

core::Error error_of(const ServiceCall& call, const Endpoint& endpoint, const Attempt& attempt,
                     const Credentials& keys) {
    const auto subject =
        fmt::format("{} {} at '{}'", call.service, call.operation, endpoint.origin());
    if (!attempt.result) {
        auto error = attempt.result.error().error;
        return std::move(error).with_context(fmt::format("{} {}", call.service, call.operation));
    }
    const auto& reply = *attempt.result;
    if (attempt.service_error) {
        const auto& seen = *attempt.service_error;
        return {errc_of(seen.code, reply.status),
                fmt::format("{} was refused: {}: {} (HTTP {}, request {}){}", subject, seen.code,
                            safe_message(seen, keys), reply.status,
                            seen.request_id.empty() ? "without id" : seen.request_id,
                            bucket_region(seen, reply)),
                hint_for(call, seen), seen.code, 0};
    }
    const auto* type = net::find_header(reply.headers, "content-type");
    return {Errc::unavailable,
            fmt::format("{} gave HTTP {} with {} bytes of '{}', expected an AWS error document",
                        subject, reply.status, reply.body.size(),
                        type ? one_line(*type, 80) : "no content type"),
            "check that the endpoint is AWS itself and not a proxy or load balancer",
            {},
            0};
}

}  // namespace

Client::Client(net::HttpTransport& transport, CredentialsProvider& credentials, core::Clock& clock,
               const core::Cancel& cancel, EndpointOptions endpoints, ClientOptions options)
    : transport_(transport),
      credentials_(credentials),
      clock_(clock),
      cancel_(cancel),
      endpoints_(std::move(endpoints)),
      options_(std::move(options)) {
    if (!options_.random) options_.random = thread_random;
}

core::Result<net::HttpRequest> Client::signed_request(const ServiceCall& call,
                                                      const Endpoint& endpoint,
                                                      const Credentials& keys) const {
    const auto authority = call.host_prefix + endpoint.authority;
    AMILIFT_TRY(auto payload_hash, core::sha256_hex(call.body));
    const SigningScope scope{
        .region = endpoints_.region,
        .service = call.service,
        .time = clock_.wall() + Duration(skew_ms_.load(std::memory_order_relaxed))};
    SigningInput input{.method = std::string(net::to_string(call.method)),
                       .path = call.path,
                       .query = call.query,
                       .headers = call.headers,
                       .payload_hash = std::move(payload_hash),
                       .path_rule = call.path_rule};
    input.headers.push_back({"Host", authority});
    input.headers.push_back({"X-Amz-Date", amz_date(scope.time)});
    if (!keys.session_token.empty()) {
        input.headers.push_back({"X-Amz-Security-Token", keys.session_token.reveal()});
    }
    if (call.service == "s3") input.headers.push_back({"X-Amz-Content-Sha256", input.payload_hash});
    AMILIFT_TRY(auto value,
                authorization(input, scope, keys.access_key_id, keys.secret_access_key));

    net::HttpRequest request{.method = call.method,
                             .url = endpoint.scheme + "://" + authority + call.path,
                             .headers = std::move(input.headers),
                             .body = call.body,
                             .attempt_timeout = call.attempt_timeout,
                             .body_limit = call.body_limit};
    if (!call.query.empty()) request.url += "?" + canonical_query(call.query);
    request.headers.push_back({"Authorization", std::move(value)});
    request.headers.push_back({"User-Agent", options_.user_agent});
    if (call.repeat == Repeat::once) {
        request.connection = net::ConnectionUse::fresh;
        // Giving up early saves time only where the request can be sent again.
        request.stall_timeout = call.attempt_timeout;
    }
    return request;
}

core::Result<Credentials> Client::keys_for(const ServiceCall& call) {
    auto keys = credentials_.get();
    if (keys) return keys;
    auto error = std::move(keys).error().with_context(
        fmt::format("{} {}: no credentials", call.service, call.operation));
    if (error.code == Errc::timed_out) error.code = Errc::unavailable;
    return std::unexpected(std::move(error));
}

/// True if the reply's Date shows that our clock (as corrected so far) is wrong.
bool Client::corrected_clock(const net::HttpResponse& reply, net::Verdict verdict) {
    const auto* text = net::find_header(reply.headers, "date");
    if (!text) return false;
    const auto server = net::parse_http_date(*text);
    if (!server) return false;
    const auto skew = std::chrono::duration_cast<Duration>(*server - clock_.wall());
    const auto off = std::chrono::abs(skew - Duration(skew_ms_.load(std::memory_order_relaxed)));
    // A doubtful code needs a clear difference; a code that names the clock needs any.
    if (off < (verdict == net::Verdict::clock_skew ? Duration(2000) : kTolerableSkew)) return false;
    skew_ms_.store(skew.count(), std::memory_order_relaxed);
    core::log_debug(fmt::format("the clock differs from AWS's by {} s: signing with theirs",
                                skew.count() / 1000));
    return true;
}

core::Result<net::HttpResponse> Client::call(const ServiceCall& call) {
    const auto budget = std::min(call.deadline, options_.longest_call);
    const core::Deadline deadline(clock_, budget);
    AMILIFT_TRY(const auto endpoint, this->endpoint(call.service));
    AMILIFT_TRY(auto keys, keys_for(call));
    bool clock_corrected = false;
    bool keys_renewed = false;
    for (int attempts = 1;; ++attempts) {
        AMILIFT_CHECK(cancel_.check());
        AMILIFT_TRY(auto request, signed_request(call, endpoint, keys));
        request.attempt_timeout =
            std::clamp(deadline.left(clock_), Duration(1), call.attempt_timeout);
        auto attempt = judge(transport_.send(request, cancel_));
        const auto verdict = net::classify(attempt.outcome);
        if (verdict == net::Verdict::success) return *std::move(attempt.result);

        auto error = error_of(call, endpoint, attempt, keys);
        if (verdict == net::Verdict::clock_skew || verdict == net::Verdict::signature) {
            if (!clock_corrected && corrected_clock(*attempt.result, verdict)) {
                clock_corrected = true;
                continue;
            }
        }
        // EC2 also says RequestExpired when the session token is what has expired.
        if (verdict == net::Verdict::credentials || error.id == "RequestExpired") {
            if (!keys_renewed) {
                keys_renewed = true;
                auto renewed = credentials_.renew(keys.access_key_id);
                if (!renewed) return std::unexpected(std::move(error).followed_by(renewed.error()));
                keys = *std::move(renewed);
                continue;
            }
        }
        if (call.repeat == Repeat::once && net::may_have_been_carried_out(attempt.outcome)) {
            error.id = kOutcomeUnknown;
            error.hint = "it may have been carried out: look for its result before repeating it";
            return std::unexpected(std::move(error));
        }
        if (verdict != net::Verdict::transient && verdict != net::Verdict::throttled) {
            return std::unexpected(std::move(error));
        }
        const auto asked = attempt.result ? net::retry_after(attempt.result->headers, clock_.wall())
                                          : std::nullopt;
        const auto wait =
            net::retry_delay(options_.retry, verdict, attempts, asked, options_.random());
        if (wait >= deadline.left(clock_)) {
            // Whatever the last answer was, what the caller must know is that we gave up.
            error.code = Errc::unavailable;
            error.what += fmt::format("; gave up after {} attempts because {} s are over", attempts,
                                      budget.count() / 1000);
            return std::unexpected(std::move(error));
        }
        core::log_debug(
            fmt::format("{} {}: attempt {} was {} ({}), next in {} ms", call.service,
                        call.operation, attempts, net::to_string(verdict),
                        error.id.empty() ? core::to_string(error.code) : std::string_view(error.id),
                        wait.count()));
        AMILIFT_CHECK(clock_.sleep_for(wait, cancel_));
        // Keys may have been renewed by another thread, or expired during the wait.
        AMILIFT_TRY(keys, keys_for(call));
    }
}

}  // namespace amilift::aws
