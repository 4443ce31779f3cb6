// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "net/http.hpp"
#include "tests/fakes/manual_clock.hpp"

namespace amilift::aws::tests {

/// Gives the scripted results one after the other and remembers what was asked. When the script is
/// over, every further request fails in a way that no test expects.
class ScriptedTransport final : public net::HttpTransport {
  public:
    void then(net::HttpResult result) { script_.push_back(std::move(result)); }
    void then(int status, std::string body, net::Headers headers = {}) {
        then(net::HttpResponse{status, std::move(headers), std::move(body)});
    }
    void then(net::TransportFailure kind, bool sent) {
        const auto code = kind == net::TransportFailure::timed_out   ? core::Errc::timed_out
                          : kind == net::TransportFailure::cancelled ? core::Errc::cancelled
                                                                     : core::Errc::unavailable;
        then(std::unexpected(
            net::HttpFailure{kind, sent, core::Error{code, "scripted failure", "", "", 0}}));
    }
    /// Called before each reply.
    std::function<void(const net::HttpRequest&)> on_send;

    [[nodiscard]] net::HttpResult send(const net::HttpRequest& request,
                                       const core::Cancel&) override {
        requests.push_back(request);
        if (on_send) on_send(request);
        if (script_.empty()) {
            return std::unexpected(net::HttpFailure{
                net::TransportFailure::internal, false,
                core::Error{core::Errc::internal, "the script is over", "", "", 0}});
        }
        auto result = std::move(script_.front());
        script_.pop_front();
        return result;
    }

    [[nodiscard]] std::size_t left() const { return script_.size(); }
    [[nodiscard]] std::string header(std::size_t request, std::string_view name) const {
        const auto* value = net::find_header(requests.at(request).headers, name);
        return value ? *value : std::string();
    }

    std::vector<net::HttpRequest> requests;

  private:
    std::deque<net::HttpResult> script_;
};

/// An error document in EC2's form.
inline std::string ec2_error(const std::string& code, const std::string& message = "No.") {
    return "<?xml version=\"1.0\"?><Response><Errors><Error><Code>" + code + "</Code><Message>" +
           message + "</Message></Error></Errors><RequestID>req-1</RequestID></Response>";
}

}  // namespace amilift::aws::tests
