// SPDX-License-Identifier: Apache-2.0
#include "job/job_yaml_values.hpp"

#include <algorithm>
#include <charconv>

#include "core/text.hpp"
#include "job/job.hpp"

namespace amilift::job {
namespace {

using core::count_characters;
using core::is_digit;
using core::lower;

bool is_lower_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f');
}
bool is_alphanumeric(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_job_id(std::string_view v) {
    return !v.empty() && v.size() <= 64 && std::ranges::all_of(v, [](char c) {
        return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
    });
}

bool is_id(std::string_view v, std::string_view prefix) {
    if (!v.starts_with(prefix)) return false;
    v.remove_prefix(prefix.size());
    return (v.size() == 8 || v.size() == 17) && std::ranges::all_of(v, is_lower_hex);
}

bool is_aki(std::string_view v) {
    return v == "auto" || is_id(v, "aki-");
}

bool is_root_device(std::string_view v) {
    return v == "/dev/xvda" || v == "/dev/sda1";
}

/// Takes `least` to `most` digits off the front.
bool take_digits(std::string_view& v, std::size_t least, std::size_t most) {
    std::size_t n = 0;
    while (n < v.size() && n < most && is_digit(v[n])) ++n;
    v.remove_prefix(n);
    return n >= least;
}

bool is_console(std::string_view v) {
    if (!v.starts_with("tty")) return false;
    v.remove_prefix(3);
    const bool serial = v.starts_with('S');
    if (serial) v.remove_prefix(1);
    if (!take_digits(v, 1, 2)) return false;
    if (v.empty()) return true;
    if (!serial || !v.starts_with(',')) return false;
    v.remove_prefix(1);
    if (!take_digits(v, 2, 7)) return false;
    if (v.empty()) return true;
    // Parity, bits, flow control.
    if (std::string_view("noe").find(v.front()) == std::string_view::npos) return false;
    v.remove_prefix(1);
    if (!v.empty() && v.front() >= '5' && v.front() <= '8') v.remove_prefix(1);
    return v.empty() || v == "r";
}

bool is_host_name(std::string_view v) {
    return !v.empty() && v.size() <= 253 && is_alphanumeric(v.front()) && v.back() != '-' &&
           v.find("..") == std::string_view::npos && std::ranges::all_of(v, [](char c) {
               return is_alphanumeric(c) || c == '.' || c == '-' || c == '_';
           });
}

bool is_ipv6_literal(std::string_view v) {
    return v.size() >= 4 && v.starts_with('[') && v.ends_with(']') &&
           std::ranges::all_of(v.substr(1, v.size() - 2), [](char c) {
               return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
                      c == '.';
           });
}

bool is_port(std::string_view v) {
    unsigned port = 0;
    const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), port);
    return error == std::errc{} && end == v.data() + v.size() && v.size() <= 5 && port >= 1 &&
           port <= 65535;
}

bool is_endpoint_url(std::string_view v) {
    if (v.size() > 512) return false;
    if (v.starts_with("https://")) {
        v.remove_prefix(8);
    } else if (v.starts_with("http://")) {
        v.remove_prefix(7);
    } else {
        return false;
    }
    const auto slash = v.find('/');
    auto authority = v.substr(0, slash);
    const auto path = slash == std::string_view::npos ? std::string_view{} : v.substr(slash);
    if (!std::ranges::all_of(path, [](char c) {
            return is_alphanumeric(c) ||
                   std::string_view("/-._~").find(c) != std::string_view::npos;
        })) {
        return false;
    }
    const auto host_end = authority.starts_with('[') ? authority.find(']') : 0;
    if (host_end == std::string_view::npos) return false;
    if (const auto colon = authority.find(':', host_end); colon != std::string_view::npos) {
        if (!is_port(authority.substr(colon + 1))) return false;
        authority = authority.substr(0, colon);
    }
    return is_host_name(authority) || is_ipv6_literal(authority);
}

bool is_tag_key(std::string_view v) {
    const auto low = lower(v);
    return !v.empty() && count_characters(v) <= 128 && !low.starts_with("aws:") &&
           !low.starts_with("amilift:") && v.find_first_of("\n\t") == std::string_view::npos;
}

bool is_sha256(std::string_view v) {
    return v.size() == 64 && std::ranges::all_of(v, is_lower_hex);
}

bool is_s3_version(std::string_view v) {
    return !v.empty() && v.size() <= 1024 &&
           std::ranges::all_of(v, [](char c) { return c > ' ' && c < '\x7F'; });
}

bool is_bucket(std::string_view v) {
    const auto edge = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z'); };
    if (v.size() < 3 || v.size() > 63 || !edge(v.front()) || !edge(v.back())) return false;
    if (v.find("..") != std::string_view::npos) return false;
    if (!std::ranges::all_of(v, [&](char c) { return edge(c) || c == '.' || c == '-'; })) {
        return false;
    }
    // A bucket must not look like an IPv4 address.
    return !std::ranges::all_of(v, [](char c) { return is_digit(c) || c == '.'; }) ||
           std::ranges::count(v, '.') != 3;
}

}  // namespace

bool is_ami_id(std::string_view text) {
    return is_id(text, "ami-");
}

const TextRule kJobIdRule{is_job_id, "1 to 64 letters, digits, '.', '_' or '-'"};
const TextRule kAmiIdRule{is_ami_id,
                          "'ami-' and 8 or 17 lower-case hexadecimal digits (ami-0abc1234)"};
const TextRule kAkiRule{is_aki,
                        "auto, or 'aki-' and 8 or 17 lower-case hexadecimal digits (aki-0abc1234)"};
const TextRule kRootDeviceRule{is_root_device, "/dev/xvda or /dev/sda1"};
const TextRule kConsoleRule{is_console,
                            "a console of the Linux kernel (tty0, ttyS0 or ttyS0,115200n8)"};
const TextRule kEndpointUrlRule{
    is_endpoint_url, "https://host[:port][/path] or http://..., without user, query and fragment"};
const TextRule kTagKeyRule{is_tag_key,
                           "a tag key of 1 to 128 characters that begins neither with 'aws:' nor "
                           "with 'amilift:'"};
const TextRule kSha256Rule{is_sha256, "64 lower-case hexadecimal digits, as sha256sum prints them"};
const TextRule kS3VersionRule{is_s3_version, "an S3 version id (printable ASCII, no spaces)"};

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
    if (text.size() < 2 || text.size() > 7 || !is_digit(text.front())) return std::nullopt;
    unsigned count = 0;
    const auto digits = text.substr(0, text.size() - 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    switch (text.back()) {
        case 's':
            return std::chrono::seconds(count);
        case 'm':
            return std::chrono::minutes(count);
        case 'h':
            return std::chrono::hours(count);
        default:
            return std::nullopt;
    }
}

std::optional<std::uint32_t> parse_size_gib(std::string_view text) {
    constexpr std::string_view kUnit = "GiB";
    if (!text.ends_with(kUnit)) return std::nullopt;
    text.remove_suffix(kUnit.size());
    if (text.empty() || text.size() > 5 || text.front() == '0') return std::nullopt;
    std::uint32_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc{} || end != text.data() + text.size() || size > kMaxSizeGib) {
        return std::nullopt;
    }
    return size;
}

std::optional<std::pair<std::string, std::string>> parse_s3_location(std::string_view text) {
    if (text.starts_with("s3://")) text.remove_prefix(5);
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto bucket = text.substr(0, slash);
    const auto key = text.substr(slash + 1);
    if (!is_bucket(bucket) || key.empty() || key.size() > 1024 ||
        key.find_first_of("\n\t") != std::string_view::npos) {
        return std::nullopt;
    }
    return std::pair{std::string(bucket), std::string(key)};
}

}  // namespace amilift::job
