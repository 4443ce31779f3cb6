// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "aws/secret.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"

namespace amilift::aws {

struct Credentials {
    std::string access_key_id;  ///< not secret: it is sent in the clear with every request
    Secret secret_access_key;
    Secret session_token;  ///< empty for a user's long-lived keys
    std::optional<std::chrono::system_clock::time_point> expires{};
};

/// Where the signer gets its keys. A seam. Implementations may be called by several threads.
class CredentialsProvider {
  public:
    CredentialsProvider() = default;
    CredentialsProvider(const CredentialsProvider&) = delete;
    CredentialsProvider& operator=(const CredentialsProvider&) = delete;
    virtual ~CredentialsProvider() = default;

    /// Keys to sign with now.
    [[nodiscard]] virtual core::Result<Credentials> get() = 0;

    /// AWS refused the keys `rejected_key_id` as expired or unknown: gives others, or
    /// Errc::permission_denied if there are none.
    [[nodiscard]] virtual core::Result<Credentials> renew(const std::string& rejected_key_id) = 0;
};

/// Keys that never change.
class StaticCredentials final : public CredentialsProvider {
  public:
    explicit StaticCredentials(Credentials credentials) : credentials_(std::move(credentials)) {}
    [[nodiscard]] core::Result<Credentials> get() override { return credentials_; }
    [[nodiscard]] core::Result<Credentials> renew(const std::string& rejected_key_id) override;

  private:
    Credentials credentials_;
};

/// Looks an environment variable up; null if it is not set.
using EnvironmentLookup = std::function<const char*(const char*)>;

/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; nothing if the first two are
/// absent or empty. One without the other is Errc::invalid_input.
[[nodiscard]] core::Result<std::optional<Credentials>> credentials_from_environment(
    const EnvironmentLookup& lookup);

/// The same, from the process's environment.
[[nodiscard]] core::Result<std::optional<Credentials>> credentials_from_environment();

struct RefreshParams {
    /// From here on one caller fetches new keys while the others go on with the old ones.
    std::chrono::seconds advisory = std::chrono::minutes(15);
    /// From here on all callers wait for the new keys.
    std::chrono::seconds mandatory = std::chrono::minutes(10);
    /// After a failed or useless fetch the source is left alone for so long.
    std::chrono::seconds probe_interval = std::chrono::minutes(1);
};

/// Keys that a source hands out for a while (the metadata service), fetched again before they
/// expire. One fetch at a time. If the source fails, or hands out keys that are about to expire,
/// the keys at hand stay in use, also past their expiry (AWS may still accept them, and decides),
/// and the source is asked again every `probe_interval`.
class RefreshingCredentials final : public CredentialsProvider {
  public:
    using Source = std::function<core::Result<Credentials>()>;

    /// `clock` must outlive this object. `source` must not throw and blocks for a bounded time.
    RefreshingCredentials(Source source, const core::Clock& clock, RefreshParams params = {});

    [[nodiscard]] core::Result<Credentials> get() override;
    [[nodiscard]] core::Result<Credentials> renew(const std::string& rejected_key_id) override;

  private:
    [[nodiscard]] core::Result<Credentials> fetch(std::unique_lock<std::mutex>& lock);

    Source source_;
    const core::Clock& clock_;
    RefreshParams params_;
    std::mutex mutex_;
    std::condition_variable fetched_;
    bool fetching_ = false;
    std::optional<Credentials> current_;
    std::chrono::steady_clock::time_point next_probe_{};
};

}  // namespace amilift::aws
