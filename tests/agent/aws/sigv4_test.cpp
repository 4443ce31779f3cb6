// SPDX-License-Identifier: Apache-2.0
#include "aws/sigv4.hpp"

#include <gtest/gtest.h>

#include "core/sha256.hpp"
#include "tests/agent/aws/golden.hpp"

namespace amilift::aws {
namespace {

using tests::golden_json;

struct Vector {
    SigningInput input;
    SigningScope scope;
    std::string key_id;
    Secret secret;
};

Vector vector_of(const nlohmann::ordered_json& row) {
    Vector v;
    v.input.method = row.at("method");
    v.input.path = row.at("path");
    for (const auto& pair : row.at("query")) v.input.query.push_back({pair.at(0), pair.at(1)});
    for (const auto& pair : row.at("headers")) v.input.headers.push_back({pair.at(0), pair.at(1)});
    v.input.payload_hash = core::sha256_hex(row.at("body").get<std::string>()).value();
    v.scope.region = row.at("region");
    v.scope.service = row.at("service");
    v.scope.time = std::chrono::system_clock::from_time_t(row.at("time").get<std::time_t>());
    v.input.path_rule = v.scope.service == "s3" ? PathRule::verbatim : PathRule::normalized;
    v.key_id = row.at("key_id");
    v.secret = Secret(row.at("secret").get<std::string>());
    return v;
}

TEST(SigV4, AgreesWithThePublishedTestSuite) {
    const auto suite = golden_json("suite.json");
    ASSERT_GE(suite.size(), 30U);
    for (const auto& row : suite) {
        SCOPED_TRACE(row.at("name").get<std::string>());
        const auto v = vector_of(row);
        const auto canonical = canonical_request(v.input);
        EXPECT_EQ(canonical, row.at("canonical_request").get<std::string>());
        EXPECT_EQ(string_to_sign(canonical, v.scope).value(),
                  row.at("string_to_sign").get<std::string>());
        const auto value = authorization(v.input, v.scope, v.key_id, v.secret);
        ASSERT_TRUE(value);
        EXPECT_EQ(*value, row.at("authorization").get<std::string>());
    }
}

TEST(SigV4, AgreesWithBotocoresSigner) {
    const auto rows = golden_json("signatures.json");
    ASSERT_GE(rows.size(), 10U);
    for (const auto& row : rows) {
        SCOPED_TRACE(row.at("name").get<std::string>());
        const auto v = vector_of(row);
        EXPECT_EQ(canonical_request(v.input), row.at("canonical_request").get<std::string>());
        const auto value = authorization(v.input, v.scope, v.key_id, v.secret);
        ASSERT_TRUE(value);
        EXPECT_EQ(*value, row.at("authorization").get<std::string>());
    }
}

TEST(SigV4, SignatureDependsOnEveryInput) {
    const auto rows = golden_json("signatures.json");
    const auto base = vector_of(rows.at(0));
    const auto sign = [](const Vector& v) {
        return authorization(v.input, v.scope, v.key_id, v.secret).value();
    };
    const auto reference = sign(base);
    auto changed = base;
    changed.input.method = "GET";
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.input.path = "/x";
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.input.query.push_back({"a", ""});
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.input.headers.front().value = "example.org";
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.input.payload_hash = core::sha256_hex("another body").value();
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.scope.time += std::chrono::seconds(1);
    // The time enters through X-Amz-Date and through the string to sign; the latter is what counts.
    EXPECT_NE(sign(changed), reference);
    changed = base;
    changed.secret = Secret("another secret");
    EXPECT_NE(sign(changed), reference);
}

TEST(SigV4, PercentEncodesAllButUnreservedCharacters) {
    EXPECT_EQ(percent_encode("AZaz09-_.~"), "AZaz09-_.~");
    EXPECT_EQ(percent_encode("a b/+*%"), "a%20b%2F%2B%2A%25");
    EXPECT_EQ(percent_encode("a b/c", "/"), "a%20b/c");
    EXPECT_EQ(percent_encode(std::string("\0\xff", 2)), "%00%FF");
}

TEST(SigV4, EmptyPathIsTheRoot) {
    SigningInput input{.method = "GET", .path = "", .payload_hash = "x"};
    EXPECT_TRUE(canonical_request(input).starts_with("GET\n/\n"));
    input.path_rule = PathRule::verbatim;
    EXPECT_TRUE(canonical_request(input).starts_with("GET\n/\n"));
}

}  // namespace
}  // namespace amilift::aws
