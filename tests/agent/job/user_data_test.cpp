// SPDX-License-Identifier: Apache-2.0
#include "job/user_data.hpp"

#include <gtest/gtest.h>

#include <set>

#include "corpus.hpp"
#include "job/job_yaml.hpp"

namespace amilift::job {
namespace {

using core::Errc;

TEST(UserData, CorpusIsReadAsExpected) {
    const auto files = corpus("user-data", ".bin");
    EXPECT_GE(files.size(), 48U);
    for (const auto& file : files) {
        const auto found = decode_user_data(read_whole(file));
        const auto got =
            found ? "ok: " + found->origin : found.error().id + ": " + found.error().what;
        EXPECT_EQ(got + "\n", read_whole(beside(file, ".expect"))) << file;
    }
}

TEST(UserData, WhatIsFoundIsTheJob) {
    for (const auto& file : corpus("user-data", ".bin")) {
        const auto found = decode_user_data(read_whole(file));
        if (!found || file.stem() == "cloud-config-broken") continue;
        const auto job = parse_job(found->text, found->origin);
        ASSERT_TRUE(job) << file << job.error().what;
        EXPECT_EQ(std::get<Job>(*job).source.ami, "ami-0abc1234") << file;
    }
}

TEST(UserData, LineNumbersAreThoseOfTheUser) {
    const auto found = decode_user_data("\xEF\xBB\xBF\r\n\r\n#amilift\r\nsource: {amo: x}\r\n");
    ASSERT_TRUE(found);
    const auto job = parse_job(found->text, found->origin);
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().what,
              "user-data:4:9: 'source.ami' is missing\n"
              "user-data:4:10: unknown key 'amo' (did you mean 'ami'?)");
}

TEST(UserData, OutcomesAreTellApartByCodeAndId) {
    const auto outcome = [](std::string_view bytes) {
        const auto found = decode_user_data(bytes);
        EXPECT_FALSE(found);
        return found ? std::pair(Errc::internal, std::string())
                     : std::pair(found.error().code, found.error().id);
    };
    EXPECT_EQ(outcome(""), std::pair(Errc::not_found, std::string("no-user-data")));
    EXPECT_EQ(outcome("#!/bin/sh\n"), std::pair(Errc::invalid_input, std::string("no-job")));
    EXPECT_EQ(outcome("\xFF\x01"),
              std::pair(Errc::invalid_input, std::string("unreadable-user-data")));
    EXPECT_EQ(outcome(std::string(kMaxUserDataBytes + 1, 'x')),
              std::pair(Errc::invalid_input, std::string("unreadable-user-data")));
}

TEST(UserData, WhatCloudInitScriptsHoldIsNeverRepeated) {
    for (const auto& file : corpus("user-data", ".bin")) {
        const auto found = decode_user_data(read_whole(file));
        if (found) continue;
        EXPECT_EQ(found.error().message().find("hunter2"), std::string::npos) << file;
    }
    const auto found = decode_user_data("password=hunter2\n");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().message().find("hunter2"), std::string::npos);
}

TEST(UserData, NoVariantOfASampleDoesHarm) {
    static const std::set<std::string> kIds{"no-user-data", "no-job", "unreadable-user-data",
                                            "two-jobs"};
    std::size_t count = 0;
    for (const auto* name : {"plain", "cloud-config", "gzip", "base64-gzip", "mime-gzip-part",
                             "mime-nested", "mime-quoted-printable"}) {
        const auto bytes = read_whole(std::string("tests/data/user-data/") + name + ".bin");
        ASSERT_FALSE(bytes.empty());
        each_variant(bytes, [&](const std::string& variant) {
            const auto found = decode_user_data(variant);
            ++count;
            if (!found) {
                EXPECT_TRUE(kIds.contains(found.error().id)) << found.error().what;
            }
        });
    }
    EXPECT_GT(count, 10'000U);
}

}  // namespace
}  // namespace amilift::job
