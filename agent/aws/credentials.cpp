// SPDX-License-Identifier: Apache-2.0
#include "aws/credentials.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "core/log.hpp"

namespace amilift::aws {

using core::Errc;
using core::fail;

core::Result<Credentials> StaticCredentials::renew(const std::string& rejected_key_id) {
    return fail(Errc::permission_denied,
                fmt::format("AWS refused the access key '{}' as expired or unknown, and it is a "
                            "fixed one that cannot be renewed",
                            rejected_key_id),
                "export new AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN");
}

core::Result<std::optional<Credentials>> credentials_from_environment(
    const EnvironmentLookup& lookup) {
    const auto read = [&](const char* name) {
        const char* value = lookup(name);
        return std::string(value ? value : "");
    };
    auto id = read("AWS_ACCESS_KEY_ID");
    auto secret = read("AWS_SECRET_ACCESS_KEY");
    if (id.empty() && secret.empty()) return std::optional<Credentials>();
    if (id.empty() || secret.empty()) {
        return fail(Errc::invalid_input,
                    fmt::format("environment variable '{}' is set, but '{}' is not",
                                id.empty() ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID",
                                id.empty() ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY"),
                    "set both, or unset both to use the instance's role");
    }
    return Credentials{.access_key_id = std::move(id),
                       .secret_access_key = Secret(std::move(secret)),
                       .session_token = Secret(read("AWS_SESSION_TOKEN"))};
}

core::Result<std::optional<Credentials>> credentials_from_environment() {
    return credentials_from_environment([](const char* name) { return std::getenv(name); });
}

RefreshingCredentials::RefreshingCredentials(Source source, const core::Clock& clock,
                                             RefreshParams params)
    : source_(std::move(source)), clock_(clock), params_(params) {}

core::Result<Credentials> RefreshingCredentials::get() {
    std::unique_lock lock(mutex_);
    while (true) {
        const auto now = clock_.wall();
        if (current_) {
            const auto left = current_->expires ? *current_->expires - now
                                                : std::chrono::system_clock::duration::max();
            const bool may_wait = left >= params_.mandatory;
            if (left >= params_.advisory) return *current_;
            if (clock_.steady() < next_probe_) return *current_;
            if (fetching_ && may_wait) return *current_;
        }
        if (!fetching_) break;
        fetched_.wait(lock, [this] { return !fetching_; });
        if (!current_) {
            // The other caller's fetch failed: one failure is enough for both to try on their own.
            break;
        }
    }
    auto fresh = fetch(lock);
    if (fresh) return fresh;
    if (!current_) return fresh;
    core::log_debug(
        fmt::format("renewing the role's credentials failed, ignoring: {}", fresh.error().what));
    return *current_;
}

core::Result<Credentials> RefreshingCredentials::renew(const std::string& rejected_key_id) {
    std::unique_lock lock(mutex_);
    fetched_.wait(lock, [this] { return !fetching_; });
    // Somebody else may have renewed them in the meantime.
    if (current_ && current_->access_key_id != rejected_key_id) return *current_;
    AMILIFT_TRY(auto fresh, fetch(lock));
    if (fresh.access_key_id == rejected_key_id) {
        return fail(Errc::permission_denied,
                    fmt::format("AWS refused the role's access key '{}' as expired or unknown, and "
                                "the metadata service still hands out the same key",
                                rejected_key_id),
                    "check that the role still exists and that the helper's clock is right");
    }
    return fresh;
}

/// Fetches with the lock released, so that others can go on with the keys at hand.
core::Result<Credentials> RefreshingCredentials::fetch(std::unique_lock<std::mutex>& lock) {
    fetched_.wait(lock, [this] { return !fetching_; });
    fetching_ = true;
    lock.unlock();
    auto fresh = source_();
    lock.lock();
    fetching_ = false;
    fetched_.notify_all();
    next_probe_ = clock_.steady() + params_.probe_interval;
    if (!fresh) return fresh;
    const bool lasts = !fresh->expires || *fresh->expires - clock_.wall() >= params_.advisory;
    if (lasts) next_probe_ = {};
    // A source in trouble may hand out older keys than those at hand.
    const bool older =
        current_ && current_->expires && fresh->expires && *fresh->expires < *current_->expires;
    if (!older) current_ = *fresh;
    return *current_;
}

}  // namespace amilift::aws
