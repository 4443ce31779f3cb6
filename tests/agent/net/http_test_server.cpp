// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/net/http_test_server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <stdexcept>

#include "core/owned.hpp"

namespace amilift::net::tests {
namespace {

using SslHandle = core::Owned<SSL, SSL_free>;

core::Fd bound_socket(int& port) {
    core::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (!fd || ::bind(fd.get(), raw, size) != 0 || ::getsockname(fd.get(), raw, &size) != 0) {
        throw std::runtime_error("cannot bind a socket on 127.0.0.1");
    }
    port = ntohs(address.sin_port);
    return fd;
}

/// Reads until `buffer` holds `marker`; false at the end of the stream.
template <class Read>
bool read_until(std::string& buffer, std::string_view marker, Read read) {
    std::array<char, 4096> chunk{};
    while (buffer.find(marker) == std::string::npos) {
        const auto got = read(chunk.data(), chunk.size());
        if (got <= 0) return false;
        buffer.append(chunk.data(), static_cast<std::size_t>(got));
    }
    return true;
}

SeenRequest parse_head(std::string_view head) {
    SeenRequest request;
    auto line = head.substr(0, head.find("\r\n"));
    request.method = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(line.size(), request.method.size() + 1));
    request.target = line.substr(0, line.rfind(' '));
    for (auto at = head.find("\r\n"); at != std::string_view::npos;) {
        const auto next = head.find("\r\n", at + 2);
        const auto text = head.substr(at + 2, next - at - 2);
        if (const auto colon = text.find(':'); colon != std::string_view::npos) {
            auto value = text.substr(colon + 1);
            value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
            request.headers.push_back({std::string(text.substr(0, colon)), std::string(value)});
        }
        at = next;
    }
    return request;
}

}  // namespace

std::string SeenRequest::header(std::string_view name) const {
    const auto* value = find_header(headers, name);
    return value ? *value : std::string();
}

struct TlsIdentity::Parts {
    core::Owned<EVP_PKEY, EVP_PKEY_free> key;
    core::Owned<X509, X509_free> certificate;
    core::Owned<SSL_CTX, SSL_CTX_free> context;
};

TlsIdentity::TlsIdentity() : parts_(std::make_unique<Parts>()) {
    auto& [key, certificate, context] = *parts_;
    key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    certificate.reset(X509_new());
    auto* x509 = certificate.get();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    auto* name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(x509, name);
    X509_set_pubkey(x509, key.get());
    const core::Owned<X509_EXTENSION, X509_EXTENSION_free> san(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost"));
    X509_add_ext(x509, san.get(), -1);
    context.reset(SSL_CTX_new(TLS_server_method()));
    if (X509_sign(x509, key.get(), EVP_sha256()) == 0 ||
        SSL_CTX_use_certificate(context.get(), x509) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
        throw std::runtime_error("cannot make a certificate");
    }
}

TlsIdentity::~TlsIdentity() = default;

std::string TlsIdentity::certificate_pem() const {
    const core::Owned<BIO, BIO_free_all> memory(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(memory.get(), parts_->certificate.get());
    std::string text(static_cast<std::size_t>(BIO_ctrl_pending(memory.get())), '\0');
    BIO_read(memory.get(), text.data(), static_cast<int>(text.size()));
    return text;
}

bool Exchange::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto sent =
            tls_ ? SSL_write(static_cast<SSL*>(tls_), bytes.data(), static_cast<int>(bytes.size()))
                 : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            close_ = true;
            return false;
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

void Exchange::reply(int status, std::string_view body, const Headers& headers) {
    auto text = fmt::format("HTTP/1.1 {} Test\r\nContent-Length: {}\r\n", status, body.size());
    for (const auto& header : headers) text += fmt::format("{}: {}\r\n", header.name, header.value);
    send(text + "\r\n" + std::string(body));
}

void Exchange::hang() {
    server_.wait_for_stop(std::chrono::minutes(2));
    close_ = true;
}

void Exchange::drip(std::string_view bytes, std::chrono::milliseconds pause) {
    for (const char c : bytes) {
        if (!send({&c, 1}) || server_.stopping()) return;
        server_.wait_for_stop(pause);
    }
}

void Exchange::reset() {
    // Closing a socket that lingers for no time sends RST instead of FIN.
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_ = true;
}

HttpTestServer::HttpTestServer(Handler handler, TlsIdentity* tls)
    : handler_(std::move(handler)), tls_(tls), listener_(bound_socket(port_)) {
    // SSL_write has no MSG_NOSIGNAL.
    ::signal(SIGPIPE, SIG_IGN);
    if (::listen(listener_.get(), 64) != 0) throw std::runtime_error("cannot listen");
    acceptor_ = std::thread([this] { accept_all(); });
}

HttpTestServer::~HttpTestServer() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        // Wakes the threads that read; the descriptors stay theirs until they are joined.
        for (const auto& connection : open_) {
            if (connection.fd) ::shutdown(connection.fd.get(), SHUT_RDWR);
        }
    }
    stop_changed_.notify_all();
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (auto& connection : open_) connection.thread.join();
}

std::string HttpTestServer::url() const {
    return fmt::format("{}:{}", tls_ ? "https://localhost" : "http://127.0.0.1", port_);
}

std::vector<SeenRequest> HttpTestServer::requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
}

bool HttpTestServer::stopping() const {
    const std::lock_guard lock(mutex_);
    return stop_;
}

void HttpTestServer::wait_for_stop(std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    stop_changed_.wait_for(lock, at_most, [this] { return stop_; });
}

void HttpTestServer::accept_all() {
    while (true) {
        core::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const std::lock_guard lock(mutex_);
        if (stop_ || !fd) return;
        const int number = ++connections_;
        auto& connection = open_.emplace_back();
        connection.fd = std::move(fd);
        connection.thread = std::thread([this, &connection, number] {
            serve(connection.fd.get(), number);
            const std::lock_guard closing(mutex_);
            connection.fd.reset();
        });
    }
}

void HttpTestServer::serve(int fd, int number) {
    SslHandle tls;
    if (tls_) {
        tls.reset(SSL_new(tls_->parts_->context.get()));
        SSL_set_fd(tls.get(), fd);
        if (SSL_accept(tls.get()) != 1) return;
    }
    const auto read = [&](char* to, std::size_t size) -> long {
        if (tls) return SSL_read(tls.get(), to, static_cast<int>(size));
        return ::recv(fd, to, size, 0);
    };
    std::string buffer;
    while (read_until(buffer, "\r\n\r\n", read)) {
        const auto head = buffer.find("\r\n\r\n");
        auto request = parse_head(std::string_view(buffer).substr(0, head));
        request.connection = number;
        buffer.erase(0, head + 4);
        std::size_t length = 0;
        const auto text = request.header("content-length");
        std::from_chars(text.data(), text.data() + text.size(), length);
        std::array<char, 4096> chunk{};
        while (buffer.size() < length) {
            const auto got = read(chunk.data(), chunk.size());
            if (got <= 0) return;
            buffer.append(chunk.data(), static_cast<std::size_t>(got));
        }
        request.body = buffer.substr(0, length);
        buffer.erase(0, length);
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(request);
        }
        Exchange exchange(*this, fd, tls.get());
        handler_(request, exchange);
        if (exchange.close_ || stopping()) return;
    }
}

int unused_port() {
    int port = 0;
    (void)bound_socket(port);
    return port;
}

}  // namespace amilift::net::tests
