// SPDX-License-Identifier: Apache-2.0
#include "aws/endpoints.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amilift::aws {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Endpoints, AreMadeFromRegionAndDomain) {
    const auto plain = resolve_endpoint("ec2", {.region = "eu-west-1"});
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->origin(), "https://ec2.eu-west-1.amazonaws.com");
    EXPECT_FALSE(plain->overridden);
    const auto china =
        resolve_endpoint("sts", {.region = "cn-north-1", .domain = "amazonaws.com.cn"});
    ASSERT_TRUE(china);
    EXPECT_EQ(china->origin(), "https://sts.cn-north-1.amazonaws.com.cn");
}

TEST(Endpoints, OverrideWinsForItsServiceOnly) {
    const EndpointOptions options{
        .region = "eu-west-1",
        .overrides = {{"ec2", "https://vpce-0a1b.ec2.eu-west-1.vpce.amazonaws.com/"}}};
    const auto ec2 = resolve_endpoint("ec2", options);
    ASSERT_TRUE(ec2);
    EXPECT_EQ(ec2->origin(), "https://vpce-0a1b.ec2.eu-west-1.vpce.amazonaws.com");
    EXPECT_TRUE(ec2->overridden);
    const auto s3 = resolve_endpoint("s3", options);
    ASSERT_TRUE(s3);
    EXPECT_EQ(s3->origin(), "https://s3.eu-west-1.amazonaws.com");
}

TEST(Endpoints, AuthorityIsWhatTheHostHeaderHolds) {
    const auto authority = [](const char* url) { return parse_endpoint(url).value().authority; };
    EXPECT_EQ(authority("https://host.example:443"), "host.example");
    EXPECT_EQ(authority("http://host.example:80/"), "host.example");
    EXPECT_EQ(authority("https://host.example:80"), "host.example:80");
    EXPECT_EQ(authority("http://127.0.0.1:5000"), "127.0.0.1:5000");
    EXPECT_EQ(authority("http://[::1]:5000"), "[::1]:5000");
    EXPECT_EQ(authority("http://[fd00:ec2::254]"), "[fd00:ec2::254]");
}

TEST(Endpoints, UnusableOverridesAreExplained) {
    for (const auto* url : {"",
                            "ec2.example.org",
                            "ftp://host",
                            "https://",
                            "https:///",
                            "https://host/path",
                            "https://host?x",
                            "https://host#x",
                            "https://host:0",
                            "https://host:70000",
                            "https://host:",
                            "https://host:abc",
                            "https://ho st",
                            "https://-host",
                            "https://host-",
                            "https://a..b",
                            "https://.a",
                            "https://a.",
                            "https://[::1",
                            "https://[xyz]",
                            "https://h\r\nX-Evil: 1",
                            "HTTPS://HOST"}) {
        const auto endpoint = parse_endpoint(url);
        ASSERT_FALSE(endpoint) << url;
        EXPECT_EQ(endpoint.error().code, core::Errc::invalid_input);
        EXPECT_THAT(endpoint.error().hint, HasSubstr("https://ec2.eu-west-1.amazonaws.com"));
    }
}

TEST(Endpoints, PasswordInAUrlIsRefusedAndNotPrinted) {
    const auto endpoint = parse_endpoint("https://user:hunter2@host.example");
    ASSERT_FALSE(endpoint);
    EXPECT_THAT(endpoint.error().message(), Not(HasSubstr("hunter2")));
}

TEST(Endpoints, DomainFollowsTheRegion) {
    const std::pair<const char*, const char*> rows[] = {
        {"eu-west-1", "amazonaws.com"},       {"us-gov-west-1", "amazonaws.com"},
        {"cn-north-1", "amazonaws.com.cn"},   {"cn-northwest-1", "amazonaws.com.cn"},
        {"eusc-de-east-1", "amazonaws.eu"},   {"us-iso-east-1", "c2s.ic.gov"},
        {"us-isob-east-1", "sc2s.sgov.gov"},  {"eu-isoe-west-1", "cloud.adc-e.uk"},
        {"us-isof-south-1", "csp.hci.ic.gov"}};
    for (const auto& [region, domain] : rows) EXPECT_EQ(domain_of_region(region), domain);
}

TEST(Endpoints, ErrorNamesTheService) {
    const auto endpoint =
        resolve_endpoint("ec2", {.region = "eu-west-1", .overrides = {{"ec2", "nonsense"}}});
    ASSERT_FALSE(endpoint);
    EXPECT_THAT(endpoint.error().what, HasSubstr("service 'ec2': endpoint 'nonsense'"));
}

TEST(Endpoints, HostileRegionNeverBecomesAHost) {
    for (const auto* region : {"", "eu-west-1/evil", "evil.example", "a b", "-x", "eu-west-1\n"}) {
        const auto endpoint = resolve_endpoint("ec2", {.region = region});
        ASSERT_FALSE(endpoint) << region;
        EXPECT_EQ(endpoint.error().code, core::Errc::invalid_input);
    }
    EXPECT_FALSE(resolve_endpoint("ec2", {.region = "eu-west-1", .domain = "evil/?"}));
}

}  // namespace
}  // namespace amilift::aws
