// SPDX-License-Identifier: Apache-2.0
#include "aws/imds_data.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "aws/service_error.hpp"

namespace amilift::aws {
namespace {

using core::Errc;
using core::fail;
using nlohmann::json;

// The documents are flat; a deep one must not use up the stack.
constexpr int kMaxDepth = 8;

std::optional<json> parse_object(std::string_view text) {
    const auto shallow = [](int depth, json::parse_event_t, json&) { return depth <= kMaxDepth; };
    auto parsed = json::parse(text, shallow, false);
    if (!parsed.is_object()) return std::nullopt;
    return parsed;
}

/// Empty if absent or not a string.
std::string text_of(const json& object, const char* name) {
    const auto it = object.find(name);
    if (it == object.end() || !it->is_string()) return {};
    return it->get<std::string>();
}

template <class Int>
std::optional<Int> digits(std::string_view text) {
    Int value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + static_cast<Int>(c - '0');
    }
    return value;
}

}  // namespace

std::optional<std::chrono::system_clock::time_point> parse_utc(std::string_view text) {
    // 2026-11-21T09:30:00 and then Z, or .123Z
    if (text.size() < 20 || text.back() != 'Z' || text[4] != '-' || text[7] != '-' ||
        text[10] != 'T' || text[13] != ':' || text[16] != ':') {
        return std::nullopt;
    }
    const auto fraction = text.substr(19, text.size() - 20);
    if (!fraction.empty() &&
        (fraction.size() < 2 || fraction.size() > 10 || fraction.front() != '.' ||
         !digits<unsigned long>(fraction.substr(1)))) {
        return std::nullopt;
    }
    const auto year = digits<int>(text.substr(0, 4));
    const auto month = digits<unsigned>(text.substr(5, 2));
    const auto day = digits<unsigned>(text.substr(8, 2));
    const auto hour = digits<int>(text.substr(11, 2));
    const auto minute = digits<int>(text.substr(14, 2));
    const auto second = digits<int>(text.substr(17, 2));
    if (!year || !month || !day || !hour || !minute || !second || *hour > 23 || *minute > 59 ||
        *second > 60) {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(*month),
                                           std::chrono::day(*day)};
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
           std::chrono::seconds(*second);
}

core::Result<Credentials> parse_role_credentials(std::string_view text, std::string_view role) {
    const auto object = parse_object(text);
    if (!object) {
        return fail(Errc::corrupt,
                    fmt::format("the credentials of role '{}' ({} bytes) are no JSON object", role,
                                text.size()),
                    "check that the metadata service's address is EC2's");
    }
    if (const auto code = text_of(*object, "Code"); code != "Success") {
        return fail(Errc::unavailable,
                    fmt::format("the metadata service has no credentials of role '{}' now: code "
                                "'{}', expected 'Success'",
                                role, one_line(code, 80)),
                    "check the role's trust policy and the instance profile");
    }
    Credentials credentials{
        .access_key_id = text_of(*object, "AccessKeyId"),
        .secret_access_key = Secret(text_of(*object, "SecretAccessKey")),
        .session_token = Secret(text_of(*object, "Token")),
        .expires = parse_utc(text_of(*object, "Expiration")),
    };
    const char* missing = nullptr;
    if (credentials.access_key_id.empty()) missing = "AccessKeyId";
    if (credentials.secret_access_key.empty()) missing = "SecretAccessKey";
    if (credentials.session_token.empty()) missing = "Token";
    if (!credentials.expires) missing = "Expiration";
    if (missing) {
        return fail(Errc::corrupt,
                    fmt::format("the credentials of role '{}' lack a usable '{}'", role, missing),
                    "check that the metadata service's address is EC2's");
    }
    return credentials;
}

}  // namespace amilift::aws
