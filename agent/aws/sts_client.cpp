// SPDX-License-Identifier: Apache-2.0
#include "aws/sts_client.hpp"

#include "aws/query_protocol.hpp"

namespace amilift::aws {

core::Result<CallerIdentity> parse_caller_identity(std::string_view xml) {
    pugi::xml_document document;
    AMILIFT_TRY(const auto root, parse_reply(xml, "GetCallerIdentityResponse", document));
    const auto result = root.child("GetCallerIdentityResult");
    FieldReader read;
    CallerIdentity identity{.account = read.required(result, "Account"),
                            .arn = read.required(result, "Arn"),
                            .user_id = read.text(result, "UserId")};
    AMILIFT_CHECK(read.check("GetCallerIdentity"));
    return identity;
}

core::Result<CallerIdentity> StsClient::get_caller_identity() {
    const QueryForm form("GetCallerIdentity", "2011-06-15");
    AMILIFT_TRY(const auto reply, client_.call(query_call("sts", form, Repeat::safe)));
    return parse_caller_identity(reply.body);
}

}  // namespace amilift::aws
