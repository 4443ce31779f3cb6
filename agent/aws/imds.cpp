// SPDX-License-Identifier: Apache-2.0
#include "aws/imds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "aws/service_error.hpp"
#include "net/retry.hpp"

namespace amilift::aws {
namespace {

using core::Duration;
using core::Errc;
using core::fail;

constexpr std::size_t kBodyLimit = 128 << 10;  // user-data, the longest, has at most 16 KiB
constexpr std::size_t kTokenLimit = 1024;
constexpr auto kLifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds";
constexpr auto kTokenHeader = "X-aws-ec2-metadata-token";
/// A token that ends within this time is replaced before it is used.
constexpr auto kTokenMargin = std::chrono::seconds(30);
constexpr auto kMaxLifetime = std::chrono::seconds(21600);

constexpr net::RetryParams kRetry{.transient_base = std::chrono::milliseconds(200),
                                  .throttle_base = std::chrono::milliseconds(500),
                                  .cap = std::chrono::seconds(5)};

bool word_char(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/// Characters of IAM role names (IAM API reference, CreateRole).
bool role_char(char c) noexcept {
    return word_char(c) || c == '+' || c == '=' || c == ',' || c == '@';
}

std::string_view without_line_end(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
    return text;
}

std::optional<std::chrono::seconds> lifetime_of(const net::HttpResponse& reply) {
    const auto* text = net::find_header(reply.headers, kLifetimeHeader);
    if (!text) return std::nullopt;
    long seconds = 0;
    const auto* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, seconds);
    if (error != std::errc() || stop != end || seconds < 0) return std::nullopt;
    return std::min(std::chrono::seconds(seconds), kMaxLifetime);
}

/// Why a service that is there may stay silent: the most common riddle of IMDSv2.
constexpr auto kSilenceHint =
    "on EC2 check that the instance's metadata service is enabled; in a container or another "
    "network namespace its reply is lost unless the hop limit (HttpPutResponseHopLimit) is 2 or "
    "more; outside EC2 there is no metadata service";

}  // namespace

Imds::Imds(net::HttpTransport& transport, core::Clock& clock, const core::Cancel& cancel,
           ImdsOptions options)
    : transport_(transport), clock_(clock), cancel_(cancel), options_(std::move(options)) {
    options_.token_lifetime =
        std::clamp(options_.token_lifetime, std::chrono::seconds(1), kMaxLifetime);
}

/// Repeats until there is an answer that is neither "later" nor a failure of the service.
core::Result<net::HttpResponse> Imds::exchange(const net::HttpRequest& request,
                                               std::string_view subject,
                                               const core::Deadline& deadline) {
    const auto service = fmt::format("metadata service at '{}', {}", options_.base_url, subject);
    for (int attempts = 1;; ++attempts) {
        auto attempt = request;
        attempt.attempt_timeout =
            std::clamp(deadline.left(clock_), Duration(1), options_.attempt_timeout);
        auto reply = transport_.send(attempt, cancel_);
        net::Outcome outcome;
        core::Error error;
        if (reply) {
            outcome.status = reply->status;
            error = {Errc::unavailable,
                     fmt::format("{}: HTTP {}", service, reply->status),
                     "try again; if it persists, stop and start the instance",
                     {},
                     0};
        } else {
            outcome.failure = reply.error().kind;
            outcome.request_sent = reply.error().request_sent;
            error = std::move(reply.error().error).with_context(service);
            if (error.code != Errc::cancelled) error.hint = kSilenceHint;
        }
        const auto verdict = net::classify(outcome);
        if (verdict != net::Verdict::transient && verdict != net::Verdict::throttled) {
            if (reply) return *std::move(reply);
            return std::unexpected(std::move(error));
        }
        // One client asks one service: jitter has nobody to keep apart.
        const auto asked = reply ? net::retry_after(reply->headers, clock_.wall()) : std::nullopt;
        const auto wait = net::retry_delay(kRetry, verdict, attempts, asked, 1.0);
        if (wait >= deadline.left(clock_)) {
            error.what += fmt::format("; gave up after {} tries in {} s", attempts,
                                      options_.overall_timeout.count() / 1000);
            return std::unexpected(std::move(error));
        }
        AMILIFT_CHECK(clock_.sleep_for(wait, cancel_));
    }
}

core::Result<Secret> Imds::token(const core::Deadline& deadline) {
    const std::lock_guard lock(mutex_);
    if (!token_.empty() && clock_.steady() + kTokenMargin < token_end_) return token_;
    const net::HttpRequest request{
        .method = net::Method::put,
        .url = options_.base_url + "/latest/api/token",
        .headers = {{kLifetimeHeader, fmt::format("{}", options_.token_lifetime.count())}},
        .connect_timeout = options_.connect_timeout,
        .body_limit = kTokenLimit};
    const auto asked_at = clock_.steady();
    AMILIFT_TRY(const auto reply, exchange(request, "session token", deadline));
    const auto refused = [&](Errc code, std::string_view expected, std::string hint) {
        return fail(code,
                    fmt::format("metadata service at '{}' refused a session token: HTTP {}, "
                                "expected {}",
                                options_.base_url, reply.status, expected),
                    std::move(hint));
    };
    if (reply.status == 403) {
        return refused(Errc::permission_denied, "200",
                       "enable the instance's metadata service (HttpEndpoint=enabled)");
    }
    if (reply.status == 404 || reply.status == 405) {
        return refused(Errc::unavailable, "200",
                       "the address answers, but not with IMDSv2, the only version that is used: "
                       "check the address");
    }
    if (reply.status != 200) return refused(Errc::unavailable, "200", "check the address");
    const auto text = without_line_end(reply.body);
    // It goes into a header: nothing but visible ASCII may come from outside.
    if (text.empty() || !std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; })) {
        return fail(Errc::corrupt,
                    fmt::format("metadata service at '{}' gave a session token of {} bytes that is "
                                "no single word",
                                options_.base_url, reply.body.size()),
                    "check the address");
    }
    token_ = Secret(std::string(text));
    token_end_ = asked_at + lifetime_of(reply).value_or(options_.token_lifetime);
    return token_;
}

void Imds::forget_token(const Secret& refused) {
    const std::lock_guard lock(mutex_);
    if (token_ == refused) token_ = Secret();
}

void Imds::note_lifetime(const Secret& used, const net::HttpResponse& reply) {
    const auto left = lifetime_of(reply);
    if (!left) return;
    const std::lock_guard lock(mutex_);
    if (token_ == used) token_end_ = clock_.steady() + *left;
}

core::Result<std::optional<std::string>> Imds::get(const std::string& path) {
    const core::Deadline deadline(clock_, options_.overall_timeout);
    const auto subject = fmt::format("'{}'", path);
    for (bool renewed = false;; renewed = true) {
        AMILIFT_TRY(const auto session, token(deadline));
        const net::HttpRequest request{.method = net::Method::get,
                                       .url = options_.base_url + "/latest/" + path,
                                       .headers = {{kTokenHeader, session.reveal()}},
                                       .connect_timeout = options_.connect_timeout,
                                       .body_limit = kBodyLimit};
        AMILIFT_TRY(auto reply, exchange(request, subject, deadline));
        note_lifetime(session, reply);
        if (reply.status == 200) return std::optional(std::move(reply.body));
        if (reply.status == 404) return std::optional<std::string>();
        if (reply.status == 401 && !renewed) {
            // The instance was moved or the token has expired early.
            forget_token(session);
            continue;
        }
        return fail(reply.status == 401 || reply.status == 403 ? Errc::permission_denied
                                                               : Errc::unavailable,
                    fmt::format("metadata service at '{}', {}: HTTP {}, expected 200 or 404",
                                options_.base_url, subject, reply.status),
                    "check that the instance's metadata service is enabled");
    }
}

core::Result<std::string> Imds::get_word(const std::string& path) {
    AMILIFT_TRY(const auto body, get(path));
    if (!body) {
        return fail(
            Errc::not_found,
            fmt::format("metadata service at '{}' has no '{}' (HTTP 404)", options_.base_url, path),
            "check that the address is EC2's");
    }
    const auto word = without_line_end(*body);
    if (word.empty() || word.size() > 255 || !std::ranges::all_of(word, word_char)) {
        return fail(Errc::corrupt,
                    fmt::format("metadata service at '{}', '{}': got '{}', expected one word",
                                options_.base_url, path, one_line(*body, 80)),
                    "check that the address is EC2's");
    }
    return std::string(word);
}

core::Result<std::string> Imds::instance_id() {
    return get_word("meta-data/instance-id");
}

core::Result<std::string> Imds::region() {
    return get_word("meta-data/placement/region");
}

core::Result<std::string> Imds::availability_zone() {
    return get_word("meta-data/placement/availability-zone");
}

core::Result<std::string> Imds::domain() {
    return get_word("meta-data/services/domain");
}

core::Result<std::optional<std::string>> Imds::user_data() {
    return get("user-data");
}

core::Result<Credentials> Imds::role_credentials() {
    static const std::string kRoles = "meta-data/iam/security-credentials/";
    const auto no_role = [&] {
        return fail(Errc::not_found,
                    fmt::format("metadata service at '{}' has no credentials: no IAM role is "
                                "attached to the instance",
                                options_.base_url),
                    "launch the helper with an instance profile; one that was attached just now "
                    "can take minutes to appear");
    };
    AMILIFT_TRY(const auto list, get(kRoles));
    if (!list) return no_role();
    const auto role = without_line_end(std::string_view(*list).substr(0, list->find('\n')));
    if (role.empty()) return no_role();
    if (role.size() > 64 || !std::ranges::all_of(role, role_char)) {
        return fail(Errc::corrupt,
                    fmt::format("metadata service at '{}' gave a role's name of {} bytes that no "
                                "role can have",
                                options_.base_url, role.size()),
                    "check that the address is EC2's");
    }
    AMILIFT_TRY(const auto document, get(kRoles + std::string(role)));
    if (!document) return no_role();
    return parse_role_credentials(*document, role);
}

}  // namespace amilift::aws
