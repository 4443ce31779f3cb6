// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/fd.hpp"
#include "net/http.hpp"

namespace amilift::net::tests {

/// A request as it came over the wire.
struct SeenRequest {
    std::string method;
    std::string target;  ///< path and query
    Headers headers{};
    std::string body{};
    int connection = 0;  ///< 1 for the first connection that the server accepted

    [[nodiscard]] std::string header(std::string_view name) const;
};

/// A self-signed certificate for DNS name "localhost", valid now; the private key stays inside.
class TlsIdentity {
  public:
    TlsIdentity();
    ~TlsIdentity();
    TlsIdentity(const TlsIdentity&) = delete;
    TlsIdentity& operator=(const TlsIdentity&) = delete;
    /// The certificate as PEM, for the client's CA bundle.
    [[nodiscard]] std::string certificate_pem() const;

  private:
    friend class HttpTestServer;
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

class HttpTestServer;

/// What a handler can do to the client.
class Exchange {
  public:
    /// Bytes as they are. False once the client has gone.
    bool send(std::string_view bytes);
    /// A whole reply with Content-Length.
    void reply(int status, std::string_view body, const Headers& headers = {});
    /// No reply until the server is destroyed.
    void hang();
    /// `bytes` one by one, `pause` between them, until all are sent or the client has gone.
    void drip(std::string_view bytes, std::chrono::milliseconds pause);
    /// Closes after this exchange: at once with a TCP reset, or in an orderly way.
    void reset();
    void close() { close_ = true; }

  private:
    friend class HttpTestServer;
    Exchange(HttpTestServer& server, int fd, void* tls) : server_(server), fd_(fd), tls_(tls) {}
    HttpTestServer& server_;
    int fd_;
    void* tls_;  // SSL*, or null
    bool close_ = false;
};

/// Serves HTTP/1.1 on 127.0.0.1 until destroyed. Each connection has a thread; the handler runs in
/// it and must be thread-safe.
class HttpTestServer {
  public:
    using Handler = std::function<void(const SeenRequest&, Exchange&)>;
    explicit HttpTestServer(Handler handler, TlsIdentity* tls = nullptr);
    ~HttpTestServer();
    HttpTestServer(const HttpTestServer&) = delete;
    HttpTestServer& operator=(const HttpTestServer&) = delete;

    [[nodiscard]] int port() const { return port_; }
    /// "http://127.0.0.1:41234"; with TLS "https://localhost:41234"
    [[nodiscard]] std::string url() const;
    [[nodiscard]] int connections() const { return connections_; }
    [[nodiscard]] std::vector<SeenRequest> requests() const;

  private:
    friend class Exchange;
    struct Connection {
        core::Fd fd;
        std::thread thread;
    };
    void accept_all();
    void serve(int fd, int number);
    void wait_for_stop(std::chrono::milliseconds at_most);
    [[nodiscard]] bool stopping() const;

    Handler handler_;
    TlsIdentity* tls_;
    int port_ = 0;
    core::Fd listener_;
    std::atomic<int> connections_ = 0;
    mutable std::mutex mutex_;
    std::condition_variable stop_changed_;
    bool stop_ = false;
    std::list<Connection> open_;
    std::vector<SeenRequest> requests_;
    std::thread acceptor_;
};

/// A port of 127.0.0.1 on which nobody listens.
[[nodiscard]] int unused_port();

}  // namespace amilift::net::tests
