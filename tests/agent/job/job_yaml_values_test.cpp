// SPDX-License-Identifier: Apache-2.0
#include "job/job_yaml_values.hpp"

#include <gtest/gtest.h>

namespace amilift::job {
namespace {

using namespace std::chrono_literals;

void expect(const TextRule& rule, std::initializer_list<std::string_view> good,
            std::initializer_list<std::string_view> bad) {
    for (const auto text : good) EXPECT_TRUE(rule.accepts(text)) << text;
    for (const auto text : bad) EXPECT_FALSE(rule.accepts(text)) << text;
}

TEST(JobValues, JobId) {
    expect(kJobIdRule, {"a", "web-2011", "A.b_c-9", std::string(64, 'x')},
           {"", "a b", "a/b", "a:b", "ä", std::string(65, 'x'), "a\n"});
}

TEST(JobValues, AmiId) {
    expect(kAmiIdRule, {"ami-0abc1234", "ami-0123456789abcdef0"},
           {"", "ami-", "ami-0abc123", "ami-0abc12345", "ami-0123456789abcdef01", "AMI-0abc1234",
            "ami-0ABC1234", "ami-0abg1234", "aki-0abc1234", "ami-0abc1234 "});
}

TEST(JobValues, Console) {
    expect(kConsoleRule,
           {"tty0", "tty63", "ttyS0", "ttyS0,115200", "ttyS0,115200n8", "ttyS1,9600e7r",
            "ttyS0,9600n"},
           {"", "tty", "ttyS", "hvc0", "xvc0", "ttyS0,", "ttyS0,n8", "ttyS0,115200x8",
            "ttyS0,115200n9", "tty0,115200", "ttyS0 quiet", "ttyS0\n", "ttyS100",
            "ttyS0,115200n8rr", "console=tty0"});
}

TEST(JobValues, EndpointUrl) {
    expect(kEndpointUrlRule,
           {"https://ec2.eu-west-1.amazonaws.com", "http://127.0.0.1:5000", "https://x/path/to-it",
            "https://[::1]", "https://[fd00:ec2::1]:8443/x", "https://host_1.local:1/"},
           {"",
            "https://",
            "https:///x",
            "ftp://x",
            "x.example",
            "https://a b",
            "https://u@x",
            "https://u:p@x",
            "https://x?y",
            "https://x#y",
            "https://x/?y",
            "https://x:0",
            "https://x:65536",
            "https://x:",
            "https://x:+1",
            "https://x:1x",
            "https://-x",
            "https://x-",
            "https://a..b",
            "https://[::1",
            "https://[zz]",
            "https://[::1]x",
            "HTTPS://x",
            "https://x\\y",
            "https://x/%00",
            std::string("https://") + std::string(600, 'x')});
}

TEST(JobValues, TagKey) {
    expect(kTagKeyRule, {"Name", "cost center", "日本", std::string(128, 'k'), "awsome", "amilift"},
           {"", "aws:x", "AWS:x", "amilift:job", "Amilift:job", std::string(129, 'k'), "a\nb"});
}

TEST(JobValues, Sha256AndVersion) {
    const std::string digest(64, 'a');
    expect(kSha256Rule, {digest}, {"", digest.substr(1), digest + "a", std::string(64, 'A')});
    expect(kS3VersionRule, {"3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY", "null"}, {"", "a b", "a\n", "ä"});
}

TEST(JobValues, Duration) {
    EXPECT_EQ(parse_duration("30s"), 30s);
    EXPECT_EQ(parse_duration("90m"), 90min);
    EXPECT_EQ(parse_duration("2h"), 2h);
    EXPECT_EQ(parse_duration("999999h"), 999999h);
    for (const auto* bad : {"", "s", "2", "2d", "-2h", "+2h", "2 h", "1h30m", "2H", "1.5h", "h2",
                            "9999999h", "0x1h"}) {
        EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
    }
}

TEST(JobValues, S3Location) {
    EXPECT_EQ(parse_s3_location("bucket/key"),
              std::pair(std::string("bucket"), std::string("key")));
    EXPECT_EQ(parse_s3_location("s3://my.bucket-1/a/b c/ä"),
              std::pair(std::string("my.bucket-1"), std::string("a/b c/ä")));
    EXPECT_TRUE(parse_s3_location("abc/" + std::string(1024, 'k')));
    for (const auto& bad :
         {std::string(), std::string("bucket"), std::string("bucket/"), std::string("/key"),
          std::string("ab/key"), std::string("Bucket/key"), std::string("-bucket/key"),
          std::string("bucket./key"), std::string("a..b/key"), std::string("10.0.0.1/key"),
          std::string(64, 'b') + "/key", "abc/" + std::string(1025, 'k'),
          std::string("https://bucket/key"), std::string("s3:/bucket/key")}) {
        EXPECT_EQ(parse_s3_location(bad), std::nullopt) << bad;
    }
}

}  // namespace
}  // namespace amilift::job
