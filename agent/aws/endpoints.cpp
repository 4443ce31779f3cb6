// SPDX-License-Identifier: Apache-2.0
#include "aws/endpoints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace amilift::aws {
namespace {

using core::Errc;
using core::fail;

bool host_char(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

/// Labels of letters, digits and hyphens, joined by dots (RFC 1123 section 2.1).
bool host_name(std::string_view host) {
    if (host.empty() || host.size() > 253) return false;
    std::size_t label = 0;
    char last = '.';
    for (const char c : host) {
        if (c == '.') {
            if (label == 0 || last == '-') return false;
            label = 0;
        } else {
            if (!host_char(c) || (label == 0 && c == '-')) return false;
            ++label;
            if (label > 63) return false;
        }
        last = c;
    }
    return label > 0 && last != '-';
}

bool ipv6_literal(std::string_view host) {
    if (host.size() < 4 || !host.starts_with('[') || !host.ends_with(']')) return false;
    const auto inside = host.substr(1, host.size() - 2);
    return std::ranges::all_of(inside, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
               c == ':' || c == '.';
    });
}

std::unexpected<core::Error> bad_url(std::string_view url, std::string_view why) {
    // A URL may carry a password before '@': it is not printed then.
    const auto shown =
        url.find('@') == std::string_view::npos ? url.substr(0, 200) : std::string_view("(hidden)");
    return fail(Errc::invalid_input, fmt::format("endpoint '{}' cannot be used: {}", shown, why),
                "write it like 'https://ec2.eu-west-1.amazonaws.com' or 'http://127.0.0.1:5000'");
}

}  // namespace

std::string_view domain_of_region(std::string_view region) noexcept {
    struct Row {
        std::string_view prefix;
        std::string_view domain;
    };
    constexpr std::array kPartitions{
        Row{"cn-", "amazonaws.com.cn"},    Row{"eusc-", "amazonaws.eu"},
        Row{"us-iso-", "c2s.ic.gov"},      Row{"us-isob-", "sc2s.sgov.gov"},
        Row{"eu-isoe-", "cloud.adc-e.uk"}, Row{"us-isof-", "csp.hci.ic.gov"}};
    const auto* const row = std::ranges::find_if(
        kPartitions, [region](const Row& r) { return region.starts_with(r.prefix); });
    return row == kPartitions.end() ? "amazonaws.com" : row->domain;
}

core::Result<Endpoint> parse_endpoint(std::string_view url) {
    Endpoint endpoint{.scheme = {}, .authority = {}, .overridden = true};
    std::string_view rest = url;
    if (rest.starts_with("https://")) {
        endpoint.scheme = "https";
    } else if (rest.starts_with("http://")) {
        endpoint.scheme = "http";
    } else {
        return bad_url(url, "it does not begin with https:// or http://");
    }
    rest.remove_prefix(endpoint.scheme.size() + 3);
    if (rest.find('@') != std::string_view::npos) {
        return bad_url(url, "it holds a user name or password");
    }
    if (const auto slash = rest.find_first_of("/?#"); slash != std::string_view::npos) {
        if (rest.substr(slash) != "/") return bad_url(url, "it goes on after the host and port");
        rest = rest.substr(0, slash);
    }
    auto host = rest;
    if (const auto colon = rest.rfind(':');
        colon != std::string_view::npos && !rest.ends_with(']')) {
        host = rest.substr(0, colon);
        const std::string port_text(rest.substr(colon + 1));
        std::uint16_t port = 0;
        const auto* end = port_text.data() + port_text.size();
        const auto [stop, error] = std::from_chars(port_text.data(), end, port);
        if (error != std::errc() || stop != end || port == 0) {
            return bad_url(url, fmt::format("'{}' is no port (1 to 65535)", port_text));
        }
        if (port != (endpoint.scheme == "https" ? 443 : 80)) {
            endpoint.authority = fmt::format("{}:{}", host, port);
        }
    }
    if (!host_name(host) && !ipv6_literal(host)) {
        return bad_url(url, fmt::format("'{}' is no host name and no IP address", host));
    }
    if (endpoint.authority.empty()) endpoint.authority = std::string(host);
    return endpoint;
}

core::Result<Endpoint> resolve_endpoint(const std::string& service,
                                        const EndpointOptions& options) {
    if (const auto it = options.overrides.find(service); it != options.overrides.end()) {
        auto endpoint = parse_endpoint(it->second);
        if (!endpoint) {
            return std::unexpected(
                std::move(endpoint).error().with_context(fmt::format("service '{}'", service)));
        }
        return endpoint;
    }
    if (options.region.find('.') != std::string::npos || !host_name(options.region)) {
        return fail(Errc::invalid_input,
                    fmt::format("region '{}' cannot be part of the host name of '{}'",
                                options.region.substr(0, 80), service),
                    "give the region as AWS writes it, like 'eu-west-1'");
    }
    auto host = fmt::format("{}.{}.{}", service, options.region, options.domain);
    if (!host_name(host)) {
        return fail(
            Errc::invalid_input,
            fmt::format("'{}' is no host name for service '{}'", host.substr(0, 260), service),
            "check the region and the domain that the metadata service reports");
    }
    return Endpoint{.scheme = "https", .authority = std::move(host), .overridden = false};
}

}  // namespace amilift::aws
