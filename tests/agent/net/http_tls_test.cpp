// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "net/http.hpp"
#include "tests/agent/net/http_test_server.hpp"

namespace amilift::net {
namespace {

using ::testing::HasSubstr;
using tests::Exchange;
using tests::HttpTestServer;
using tests::SeenRequest;

/// A file that goes with the test.
class TemporaryFile {
  public:
    explicit TemporaryFile(const std::string& text) {
        const core::Fd fd(::mkstemp(path_.data()));
        std::ofstream(path_) << text;
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { ::unlink(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_ = ::testing::TempDir() + "amilift-ca-XXXXXX";
};

class HttpTls : public ::testing::Test {
  protected:
    tests::TlsIdentity identity;
    HttpTestServer server{[](const SeenRequest&, Exchange& exchange) { exchange.reply(200, "hi"); },
                          &identity};
    core::Cancel cancel;
};

TEST_F(HttpTls, RefusesACertificateThatNobodyVouchesFor) {
    CurlTransport transport;
    const auto result = transport.send({.method = Method::get, .url = server.url()}, cancel);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, TransportFailure::untrusted) << result.error().error.message();
    EXPECT_FALSE(result.error().request_sent);
    EXPECT_THAT(result.error().error.hint, HasSubstr("CA certificates"));
    EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpTls, TrustsTheGivenBundleAndKeepsTheConnection) {
    const TemporaryFile bundle(identity.certificate_pem());
    CurlTransport transport({.ca_bundle = bundle.path()});
    for (int i = 0; i < 3; ++i) {
        const auto result = transport.send({.method = Method::get, .url = server.url()}, cancel);
        ASSERT_TRUE(result) << result.error().error.message();
        EXPECT_EQ(result->body, "hi");
    }
    EXPECT_EQ(server.connections(), 1);
}

TEST_F(HttpTls, RefusesATrustedCertificateOfAnotherHost) {
    const TemporaryFile bundle(identity.certificate_pem());
    CurlTransport transport({.ca_bundle = bundle.path()});
    const auto url = "https://127.0.0.1:" + std::to_string(server.port());
    const auto result = transport.send({.method = Method::get, .url = url}, cancel);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, TransportFailure::untrusted) << result.error().error.message();
    EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpTls, SaysSoIfTheBundleIsMissing) {
    CurlTransport transport({.ca_bundle = "/nonexistent/ca.pem"});
    const auto result = transport.send({.method = Method::get, .url = server.url()}, cancel);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, TransportFailure::untrusted) << result.error().error.message();
    EXPECT_THAT(result.error().error.what, HasSubstr("/nonexistent/ca.pem"));
}

}  // namespace
}  // namespace amilift::net
