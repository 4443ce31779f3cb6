// SPDX-License-Identifier: Apache-2.0
#include "aws/credentials.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "tests/fakes/manual_clock.hpp"

namespace amilift::aws {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using fakes::ManualClock;
using ::testing::HasSubstr;

core::Result<std::optional<Credentials>> from(const std::map<std::string, std::string>& values) {
    return credentials_from_environment([&](const char* name) -> const char* {
        const auto it = values.find(name);
        return it == values.end() ? nullptr : it->second.c_str();
    });
}

TEST(EnvironmentCredentials, AreReadWithAndWithoutToken) {
    const auto full = from({{"AWS_ACCESS_KEY_ID", "id"},
                            {"AWS_SECRET_ACCESS_KEY", "key"},
                            {"AWS_SESSION_TOKEN", "token"}});
    ASSERT_TRUE(full && *full);
    EXPECT_EQ((*full)->access_key_id, "id");
    EXPECT_EQ((*full)->secret_access_key.reveal(), "key");
    EXPECT_EQ((*full)->session_token.reveal(), "token");
    const auto user = from({{"AWS_ACCESS_KEY_ID", "id"}, {"AWS_SECRET_ACCESS_KEY", "key"}});
    ASSERT_TRUE(user && *user);
    EXPECT_TRUE((*user)->session_token.empty());
}

TEST(EnvironmentCredentials, AbsenceIsNotAnError) {
    const auto none = from({});
    ASSERT_TRUE(none);
    EXPECT_FALSE(*none);
    EXPECT_FALSE(*from({{"AWS_ACCESS_KEY_ID", ""}, {"AWS_SECRET_ACCESS_KEY", ""}}));
    EXPECT_FALSE(*from({{"AWS_SESSION_TOKEN", "alone"}}));
}

TEST(EnvironmentCredentials, HalfAPairIsNamed) {
    const auto half = from({{"AWS_ACCESS_KEY_ID", "id"}});
    ASSERT_FALSE(half);
    EXPECT_EQ(half.error().code, Errc::invalid_input);
    EXPECT_THAT(half.error().what, HasSubstr("'AWS_SECRET_ACCESS_KEY' is not"));
    const auto other = from({{"AWS_SECRET_ACCESS_KEY", "key"}});
    ASSERT_FALSE(other);
    EXPECT_THAT(other.error().what, HasSubstr("'AWS_ACCESS_KEY_ID' is not"));
    EXPECT_THAT(other.error().message(), ::testing::Not(HasSubstr("'key'")));
}

TEST(StaticCredentialsTest, CannotBeRenewed) {
    StaticCredentials provider(
        {.access_key_id = "id", .secret_access_key = Secret("key"), .session_token = Secret()});
    EXPECT_EQ(provider.get().value().access_key_id, "id");
    const auto renewed = provider.renew("id");
    ASSERT_FALSE(renewed);
    EXPECT_EQ(renewed.error().code, Errc::permission_denied);
    EXPECT_THAT(renewed.error().hint, HasSubstr("AWS_ACCESS_KEY_ID"));
}

class Refreshing : public ::testing::Test {
  protected:
    ManualClock clock;
    int fetches = 0;
    /// What the source does next: a lifetime, or nothing for a failure.
    std::optional<std::chrono::seconds> lifetime = 6h;
    bool same_key = false;
    RefreshingCredentials provider{[this] { return fetch(); }, clock};

    core::Result<Credentials> fetch() {
        ++fetches;
        if (!lifetime) return core::fail(Errc::unavailable, "the source is down");
        return Credentials{.access_key_id = "key-" + std::to_string(same_key ? 1 : fetches),
                           .secret_access_key = Secret("s"),
                           .session_token = Secret("t"),
                           .expires = clock.wall() + *lifetime};
    }
    std::string key() { return provider.get().value().access_key_id; }
};

TEST_F(Refreshing, FetchesOnceAndKeeps) {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(key(), "key-1");
    clock.advance(5h + 44min);
    EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(fetches, 1);
}

TEST_F(Refreshing, RenewsFifteenMinutesBeforeTheEnd) {
    EXPECT_EQ(key(), "key-1");
    clock.advance(5h + 46min);
    EXPECT_EQ(key(), "key-2");
    EXPECT_EQ(key(), "key-2");
    EXPECT_EQ(fetches, 2);
}

TEST_F(Refreshing, FirstFailureIsReported) {
    lifetime.reset();
    const auto first = provider.get();
    ASSERT_FALSE(first);
    EXPECT_EQ(first.error().code, Errc::unavailable);
    lifetime = 6h;
    EXPECT_EQ(key(), "key-2");
}

TEST_F(Refreshing, OldKeysStayInUseWhileTheSourceIsDown) {
    EXPECT_EQ(key(), "key-1");
    lifetime.reset();
    clock.advance(5h + 50min);
    EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(fetches, 2);
    // Asked again only every minute...
    for (int i = 0; i < 59; ++i) {
        clock.advance(1s);
        EXPECT_EQ(key(), "key-1");
    }
    EXPECT_EQ(fetches, 2);
    clock.advance(1s);
    EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(fetches, 3);
    // ... also past the end, and the first answer ends it.
    clock.advance(1h);
    EXPECT_EQ(key(), "key-1");
    lifetime = 6h;
    clock.advance(1min);
    EXPECT_EQ(key(), "key-5");
}

TEST_F(Refreshing, UselessAnswerDoesNotMakeASourceBusy) {
    EXPECT_EQ(key(), "key-1");
    clock.advance(5h + 50min);
    lifetime = -1min;  // already over: the source itself is in trouble
    EXPECT_EQ(key(), "key-1");
    for (int i = 0; i < 30; ++i) EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(fetches, 2);
}

TEST_F(Refreshing, ShortKeysAreUsedAndAskedForEveryMinute) {
    lifetime = 5min;
    EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(key(), "key-1");
    EXPECT_EQ(fetches, 1);
    clock.advance(1min);
    EXPECT_EQ(key(), "key-2");
}

TEST_F(Refreshing, KeysWithoutEndAreNeverRenewed) {
    RefreshingCredentials endless(
        [&] {
            ++fetches;
            return core::Result<Credentials>(Credentials{
                .access_key_id = "k", .secret_access_key = Secret("s"), .session_token = Secret()});
        },
        clock);
    EXPECT_TRUE(endless.get());
    clock.advance(24h * 365);
    EXPECT_TRUE(endless.get());
    EXPECT_EQ(fetches, 1);
}

TEST_F(Refreshing, RefusedKeysAreReplacedAtOnce) {
    EXPECT_EQ(key(), "key-1");
    const auto renewed = provider.renew("key-1");
    ASSERT_TRUE(renewed);
    EXPECT_EQ(renewed->access_key_id, "key-2");
    // A second caller whose request was signed with the old key gets what is there.
    EXPECT_EQ(provider.renew("key-1").value().access_key_id, "key-2");
    EXPECT_EQ(fetches, 2);
}

TEST_F(Refreshing, SaysSoIfTheSourceHandsOutTheRefusedKeyAgain) {
    same_key = true;
    EXPECT_EQ(key(), "key-1");
    const auto renewed = provider.renew("key-1");
    ASSERT_FALSE(renewed);
    EXPECT_EQ(renewed.error().code, Errc::permission_denied);
    EXPECT_THAT(renewed.error().what, HasSubstr("'key-1'"));
}

TEST_F(Refreshing, RenewReportsTheSourcesFailure) {
    EXPECT_EQ(key(), "key-1");
    lifetime.reset();
    const auto renewed = provider.renew("key-1");
    ASSERT_FALSE(renewed);
    EXPECT_EQ(renewed.error().code, Errc::unavailable);
}

/// Real threads, and a source that stays in its call until it is let go.
class RefreshingThreads : public ::testing::Test {
  protected:
    ManualClock clock;
    std::atomic<int> fetches = 0;
    std::atomic<int> inside = 0;
    std::atomic<int> most_inside = 0;
    std::mutex mutex;
    std::condition_variable changed;
    bool open = true;
    RefreshingCredentials provider{[this] { return fetch(); }, clock};

    core::Result<Credentials> fetch() {
        const int number = ++fetches;
        most_inside = std::max(most_inside.load(), ++inside);
        {
            std::unique_lock lock(mutex);
            changed.notify_all();
            changed.wait(lock, [this] { return open; });
        }
        --inside;
        return Credentials{.access_key_id = "key-" + std::to_string(number),
                           .secret_access_key = Secret("s"),
                           .session_token = Secret("t"),
                           .expires = clock.wall() + 6h};
    }
    void set_open(bool value) {
        const std::lock_guard lock(mutex);
        open = value;
        changed.notify_all();
    }
};

TEST_F(RefreshingThreads, OneFetchServesAll) {
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            if (provider.get().value().access_key_id == "key-1") ++right;
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(right, 8);
    EXPECT_EQ(fetches, 1);
    EXPECT_EQ(most_inside, 1);
}

TEST_F(RefreshingThreads, OthersGoOnWithTheOldKeysWhileOneRenews) {
    ASSERT_EQ(provider.get().value().access_key_id, "key-1");
    clock.advance(5h + 48min);  // 12 minutes are left: renewal is due, but nobody must wait
    set_open(false);
    std::thread renewing([&] { EXPECT_EQ(provider.get().value().access_key_id, "key-2"); });
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return fetches == 2; });
    }
    EXPECT_EQ(provider.get().value().access_key_id, "key-1");
    set_open(true);
    renewing.join();
    EXPECT_EQ(provider.get().value().access_key_id, "key-2");
    EXPECT_EQ(fetches, 2);
}

}  // namespace
}  // namespace amilift::aws
