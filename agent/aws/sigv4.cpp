// SPDX-License-Identifier: Apache-2.0
#include "aws/sigv4.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <span>

#include "core/sha256.hpp"
#include "core/text.hpp"

namespace amilift::aws {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

// Set or changed on the way by libcurl or by proxies, or (authorization) the result itself.
constexpr std::array<std::string_view, 7> kUnsignedHeaders{
    "authorization",     "connection", "expect",         "te",
    "transfer-encoding", "user-agent", "x-amzn-trace-id"};

bool unreserved(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

std::string hex(std::span<const unsigned char> bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const auto byte : bytes) {
        text += kDigits[byte >> 4U];
        text += kDigits[byte & 0xfU];
    }
    return text;
}

std::span<const unsigned char> bytes_of(std::string_view text) {
    return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

core::Result<Digest> hmac(std::span<const unsigned char> key, std::string_view text) {
    Digest digest{};
    unsigned int size = 0;
    if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(text).data(),
              text.size(), digest.data(), &size) ||
        size != digest.size()) {
        return core::fail(core::Errc::internal, "cannot sign a request: OpenSSL's HMAC failed");
    }
    return digest;
}

/// RFC 3986 section 5.2.4, and empty segments go as well.
std::string without_dots(std::string_view path) {
    std::vector<std::string_view> kept;
    for (std::size_t at = 0; at <= path.size();) {
        const auto slash = std::min(path.find('/', at), path.size());
        const auto segment = path.substr(at, slash - at);
        at = slash + 1;
        if (segment == "..") {
            if (!kept.empty()) kept.pop_back();
        } else if (!segment.empty() && segment != ".") {
            kept.push_back(segment);
        }
    }
    std::string result;
    for (const auto segment : kept) {
        result += '/';
        result += segment;
    }
    if (kept.empty() || path.ends_with('/')) result += '/';
    return result;
}

std::string canonical_path(const SigningInput& input) {
    const std::string_view path = input.path.empty() ? std::string_view("/") : input.path;
    if (input.path_rule == PathRule::verbatim) return std::string(path);
    return percent_encode(without_dots(path), "/");
}

/// Runs of white space become one space, none at the ends.
std::string collapsed(std::string_view value) {
    std::string result;
    bool gap = false;
    for (const char c : value) {
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            gap = !result.empty();
            continue;
        }
        if (gap) result += ' ';
        gap = false;
        result += c;
    }
    return result;
}

/// Lower-case name -> value, repeated headers joined in order of arrival.
std::map<std::string, std::string> canonical_headers(const net::Headers& headers) {
    std::map<std::string, std::string> result;
    for (const auto& header : headers) {
        const auto name = core::lower(header.name);
        if (std::ranges::find(kUnsignedHeaders, name) != kUnsignedHeaders.end()) continue;
        const auto [it, fresh] = result.try_emplace(name, collapsed(header.value));
        if (!fresh) it->second += "," + collapsed(header.value);
    }
    return result;
}

std::string signed_names(const std::map<std::string, std::string>& headers) {
    std::string names;
    for (const auto& [name, value] : headers) {
        if (!names.empty()) names += ';';
        names += name;
    }
    return names;
}

std::string date_of(const SigningScope& scope) {
    return amz_date(scope.time).substr(0, 8);
}

std::string credential_scope(const SigningScope& scope) {
    return fmt::format("{}/{}/{}/aws4_request", date_of(scope), scope.region, scope.service);
}

}  // namespace

std::string percent_encode(std::string_view text, std::string_view keep) {
    std::string result;
    result.reserve(text.size());
    for (const char c : text) {
        if (unreserved(c) || keep.find(c) != std::string_view::npos) {
            result += c;
        } else {
            result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return result;
}

std::string canonical_query(const std::vector<QueryPair>& query) {
    std::vector<std::pair<std::string, std::string>> pairs;
    pairs.reserve(query.size());
    for (const auto& pair : query) {
        pairs.emplace_back(percent_encode(pair.name), percent_encode(pair.value));
    }
    std::ranges::sort(pairs);
    std::string result;
    for (const auto& [name, value] : pairs) {
        if (!result.empty()) result += '&';
        result.append(name).append("=").append(value);
    }
    return result;
}

std::string amz_date(std::chrono::system_clock::time_point time) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    return fmt::format("{:%Y%m%dT%H%M%SZ}",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(whole)));
}

std::string canonical_request(const SigningInput& input) {
    const auto headers = canonical_headers(input.headers);
    auto text = fmt::format("{}\n{}\n{}\n", input.method, canonical_path(input),
                            canonical_query(input.query));
    for (const auto& [name, value] : headers) text.append(name).append(":").append(value) += '\n';
    return text + fmt::format("\n{}\n{}", signed_names(headers), input.payload_hash);
}

core::Result<std::string> string_to_sign(std::string_view canonical_request,
                                         const SigningScope& scope) {
    AMILIFT_TRY(const auto digest, core::sha256_hex(canonical_request));
    return fmt::format("{}\n{}\n{}\n{}", kAlgorithm, amz_date(scope.time), credential_scope(scope),
                       digest);
}

core::Result<std::string> authorization(const SigningInput& input, const SigningScope& scope,
                                        const std::string& access_key_id,
                                        const Secret& secret_access_key) {
    const auto first_key = "AWS4" + secret_access_key.reveal();
    AMILIFT_TRY(const auto date_key, hmac(bytes_of(first_key), date_of(scope)));
    AMILIFT_TRY(const auto region_key, hmac(date_key, scope.region));
    AMILIFT_TRY(const auto service_key, hmac(region_key, scope.service));
    AMILIFT_TRY(const auto key, hmac(service_key, "aws4_request"));
    AMILIFT_TRY(const auto text, string_to_sign(canonical_request(input), scope));
    AMILIFT_TRY(const auto signature, hmac(key, text));
    return fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                       access_key_id, credential_scope(scope),
                       signed_names(canonical_headers(input.headers)), hex(signature));
}

}  // namespace amilift::aws
