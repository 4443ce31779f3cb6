// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace amilift::net {

enum class Method { get, put, post };

/// "GET", "PUT", "POST".
[[nodiscard]] std::string_view to_string(Method method) noexcept;

struct Header {
    std::string name;
    std::string value;
};
using Headers = std::vector<Header>;

/// The value of the first header called `name` (ASCII case ignored, RFC 9110 section 5.1), or
/// nullptr. The pointer lives as long as `headers`.
[[nodiscard]] const std::string* find_header(const Headers& headers, std::string_view name);

/// Which connection a request may use.
enum class ConnectionUse {
    pooled,  ///< a kept one, if there is one
    /// A new one. libcurl repeats a request by itself when a *kept* connection turns out to be
    /// closed; a request that must not run twice asks for a new one.
    fresh
};

/// One HTTP/1.1 request. Sizes in bytes; all times are upper bounds for one attempt.
struct HttpRequest {
    Method method = Method::get;
    std::string url;  ///< absolute, http or https, percent-encoded; sent as it is
    Headers headers{};
    std::string body{};
    core::Duration connect_timeout = std::chrono::seconds(3);  ///< name look-up, TCP and TLS
    core::Duration stall_timeout = std::chrono::seconds(15);   ///< without a byte either way
    core::Duration attempt_timeout = std::chrono::seconds(30);
    std::size_t body_limit = std::size_t{16} << 20;  ///< of the reply's body
    ConnectionUse connection = ConnectionUse::pooled;
};

struct HttpResponse {
    int status = 0;
    Headers headers{};
    std::string body{};
};

/// Why no complete reply arrived.
enum class TransportFailure {
    invalid_request,  ///< the URL or a header cannot be sent
    resolve,          ///< no address for the host
    connect,          ///< no connection to the host
    untrusted,        ///< TLS failed: the certificate is not trusted, or no common protocol
    timed_out,        ///< one of the request's time limits passed
    connection_lost,  ///< closed or reset before the reply was complete
    reply_too_large,  ///< more bytes than the limit
    malformed_reply,  ///< not HTTP/1.x
    cancelled,        ///< core::Cancel was requested
    internal          ///< libcurl refused an option or ran out of memory
};

/// The stable name of a failure ("timed_out").
[[nodiscard]] std::string_view to_string(TransportFailure failure) noexcept;

/// A failed exchange. `error` names the host (scheme, host and port only: paths and queries may
/// hold what must not be printed), what happened and what to check.
struct [[nodiscard]] HttpFailure {
    TransportFailure kind = TransportFailure::internal;
    /// The server may have received the request, so it may have carried it out.
    bool request_sent = false;
    core::Error error;
};

/// A reply with any status code, or the reason for none.
using HttpResult = std::expected<HttpResponse, HttpFailure>;

/// Sends one request once: no retries, no redirects, no cookies. A seam: tests script the replies.
class HttpTransport {
  public:
    HttpTransport() = default;
    HttpTransport(const HttpTransport&) = delete;
    HttpTransport& operator=(const HttpTransport&) = delete;
    virtual ~HttpTransport() = default;

    /// Blocks until the reply is complete, a limit of `request` passes or `cancel` is requested.
    [[nodiscard]] virtual HttpResult send(const HttpRequest& request,
                                          const core::Cancel& cancel) = 0;
};

struct TransportOptions {
    /// A PEM file of trusted certificates instead of the system's store.
    std::optional<std::string> ca_bundle{};
};

/// The real one, over libcurl. Certificates are always verified, proxies are never used (the
/// environment's proxy variables are ignored: the metadata service and VPC endpoints must be
/// reached directly), connections are kept and used again. After a time-out or a lost connection
/// the next request looks the name up and connects afresh. Any number of threads may call send().
class CurlTransport final : public HttpTransport {
  public:
    explicit CurlTransport(TransportOptions options = {});
    ~CurlTransport() override;

    /// Cancellation is seen within about one second.
    [[nodiscard]] HttpResult send(const HttpRequest& request, const core::Cancel& cancel) override;

  private:
    struct Pool;
    TransportOptions options_;
    std::unique_ptr<Pool> pool_;
};

/// Parses an HTTP date (RFC 9110 section 5.6.7, "Sun, 06 Nov 1994 08:49:37 GMT"); nothing if it is
/// none.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_http_date(
    const std::string& text);

}  // namespace amilift::net
