// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "aws/credentials.hpp"
#include "aws/imds_data.hpp"
#include "aws/secret.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "net/http.hpp"

namespace amilift::aws {

struct ImdsOptions {
    /// "http://[fd00:ec2::254]" where only IPv6 is there; tests give their own.
    std::string base_url = "http://169.254.169.254";
    core::Duration connect_timeout = std::chrono::seconds(1);
    core::Duration attempt_timeout = std::chrono::seconds(3);
    /// For one question with all its tries. At boot the network may still be coming up.
    core::Duration overall_timeout = std::chrono::seconds(60);
    std::chrono::seconds token_lifetime = std::chrono::hours(6);  ///< 1 s to 6 h
};

/// The instance metadata service, version 2 only: every question carries a session token, and no
/// answer to a question without one is ever used. Thread-safe; the references must outlive it.
/// Errors: unavailable or timed_out (no answer in time), permission_denied (switched off), corrupt
/// (the answer does not have its form). No message holds a token, a key or user-data.
/// Source: EC2 User Guide, "Use the Instance Metadata Service".
class Imds {
  public:
    Imds(net::HttpTransport& transport, core::Clock& clock, const core::Cancel& cancel,
         ImdsOptions options = {});

    /// "i-0123456789abcdef0"
    [[nodiscard]] core::Result<std::string> instance_id();
    [[nodiscard]] core::Result<std::string> region();
    [[nodiscard]] core::Result<std::string> availability_zone();
    /// What endpoints end with: "amazonaws.com"
    [[nodiscard]] core::Result<std::string> domain();
    /// The user-data's bytes, as EC2 stores them; nothing if the instance has none.
    [[nodiscard]] core::Result<std::optional<std::string>> user_data();
    /// Keys of the instance's role; not_found if no role is attached (yet).
    [[nodiscard]] core::Result<Credentials> role_credentials();

  private:
    /// The body under /latest/<path>; nothing for 404.
    [[nodiscard]] core::Result<std::optional<std::string>> get(const std::string& path);
    /// The same for what every instance has: one word of letters, digits, '-', '_' and '.'.
    [[nodiscard]] core::Result<std::string> get_word(const std::string& path);
    [[nodiscard]] core::Result<Secret> token(const core::Deadline& deadline);
    void forget_token(const Secret& refused);
    void note_lifetime(const Secret& used, const net::HttpResponse& reply);
    [[nodiscard]] core::Result<net::HttpResponse> exchange(const net::HttpRequest& request,
                                                           std::string_view subject,
                                                           const core::Deadline& deadline);

    net::HttpTransport& transport_;
    core::Clock& clock_;
    const core::Cancel& cancel_;
    ImdsOptions options_;
    std::mutex mutex_;
    Secret token_;
    std::chrono::steady_clock::time_point token_end_{};
};

}  // namespace amilift::aws
