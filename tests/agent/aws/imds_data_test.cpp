// SPDX-License-Identifier: Apache-2.0
#include "aws/imds_data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace amilift::aws {
namespace {

using core::Errc;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kKeys = R"({"Code": "Success", "AccessKeyId": "ASIA1", "SecretAccessKey": "hush",
  "Token": "hush-token", "Expiration": "2026-11-21T15:30:00Z"})";

TEST(RoleCredentials, AreRead) {
    const auto keys = parse_role_credentials(kKeys, "helper");
    ASSERT_TRUE(keys) << keys.error().message();
    EXPECT_EQ(keys->access_key_id, "ASIA1");
    EXPECT_EQ(keys->secret_access_key, Secret("hush"));
    EXPECT_EQ(keys->session_token, Secret("hush-token"));
    EXPECT_EQ(keys->expires, parse_utc("2026-11-21T15:30:00Z"));
}

TEST(RoleCredentials, AreOneShallowObject) {
    const std::string deep = "{\"a\":" + std::string(1 << 20, '[');
    for (const std::string& bad :
         {std::string(), std::string("null"), std::string("[]"), std::string("\"x\""),
          std::string("{"), std::string("<html/>"), deep}) {
        const auto keys = parse_role_credentials(bad, "helper");
        ASSERT_FALSE(keys) << bad.substr(0, 20);
        EXPECT_EQ(keys.error().code, Errc::corrupt);
    }
}

TEST(RoleCredentials, RefusalInsideAnHttp200IsSeen) {
    const auto failed = parse_role_credentials(
        R"({"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"})",
        "h");
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::unavailable);
    EXPECT_THAT(failed.error().what, HasSubstr("'AssumeRoleUnauthorizedAccess'"));
}

TEST(RoleCredentials, EveryFieldMustBeThere) {
    for (const std::string field :
         {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "Code"}) {
        auto broken = kKeys;
        broken.replace(broken.find(field), field.size(), "Other");
        const auto keys = parse_role_credentials(broken, "helper");
        ASSERT_FALSE(keys) << field;
        EXPECT_THAT(keys.error().message(), Not(HasSubstr("hush")));
    }
}

TEST(RoleCredentials, DamageNeverCrashesOrLeaks) {
    std::mt19937 random(20261121);
    for (int round = 0; round < 5000; ++round) {
        auto damaged = kKeys;
        damaged[random() % damaged.size()] = static_cast<char>(random() % 256);
        damaged.resize(damaged.size() - random() % 20);
        const auto keys = parse_role_credentials(damaged, "helper");
        if (!keys) {
            EXPECT_THAT(keys.error().message(), Not(HasSubstr("hush")));
        }
    }
}

TEST(ParseUtc, ReadsWholeAndBrokenSeconds) {
    using std::chrono::system_clock;
    EXPECT_EQ(parse_utc("1970-01-01T00:00:00Z"), system_clock::from_time_t(0));
    EXPECT_EQ(parse_utc("2026-11-21T09:30:00Z"), system_clock::from_time_t(1795253400));
    EXPECT_EQ(parse_utc("2026-11-21T09:30:00.123456Z"), system_clock::from_time_t(1795253400));
    EXPECT_EQ(parse_utc("2024-02-29T00:00:00Z"), system_clock::from_time_t(1709164800));
}

TEST(ParseUtc, RefusesEverythingElse) {
    for (const auto* text :
         {"", "Z", "2026-11-21", "2026-11-21T09:30:00", "2026-11-21T09:30:00+01:00",
          "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-21T24:00:00Z",
          "2026-11-21T09:60:00Z", "2026-11-21 09:30:00Z", "+026-11-21T09:30:00Z",
          "2026-11-21T09:30:00.Z", "2026-11-21T09:30:00.12x4Z",
          "2026-11-21T09:30:00.1234567890123Z", "20x6-11-21T09:30:00Z"}) {
        EXPECT_EQ(parse_utc(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace amilift::aws
