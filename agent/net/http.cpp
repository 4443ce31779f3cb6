// SPDX-License-Identifier: Apache-2.0
#include "net/http.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <mutex>
#include <new>
#include <utility>

#include "core/owned.hpp"
#include "core/text.hpp"

namespace amilift::net {
namespace {

using core::Duration;
using core::Errc;
using core::lower;
using core::trimmed;
using SteadyClock = std::chrono::steady_clock;
using EasyHandle = core::Owned<CURL, curl_easy_cleanup>;
using HeaderList = core::Owned<curl_slist, curl_slist_free_all>;
using UrlHandle = core::Owned<CURLU, curl_url_cleanup>;
using CurlString = core::Owned<char, curl_free>;

constexpr std::size_t kHeaderLimit = 64 << 10;  // AWS replies stay below 8 KiB
constexpr std::size_t kIdleHandles = 4;         // more threads than that never send at once

/// Keeps SIGPIPE from killing the process when a peer closes while OpenSSL writes. libcurl is told
/// not to touch signals, because what it does about them is process-wide and races with threads.
class SigpipeBlocked {
  public:
    SigpipeBlocked() {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        sigset_t pending{};
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    SigpipeBlocked(const SigpipeBlocked&) = delete;
    SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;
    ~SigpipeBlocked() {
        if (!was_pending_) {
            const timespec now{};
            while (sigtimedwait(&pipe_, nullptr, &now) > 0) {
            }
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

  private:
    sigset_t pipe_{};
    sigset_t before_{};
    bool was_pending_ = false;
};

/// "https://ec2.eu-west-1.amazonaws.com", for messages.
std::string origin_of(const std::string& url) {
    const UrlHandle parsed(curl_url());
    if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
        return "(not a URL)";
    }
    const auto part = [&](CURLUPart what) {
        char* raw = nullptr;
        if (curl_url_get(parsed.get(), what, &raw, 0) != CURLUE_OK) return std::string();
        const CurlString owned(raw);
        return std::string(owned.get());
    };
    auto origin = part(CURLUPART_SCHEME) + "://" + part(CURLUPART_HOST);
    if (const auto port = part(CURLUPART_PORT); !port.empty()) origin += ":" + port;
    return origin;
}

/// What one transfer has seen; the callbacks write it.
struct Transfer {
    const HttpRequest& request;
    const core::Cancel& cancel;
    HttpResponse response{};
    std::size_t header_bytes = 0;
    bool too_large = false;
    bool out_of_memory = false;
    bool stalled = false;
    bool cancelled = false;
    curl_off_t last_bytes = -1;
    std::size_t last_header_bytes = 0;
    SteadyClock::time_point last_activity = SteadyClock::now();
};

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) noexcept {
    auto& transfer = *static_cast<Transfer*>(user);
    if (size > transfer.request.body_limit - transfer.response.body.size()) {
        transfer.too_large = true;
        return 0;
    }
    try {
        transfer.response.body.append(data, size);
    } catch (const std::bad_alloc&) {
        transfer.out_of_memory = true;
        return 0;
    }
    return size;
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) noexcept {
    auto& transfer = *static_cast<Transfer*>(user);
    transfer.header_bytes += size;
    if (transfer.header_bytes > kHeaderLimit) {
        transfer.too_large = true;
        return 0;
    }
    const std::string_view line(data, size);
    try {
        if (line.starts_with("HTTP/")) {
            // A new block: what came before belonged to an interim (1xx) reply.
            transfer.response.headers.clear();
        } else if (const auto colon = line.find(':'); colon != std::string_view::npos) {
            transfer.response.headers.push_back({std::string(trimmed(line.substr(0, colon))),
                                                 std::string(trimmed(line.substr(colon + 1)))});
        }
    } catch (const std::bad_alloc&) {
        transfer.out_of_memory = true;
        return 0;
    }
    return size;
}

/// libcurl calls this at least once a second, also when nothing moves.
int on_progress(void* user, curl_off_t, curl_off_t down, curl_off_t, curl_off_t up) noexcept {
    auto& transfer = *static_cast<Transfer*>(user);
    if (transfer.cancel.requested()) {
        transfer.cancelled = true;
        return 1;
    }
    const auto now = SteadyClock::now();
    if (down + up != transfer.last_bytes || transfer.header_bytes != transfer.last_header_bytes) {
        transfer.last_bytes = down + up;
        transfer.last_header_bytes = transfer.header_bytes;
        transfer.last_activity = now;
    } else if (now - transfer.last_activity >= transfer.request.stall_timeout) {
        transfer.stalled = true;
        return 1;
    }
    return 0;
}

/// Collects the first failing curl_easy_setopt.
class Options {
  public:
    explicit Options(CURL* handle) : handle_(handle) {}
    template <class T>
    void set(CURLoption option, T value) {
        // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's only way in
        const auto code = curl_easy_setopt(handle_, option, value);
        if (code != CURLE_OK && first_ == CURLE_OK) first_ = code;
    }
    [[nodiscard]] CURLcode first_failure() const { return first_; }

  private:
    CURL* handle_;
    CURLcode first_ = CURLE_OK;
};

/// libcurl reads 0 as "its default", so a limit that has run out becomes one millisecond.
long curl_ms(Duration d) {
    return static_cast<long>(std::clamp<Duration::rep>(d.count(), 1, 3'600'000));
}

bool usable_header(const Header& header) {
    const auto clean = [](std::string_view text) {
        return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
    };
    return !header.name.empty() && header.name.find(':') == std::string::npos &&
           clean(header.name) && clean(header.value);
}

/// The headers for libcurl, or null when memory is short.
HeaderList header_list(const HttpRequest& request) {
    HeaderList list;
    const auto add = [&](const std::string& line) {
        // On failure the old list stays valid and owned; on success the new head replaces it.
        if (auto* head = curl_slist_append(list.get(), line.c_str())) {
            (void)list.release();
            list.reset(head);
            return true;
        }
        return false;
    };
    // "Name:" removes a header that libcurl would add, "Name;" sends one without a value.
    if (!add("Expect:")) return nullptr;
    if (!find_header(request.headers, "content-type") && !add("Content-Type:")) return nullptr;
    for (const auto& header : request.headers) {
        if (!add(header.value.empty() ? header.name + ";" : header.name + ": " + header.value)) {
            return nullptr;
        }
    }
    return list;
}

struct Cause {
    TransportFailure kind;
    Errc code;
    std::string what;
    std::string hint;
};

Cause cause_of(CURLcode code, const Transfer& transfer, bool sent, const char* detail) {
    using enum TransportFailure;
    const auto& request = transfer.request;
    if (transfer.cancelled) {
        const auto why = transfer.cancel.check();
        return {cancelled, Errc::cancelled,
                why ? "cancelled" : fmt::format("cancelled: {}", why.error().what), ""};
    }
    if (transfer.stalled) {
        return {timed_out, Errc::timed_out,
                fmt::format("no byte arrived for {} ms", request.stall_timeout.count()),
                "check the route, the security groups and the endpoint's health"};
    }
    if (transfer.too_large) {
        return {reply_too_large, Errc::corrupt,
                fmt::format("the reply exceeds the limit of {} bytes (body) or {} bytes (headers)",
                            request.body_limit, kHeaderLimit),
                "check that the endpoint is the service that it should be"};
    }
    if (transfer.out_of_memory) return {internal, Errc::internal, "out of memory", ""};
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
            return {resolve, Errc::unavailable, "the host name has no address",
                    "check the name, the VPC's DNS and, in a private subnet, that the service's "
                    "VPC endpoint exists"};
        case CURLE_COULDNT_CONNECT:
            return {connect, Errc::unavailable, fmt::format("cannot connect: {}", detail),
                    "check the route, the security groups and the VPC endpoint"};
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR:
            return {untrusted, Errc::unavailable, fmt::format("no trusted TLS: {}", detail),
                    "check the helper's clock and its CA certificates"};
        case CURLE_OPERATION_TIMEDOUT:
            if (!sent) {
                return {timed_out, Errc::timed_out,
                        fmt::format("no connection within {} ms", request.connect_timeout.count()),
                        "check the route, the security groups and the VPC endpoint"};
            }
            return {timed_out, Errc::timed_out,
                    fmt::format("no complete reply within {} ms", request.attempt_timeout.count()),
                    "check the route, the security groups and the endpoint's health"};
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
            return {
                connection_lost, Errc::unavailable,
                fmt::format("the connection was lost before the reply was complete: {}", detail),
                "try again; if it persists, check the endpoint's health"};
        case CURLE_UNSUPPORTED_PROTOCOL:
            if (!sent) break;
            [[fallthrough]];
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
            return {malformed_reply, Errc::corrupt,
                    fmt::format("the reply is not HTTP/1.x: {}", detail),
                    "check that the endpoint is the service that it should be"};
        default:
            break;
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
        return {invalid_request, Errc::invalid_input,
                "the URL is not an absolute http or https URL", "check the endpoint's URL"};
    }
    return {internal, Errc::internal,
            fmt::format("libcurl error {}: {}", static_cast<int>(code), detail), ""};
}

std::unexpected<HttpFailure> failure(TransportFailure kind, Errc code, const HttpRequest& request,
                                     std::string_view what, std::string hint, bool sent) {
    return std::unexpected(
        HttpFailure{kind, sent,
                    core::Error{code,
                                fmt::format("HTTP {} to '{}' failed: {}", to_string(request.method),
                                            origin_of(request.url), what),
                                std::move(hint),
                                {},
                                0}});
}

}  // namespace

std::string_view to_string(Method method) noexcept {
    switch (method) {
        case Method::get:
            return "GET";
        case Method::put:
            return "PUT";
        case Method::post:
            return "POST";
    }
    return "GET";
}

std::string_view to_string(TransportFailure failure) noexcept {
    switch (failure) {
        case TransportFailure::invalid_request:
            return "invalid_request";
        case TransportFailure::resolve:
            return "resolve";
        case TransportFailure::connect:
            return "connect";
        case TransportFailure::untrusted:
            return "untrusted";
        case TransportFailure::timed_out:
            return "timed_out";
        case TransportFailure::connection_lost:
            return "connection_lost";
        case TransportFailure::reply_too_large:
            return "reply_too_large";
        case TransportFailure::malformed_reply:
            return "malformed_reply";
        case TransportFailure::cancelled:
            return "cancelled";
        case TransportFailure::internal:
            return "internal";
    }
    return "internal";
}

const std::string* find_header(const Headers& headers, std::string_view name) {
    const auto it = std::ranges::find_if(
        headers, [&](const Header& header) { return lower(header.name) == lower(name); });
    return it == headers.end() ? nullptr : &it->value;
}

/// Handles at rest. Each keeps its own connections and name cache, so that dropping a handle is
/// what makes the next request start afresh.
struct CurlTransport::Pool {
    std::mutex mutex;
    std::vector<EasyHandle> idle;

    EasyHandle take() {
        {
            const std::lock_guard lock(mutex);
            if (!idle.empty()) {
                auto handle = std::move(idle.back());
                idle.pop_back();
                return handle;
            }
        }
        return EasyHandle(curl_easy_init());
    }

    void give_back(EasyHandle handle) {
        // The options hold pointers into the finished transfer; connections survive the reset.
        curl_easy_reset(handle.get());
        const std::lock_guard lock(mutex);
        if (idle.size() < kIdleHandles) idle.push_back(std::move(handle));
    }
};

CurlTransport::CurlTransport(TransportOptions options)
    : options_(std::move(options)), pool_(std::make_unique<Pool>()) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

CurlTransport::~CurlTransport() = default;

HttpResult CurlTransport::send(const HttpRequest& request, const core::Cancel& cancel) {
    using enum TransportFailure;
    if (const auto go_on = cancel.check(); !go_on) {
        return failure(cancelled, Errc::cancelled, request, go_on.error().what, {}, false);
    }
    for (const auto& header : request.headers) {
        if (!usable_header(header)) {
            return failure(invalid_request, Errc::internal, request,
                           fmt::format("header '{}' holds a line break or a NUL, or has no usable "
                                       "name",
                                       header.name.substr(0, header.name.find_first_of("\r\n"))),
                           {}, false);
        }
    }
    auto handle = pool_->take();
    const auto headers = header_list(request);
    if (!handle || !headers) {
        return failure(internal, Errc::internal, request, "out of memory", {}, false);
    }

    Transfer transfer{.request = request, .cancel = cancel};
    std::array<char, CURL_ERROR_SIZE> detail{};
    Options set(handle.get());
    set.set(CURLOPT_ERRORBUFFER, detail.data());
    set.set(CURLOPT_URL, request.url.c_str());
    set.set(CURLOPT_PROTOCOLS_STR, "http,https");
    set.set(CURLOPT_PATH_AS_IS, 1L);  // the path is signed as written
    set.set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set.set(CURLOPT_FOLLOWLOCATION, 0L);
    set.set(CURLOPT_PROXY, "");  // also ignores the environment's proxy variables
    set.set(CURLOPT_NOPROXY, "*");
    set.set(CURLOPT_NOSIGNAL, 1L);
    set.set(CURLOPT_SSL_VERIFYPEER, 1L);
    set.set(CURLOPT_SSL_VERIFYHOST, 2L);
    set.set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (options_.ca_bundle) {
        set.set(CURLOPT_CAINFO, options_.ca_bundle->c_str());
        set.set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
    }
    set.set(CURLOPT_CONNECTTIMEOUT_MS,
            curl_ms(std::min(request.connect_timeout, request.attempt_timeout)));
    set.set(CURLOPT_TIMEOUT_MS, curl_ms(request.attempt_timeout));
    // Do not wait for a resolver thread that is still busy when the time is up.
    set.set(CURLOPT_QUICK_EXIT, 1L);
    set.set(CURLOPT_FRESH_CONNECT, request.connection == ConnectionUse::fresh ? 1L : 0L);
    set.set(CURLOPT_HTTPHEADER, headers.get());
    switch (request.method) {
        case Method::get:
            set.set(CURLOPT_HTTPGET, 1L);
            break;
        case Method::put:
            set.set(CURLOPT_POST, 1L);
            set.set(CURLOPT_CUSTOMREQUEST, "PUT");
            break;
        case Method::post:
            set.set(CURLOPT_POST, 1L);
            break;
    }
    if (request.method != Method::get) {
        set.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        set.set(CURLOPT_POSTFIELDS, request.body.data());
    }
    set.set(CURLOPT_WRITEFUNCTION, on_body);
    set.set(CURLOPT_WRITEDATA, &transfer);
    set.set(CURLOPT_HEADERFUNCTION, on_header);
    set.set(CURLOPT_HEADERDATA, &transfer);
    set.set(CURLOPT_NOPROGRESS, 0L);
    set.set(CURLOPT_XFERINFOFUNCTION, on_progress);
    set.set(CURLOPT_XFERINFODATA, &transfer);
    if (set.first_failure() != CURLE_OK) {
        return failure(
            internal, Errc::internal, request,
            fmt::format("libcurl refused an option: {}", curl_easy_strerror(set.first_failure())),
            {}, false);
    }

    CURLcode code = CURLE_OK;
    {
        const SigpipeBlocked blocked;
        code = curl_easy_perform(handle.get());
    }
    if (code == CURLE_OK) {
        long status = 0;
        // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's only way in
        curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
        transfer.response.status = static_cast<int>(status);
        pool_->give_back(std::move(handle));
        return std::move(transfer.response);
    }
    long request_bytes = 0;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): libcurl's only way in
    curl_easy_getinfo(handle.get(), CURLINFO_REQUEST_SIZE, &request_bytes);
    const bool sent = request_bytes > 0;
    auto cause = cause_of(code, transfer, sent,
                          detail.front() != '\0' ? detail.data() : curl_easy_strerror(code));
    // The handle is not given back: its connections and name cache go with it.
    return failure(cause.kind, cause.code, request, cause.what, std::move(cause.hint), sent);
}

std::optional<std::chrono::system_clock::time_point> parse_http_date(const std::string& text) {
    const auto seconds = curl_getdate(text.c_str(), nullptr);
    if (seconds < 0) return std::nullopt;
    return std::chrono::system_clock::from_time_t(seconds);
}

}  // namespace amilift::net
