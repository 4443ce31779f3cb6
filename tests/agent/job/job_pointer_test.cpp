// SPDX-License-Identifier: Apache-2.0
#include "job/job_pointer.hpp"

#include <gtest/gtest.h>

namespace amilift::job {
namespace {

using core::Errc;

constexpr std::string_view kDocument = "source: {ami: ami-0abc1234}\n";
/// Made with sha256sum.
constexpr std::string_view kDigest =
    "616ecffa09b737a9c27a7d04ad9bf94e19a8b40acb3a6ae37ad9dcf374c075f8";

JobPointer pointer(std::string_view digest) {
    return {"my-jobs", "web.yaml", std::nullopt, std::string(digest)};
}

TEST(JobPointer, NamesTheObject) {
    EXPECT_EQ(to_string(pointer(kDigest)), "s3://my-jobs/web.yaml");
    auto versioned = pointer(kDigest);
    versioned.version = "v1";
    EXPECT_EQ(to_string(versioned), "s3://my-jobs/web.yaml?versionId=v1");
}

TEST(JobPointer, ReadsADocumentWithTheRightDigest) {
    const auto job = read_pointed_job(pointer(kDigest), kDocument);
    ASSERT_TRUE(job) << job.error().what;
    EXPECT_EQ(job->source.ami, "ami-0abc1234");
}

TEST(JobPointer, RefusesEveryOtherDocument) {
    const auto job = read_pointed_job(pointer(kDigest), "source: {ami: ami-0abc1235}\n");
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().code, Errc::invalid_input);
    EXPECT_EQ(job.error().id, "job-digest");
    EXPECT_NE(job.error().what.find(kDigest), std::string::npos);
    EXPECT_NE(job.error().what.find("s3://my-jobs/web.yaml"), std::string::npos);
    EXPECT_FALSE(read_pointed_job(pointer(kDigest), ""));
}

TEST(JobPointer, RefusesAPointerToAPointer) {
    constexpr std::string_view kPointer =
        "job: {s3: a-b/c, sha256: "
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}\n";
    const auto job = read_pointed_job(
        pointer("c63aa7ec8a33586c91d66c22bbf2bf55d69b0e9e1c9d868db18ac006264989b9"), kPointer);
    ASSERT_FALSE(job);
    EXPECT_EQ(job.error().id, "invalid-job");
    EXPECT_NE(job.error().what.find("points to another document"), std::string::npos);
}

TEST(JobPointer, ErrorsOfTheDocumentNameTheObject) {
    const auto job = read_pointed_job(
        pointer("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "");
    ASSERT_FALSE(job);
    EXPECT_TRUE(job.error().what.starts_with("s3://my-jobs/web.yaml:1:1: the job is empty"))
        << job.error().what;
}

}  // namespace
}  // namespace amilift::job
