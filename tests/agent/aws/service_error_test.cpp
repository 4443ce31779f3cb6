// SPDX-License-Identifier: Apache-2.0
#include "aws/service_error.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace amilift::aws {
namespace {

using core::Errc;

TEST(ServiceError, ReadsTheFormOfEc2) {
    const auto error = parse_service_error(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>"
        "<Code>InvalidVolume.NotFound</Code><Message>The volume 'vol-1' does not exist.</Message>"
        "</Error><Error><Code>Second</Code></Error></Errors><RequestID>ea966190</RequestID>"
        "</Response>");
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, "InvalidVolume.NotFound");
    EXPECT_EQ(error->message, "The volume 'vol-1' does not exist.");
    EXPECT_EQ(error->request_id, "ea966190");
}

TEST(ServiceError, ReadsTheFormOfTheQueryServices) {
    const auto error = parse_service_error(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
        "<Type>Sender</Type><Code>ExpiredToken</Code><Message>It &lt;is&gt; over</Message></Error>"
        "<RequestId>abc</RequestId></ErrorResponse>");
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, "ExpiredToken");
    EXPECT_EQ(error->message, "It <is> over");
    EXPECT_EQ(error->request_id, "abc");
}

TEST(ServiceError, ReadsTheFormOfS3WithItsRegion) {
    const auto error = parse_service_error(
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>"
        "<Region>eu-central-1</Region><RequestId>R</RequestId><HostId>H</HostId></Error>");
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, "AuthorizationHeaderMalformed");
    EXPECT_EQ(error->region, "eu-central-1");
    EXPECT_EQ(error->request_id, "R");
}

TEST(ServiceError, AnythingElseIsNone) {
    for (const std::string body :
         {"", "   ", "not xml", "<html><body>502</body></html>", "<Response/>", "<Error/>",
          "<Error><Code></Code></Error>", "<Response><Errors><Error>", "{\"__type\":\"x\"}",
          "<ErrorResponse><Code>outside</Code></ErrorResponse>"}) {
        EXPECT_FALSE(parse_service_error(body)) << body;
    }
}

TEST(ServiceError, BoundsAndCleansWhatItKeeps) {
    const auto error =
        parse_service_error("<Error><Code>" + std::string(5000, 'c') + "</Code><Message>a\n\tb" +
                            std::string(100000, 'm') + "</Message></Error>");
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code.size(), 128U);
    EXPECT_EQ(error->message.size(), 1000U);
    EXPECT_TRUE(error->message.starts_with("a  b"));
}

TEST(ServiceError, DeepNestingIsHarmless) {
    std::string deep;
    for (int i = 0; i < 200000; ++i) deep += "<a>";
    EXPECT_FALSE(parse_service_error(deep));
}

TEST(ServiceError, EntitiesAreNotExpanded) {
    const auto error = parse_service_error(
        "<!DOCTYPE Error [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">"
        "<!ENTITY f SYSTEM \"file:///etc/passwd\">]>"
        "<Error><Code>X</Code><Message>&b;&f;</Message></Error>");
    ASSERT_TRUE(error);
    EXPECT_EQ(error->message, "&b;&f;");
}

TEST(ServiceError, OneLineCutsBetweenCharacters) {
    EXPECT_EQ(one_line("abc", 10), "abc");
    EXPECT_EQ(one_line("a\r\nb\x7f", 10), "a  b ");
    EXPECT_EQ(one_line("abcdef", 3), "abc");
    EXPECT_EQ(one_line("ab\xc3\xa9", 3), "ab");
    EXPECT_EQ(one_line("a\xe6\x97\xa5z", 3), "a");
    EXPECT_EQ(one_line("a\xe6\x97\xa5z", 4), "a\xe6\x97\xa5");
    EXPECT_EQ(one_line("\xa5\xa5\xa5", 2), "");
}

struct Row {
    std::string code;
    int status;
    Errc errc;
};

TEST(ServiceError, CodesBecomeTheKindsOfTheContract) {
    const std::vector<Row> rows{
        {"InvalidVolume.NotFound", 400, Errc::not_found},
        {"InvalidAMIID.NotFound", 400, Errc::not_found},
        {"InvalidAMIID.Unavailable", 400, Errc::not_found},
        {"InvalidAttachment.NotFound", 400, Errc::not_found},
        {"NoSuchKey", 404, Errc::not_found},
        {"UnauthorizedOperation", 403, Errc::permission_denied},
        {"AuthFailure", 401, Errc::permission_denied},
        {"ExpiredToken", 400, Errc::permission_denied},
        {"SomethingNewAboutAccess", 403, Errc::permission_denied},
        {"IncorrectState", 400, Errc::conflict},
        {"IncorrectInstanceState", 400, Errc::conflict},
        {"InvalidVolume.IncorrectState", 400, Errc::conflict},
        {"VolumeInUse", 400, Errc::conflict},
        {"InvalidSnapshot.InUse", 400, Errc::conflict},
        {"IdempotentParameterMismatch", 400, Errc::conflict},
        {"InvalidAMIName.Duplicate", 400, Errc::already_exists},
        {"RequestLimitExceeded", 503, Errc::unavailable},
        {"VolumeLimitExceeded", 400, Errc::unavailable},
        {"InsufficientVolumeCapacity", 500, Errc::unavailable},
        {"SnapshotCreationPerVolumeRateExceeded", 400, Errc::unavailable},
        {"InternalError", 500, Errc::unavailable},
        {"InvalidParameterValue", 400, Errc::invalid_input},
        {"MissingParameter", 400, Errc::invalid_input},
        {"IncorrectSpelling", 400, Errc::invalid_input},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(to_string(errc_of(row.code, row.status)), to_string(row.errc)) << row.code;
    }
}

}  // namespace
}  // namespace amilift::aws
