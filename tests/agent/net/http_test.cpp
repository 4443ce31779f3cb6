// SPDX-License-Identifier: Apache-2.0
#include "net/http.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "tests/agent/net/http_test_server.hpp"

namespace amilift::net {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using tests::Exchange;
using tests::HttpTestServer;
using tests::SeenRequest;

constexpr auto kSoon = 5s;  // far below every default limit, far above what a loaded host needs

class Http : public ::testing::Test {
  protected:
    CurlTransport transport;
    core::Cancel cancel;

    static HttpRequest get(const HttpTestServer& server, const std::string& path = "/") {
        return {.method = Method::get, .url = server.url() + path};
    }
    HttpResult send(const HttpRequest& request) { return transport.send(request, cancel); }
};

/// How long `call` takes.
template <class Call>
std::chrono::steady_clock::duration time_of(Call call) {
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::steady_clock::now() - start;
}

void expect_failure(const HttpResult& result, TransportFailure kind, core::Errc code, bool sent) {
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().kind), to_string(kind)) << result.error().error.message();
    EXPECT_EQ(result.error().error.code, code) << result.error().error.message();
    EXPECT_EQ(result.error().request_sent, sent) << result.error().error.message();
}

TEST_F(Http, GivesStatusHeadersAndBody) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.reply(404, "no such thing", {{"X-One", "  spaced  "}, {"x-two", ""}});
    });
    const auto result = send(get(server, "/a/../b%20c?x=%2F"));
    ASSERT_TRUE(result) << result.error().error.message();
    EXPECT_EQ(result->status, 404);
    EXPECT_EQ(result->body, "no such thing");
    ASSERT_NE(find_header(result->headers, "x-ONE"), nullptr);
    EXPECT_EQ(*find_header(result->headers, "x-ONE"), "spaced");
    ASSERT_NE(find_header(result->headers, "X-Two"), nullptr);
    EXPECT_EQ(*find_header(result->headers, "X-Two"), "");
    EXPECT_EQ(find_header(result->headers, "x-three"), nullptr);
    EXPECT_EQ(server.requests().at(0).target, "/a/../b%20c?x=%2F");
}

TEST_F(Http, SendsBodyAndHeadersAsGiven) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    const std::string body("a\0b=&\n\xff", 7);
    ASSERT_TRUE(send({.method = Method::post,
                      .url = server.url(),
                      .headers = {{"X-Note", "n"}, {"X-Empty", ""}, {"Host", "service.example"}},
                      .body = body}));
    const auto seen = server.requests().at(0);
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.body, body);
    EXPECT_EQ(seen.header("x-note"), "n");
    EXPECT_NE(find_header(seen.headers, "x-empty"), nullptr);
    EXPECT_EQ(seen.header("host"), "service.example");
    EXPECT_EQ(find_header(seen.headers, "content-type"), nullptr);
    EXPECT_EQ(find_header(seen.headers, "expect"), nullptr);
}

TEST_F(Http, LargeBodyIsSentWithoutWaitingForContinue) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    const std::string body(3 << 20, 'x');
    ASSERT_TRUE(send({.method = Method::put, .url = server.url(), .body = body}));
    EXPECT_EQ(server.requests().at(0).method, "PUT");
    EXPECT_EQ(server.requests().at(0).body, body);
    EXPECT_EQ(server.requests().at(0).header("expect"), "");
}

TEST_F(Http, PutWithoutBodyHasLengthZero) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, "t"); });
    ASSERT_TRUE(send({.method = Method::put, .url = server.url()}));
    EXPECT_EQ(server.requests().at(0).header("content-length"), "0");
}

TEST_F(Http, KeepsTheConnection) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(send(get(server)));
    EXPECT_EQ(server.connections(), 1);
}

TEST_F(Http, FreshRequestGetsItsOwnConnection) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    ASSERT_TRUE(send(get(server)));
    auto request = get(server);
    request.connection = ConnectionUse::fresh;
    ASSERT_TRUE(send(request));
    EXPECT_EQ(server.connections(), 2);
}

TEST_F(Http, FreshRequestIsNeverRepeated) {
    int count = 0;
    HttpTestServer server([&](const SeenRequest&, Exchange& exchange) {
        // The first reply leaves a kept connection; everything later is closed without a word.
        if (++count == 1) return exchange.reply(200, "");
        exchange.close();
    });
    ASSERT_TRUE(send(get(server)));
    HttpRequest request{.method = Method::post, .url = server.url(), .body = "create"};
    request.connection = ConnectionUse::fresh;
    expect_failure(send(request), TransportFailure::connection_lost, core::Errc::unavailable, true);
    EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(Http, LooksUpAndConnectsAfreshAfterATimeout) {
    int count = 0;
    HttpTestServer server([&](const SeenRequest&, Exchange& exchange) {
        if (++count == 2) return exchange.hang();
        exchange.reply(200, "");
    });
    ASSERT_TRUE(send(get(server)));
    auto hanging = get(server);
    hanging.attempt_timeout = 200ms;
    ASSERT_FALSE(send(hanging));
    ASSERT_TRUE(send(get(server)));
    const auto seen = server.requests();
    ASSERT_EQ(seen.size(), 3U);
    EXPECT_EQ(seen[0].connection, seen[1].connection);
    EXPECT_NE(seen[1].connection, seen[2].connection);
}

TEST_F(Http, RefusedConnectionWasNotSent) {
    const auto port = tests::unused_port();
    const auto result = send({.method = Method::post,
                              .url = fmt::format("http://127.0.0.1:{}/secret?k=v", port),
                              .body = "x"});
    expect_failure(result, TransportFailure::connect, core::Errc::unavailable, false);
    const auto& error = result.error().error;
    EXPECT_THAT(error.what, HasSubstr(fmt::format("'http://127.0.0.1:{}'", port)));
    EXPECT_THAT(error.message(), Not(HasSubstr("secret")));
    EXPECT_FALSE(error.hint.empty());
}

TEST_F(Http, HostWithoutAddressIsNamed) {
    // A label of more than 63 characters is refused by the resolver without asking anybody.
    const auto host = std::string(70, 'a') + ".invalid";
    const auto result = send({.method = Method::get, .url = "http://" + host + "/"});
    expect_failure(result, TransportFailure::resolve, core::Errc::unavailable, false);
    EXPECT_THAT(result.error().error.what, HasSubstr(host));
}

TEST_F(Http, SilentServerTimesOut) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.hang(); });
    auto request = get(server);
    request.attempt_timeout = 300ms;
    HttpResult result;
    EXPECT_LT(time_of([&] { result = send(request); }), kSoon);
    expect_failure(result, TransportFailure::timed_out, core::Errc::timed_out, true);
    EXPECT_THAT(result.error().error.what, HasSubstr("300 ms"));
}

TEST_F(Http, StalledBodyTimesOutLongBeforeTheAttempt) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.");
        exchange.hang();
    });
    auto request = get(server);
    request.stall_timeout = 500ms;
    HttpResult result;
    EXPECT_LT(time_of([&] { result = send(request); }), kSoon);
    expect_failure(result, TransportFailure::timed_out, core::Errc::timed_out, true);
    EXPECT_THAT(result.error().error.what, HasSubstr("no byte arrived for 500 ms"));
}

TEST_F(Http, DripOutlivesTheStallLimitButNotTheAttempt) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        exchange.drip(std::string(1000, '.'), 20ms);
    });
    auto request = get(server);
    request.stall_timeout = 1500ms;
    request.attempt_timeout = 2500ms;
    HttpResult result;
    const auto took = time_of([&] { result = send(request); });
    EXPECT_GE(took, 2400ms);
    EXPECT_LT(took, 2500ms + kSoon);
    expect_failure(result, TransportFailure::timed_out, core::Errc::timed_out, true);
    EXPECT_THAT(result.error().error.what, HasSubstr("2500 ms"));
}

TEST_F(Http, ResetIsALostConnection) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        exchange.reset();
    });
    expect_failure(send(get(server)), TransportFailure::connection_lost, core::Errc::unavailable,
                   true);
}

TEST_F(Http, ShortBodyIsALostConnection) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        exchange.close();
    });
    expect_failure(send(get(server)), TransportFailure::connection_lost, core::Errc::unavailable,
                   true);
}

TEST_F(Http, BytesAfterTheBodyAreNotTheNextReply) {
    int count = 0;
    HttpTestServer server([&](const SeenRequest&, Exchange& exchange) {
        if (++count > 1) return exchange.reply(200, "second");
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 500 No\r\n\r\n");
    });
    const auto first = send(get(server));
    ASSERT_TRUE(first);
    EXPECT_EQ(first->body, "first");
    const auto second = send(get(server));
    ASSERT_TRUE(second);
    EXPECT_EQ(second->body, "second");
    EXPECT_EQ(second->status, 200);
}

TEST_F(Http, BodyLimitIsExact) {
    HttpTestServer server([](const SeenRequest& request, Exchange& exchange) {
        const std::string body(request.target == "/fits" ? 1000 : 1001, 'x');
        if (request.target != "/chunked") return exchange.reply(200, body);
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + body +
                      "\r\n0\r\n\r\n");
    });
    auto request = get(server, "/fits");
    request.body_limit = 1000;
    ASSERT_TRUE(send(request));
    for (const auto* path : {"/large", "/chunked"}) {
        request.url = server.url() + path;
        const auto result = send(request);
        expect_failure(result, TransportFailure::reply_too_large, core::Errc::corrupt, true);
        EXPECT_THAT(result.error().error.what, HasSubstr("1000 bytes"));
    }
}

TEST_F(Http, EndlessBodyEndsAtTheLimit) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\n\r\n");
        while (exchange.send(std::string(65536, 'x'))) {
        }
    });
    auto request = get(server);
    request.body_limit = 1 << 20;
    expect_failure(send(request), TransportFailure::reply_too_large, core::Errc::corrupt, true);
}

TEST_F(Http, EndlessHeadersEndAtTheLimit) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\n");
        while (exchange.send("X-Filler: " + std::string(1000, 'x') + "\r\n")) {
        }
    });
    expect_failure(send(get(server)), TransportFailure::reply_too_large, core::Errc::corrupt, true);
}

TEST_F(Http, RedirectIsAnAnswerLikeAnyOther) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.reply(301, "", {{"Location", "/elsewhere"}});
    });
    const auto result = send(get(server));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 301);
    EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(Http, NoiseIsAMalformedReply) {
    for (const std::string noise : {"\x16\x03\x01 TLS alert\r\n\r\n", "hello\r\n\r\n"}) {
        HttpTestServer server([&](const SeenRequest&, Exchange& exchange) {
            exchange.send(noise);
            exchange.close();
        });
        expect_failure(send(get(server)), TransportFailure::malformed_reply, core::Errc::corrupt,
                       true);
    }
}

TEST_F(Http, HeadersOfInterimRepliesAreDropped) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) {
        exchange.send("HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
        exchange.reply(200, "done");
    });
    const auto result = send(get(server));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->body, "done");
    EXPECT_EQ(find_header(result->headers, "x-early"), nullptr);
}

TEST_F(Http, CancelEndsAHangingRequest) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.hang(); });
    std::thread canceller([this] {
        std::this_thread::sleep_for(200ms);
        cancel.request("the service is stopping");
    });
    HttpResult result;
    EXPECT_LT(time_of([&] { result = send(get(server)); }), kSoon);
    canceller.join();
    expect_failure(result, TransportFailure::cancelled, core::Errc::cancelled, true);
    EXPECT_THAT(result.error().error.what, HasSubstr("the service is stopping"));
}

TEST_F(Http, NothingIsSentAfterCancel) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    cancel.request("stop");
    expect_failure(send(get(server)), TransportFailure::cancelled, core::Errc::cancelled, false);
    EXPECT_EQ(server.connections(), 0);
}

TEST_F(Http, RefusesHeadersThatWouldSplitTheRequest) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    for (const Header& bad : std::vector<Header>{{"X-A", "1\r\nX-B: 2"},
                                                 {"X-A\nX-B", "1"},
                                                 {"X:A", "1"},
                                                 {"", "1"},
                                                 {"X-A", std::string("1\0", 2)}}) {
        auto request = get(server);
        request.headers = {bad};
        expect_failure(send(request), TransportFailure::invalid_request, core::Errc::internal,
                       false);
    }
    EXPECT_EQ(server.connections(), 0);
}

TEST_F(Http, OnlyHttpUrlsAreTaken) {
    for (const auto* url : {"ftp://127.0.0.1/", "file:///etc/passwd", "", "//", "http://"}) {
        SCOPED_TRACE(url);
        expect_failure(send({.method = Method::get, .url = url}), TransportFailure::invalid_request,
                       core::Errc::invalid_input, false);
    }
}

TEST_F(Http, IgnoresTheEnvironmentsProxy) {
    HttpTestServer server([](const SeenRequest&, Exchange& exchange) { exchange.reply(200, ""); });
    const auto dead = fmt::format("http://127.0.0.1:{}", tests::unused_port());
    for (const auto* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) {
        ::setenv(name, dead.c_str(), 1);
    }
    const auto result = send(get(server));
    for (const auto* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
    EXPECT_TRUE(result) << result.error().error.message();
}

TEST_F(Http, ServesManyThreads) {
    HttpTestServer server([](const SeenRequest& request, Exchange& exchange) {
        exchange.reply(200, request.target);
    });
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 20; ++i) {
                const auto path = fmt::format("/{}/{}", t, i);
                const auto result = send(get(server, path));
                if (result && result->body == path) ++right;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(right, 120);
}

TEST(HttpDate, ReadsTheFormsOfRfc9110) {
    const auto expected = std::chrono::system_clock::from_time_t(784111777);
    EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), expected);
    EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), expected);
    EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994"), expected);
    EXPECT_EQ(parse_http_date(""), std::nullopt);
    EXPECT_EQ(parse_http_date("soon"), std::nullopt);
}

}  // namespace
}  // namespace amilift::net
