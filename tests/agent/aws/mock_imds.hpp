// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/agent/net/http_test_server.hpp"

namespace amilift::aws::tests {

/// The instance metadata service, version 2 only, over HTTP on 127.0.0.1. The public members are
/// changed by the test between requests, never during one.
class MockImds {
  public:
    static constexpr auto kRoles = "/latest/meta-data/iam/security-credentials/";

    [[nodiscard]] std::string url() const { return server_.url(); }
    [[nodiscard]] std::vector<net::tests::SeenRequest> requests() const {
        return server_.requests();
    }
    [[nodiscard]] int tokens_given() const { return tokens_given_; }
    /// The tokens given so far are worth nothing from now on.
    void expire_tokens() { valid_tokens_.clear(); }

    std::optional<std::string> user_data = "#amilift\nsource: {ami: ami-1}\n";
    std::map<std::string, std::string> answers{
        {"/latest/meta-data/instance-id", "i-0123456789abcdef0"},
        {"/latest/meta-data/placement/region", "eu-west-1"},
        {"/latest/meta-data/placement/availability-zone", "eu-west-1a"},
        {"/latest/meta-data/services/domain", "amazonaws.com"},
        {kRoles, "helper"},
        {std::string(kRoles) + "helper",
         R"({"Code": "Success", "LastUpdated": "2026-11-21T09:00:00Z", "Type": "AWS-HMAC",
             "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "imds-secret-key",
             "Token": "imds-session-token", "Expiration": "2026-11-21T15:30:00Z"})"},
    };
    int token_status = 200;
    std::optional<std::string> token_body;  ///< instead of a good token
    std::optional<std::string> remaining_lifetime;
    bool refuse_all_tokens = false;
    std::vector<int> fail_next;  ///< statuses of the next replies, whatever is asked

  private:
    void handle(const net::tests::SeenRequest& request, net::tests::Exchange& exchange) {
        if (!fail_next.empty()) {
            const int status = fail_next.front();
            fail_next.erase(fail_next.begin());
            return exchange.reply(status, "<html>busy</html>");
        }
        if (request.method == "PUT" && request.target == "/latest/api/token") {
            if (token_status != 200) return exchange.reply(token_status, "<html/>");
            if (request.header("x-aws-ec2-metadata-token-ttl-seconds").empty()) {
                return exchange.reply(400, "");
            }
            if (token_body) return exchange.reply(200, *token_body);
            const auto token = "imds-token-" + std::to_string(++tokens_given_) + "==";
            valid_tokens_.push_back(token);
            return exchange.reply(200, token, lifetime("21600"));
        }
        const auto token = request.header("x-aws-ec2-metadata-token");
        if (request.method != "GET" || refuse_all_tokens ||
            std::ranges::find(valid_tokens_, token) == valid_tokens_.end()) {
            return exchange.reply(401, "");
        }
        if (request.target == "/latest/user-data") {
            return user_data ? exchange.reply(200, *user_data) : exchange.reply(404, "");
        }
        const auto it = answers.find(request.target);
        if (it == answers.end()) return exchange.reply(404, "<html>404</html>");
        exchange.reply(200, it->second,
                       remaining_lifetime ? lifetime(*remaining_lifetime) : net::Headers{});
    }
    static net::Headers lifetime(const std::string& seconds) {
        return {{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds", seconds}};
    }

    int tokens_given_ = 0;
    std::vector<std::string> valid_tokens_;
    net::tests::HttpTestServer server_{
        [this](const auto& request, auto& exchange) { handle(request, exchange); }};
};

}  // namespace amilift::aws::tests
