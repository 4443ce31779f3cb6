// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::aws {

/// Where a service answers.
struct Endpoint {
    std::string scheme;       ///< "https"; "http" only from an override
    std::string authority;    ///< host, and the port unless it is the scheme's own: the Host header
    bool overridden = false;  ///< came from the job or the command line

    /// "https://ec2.eu-west-1.amazonaws.com"
    [[nodiscard]] std::string origin() const { return scheme + "://" + authority; }
};

struct EndpointOptions {
    std::string region;                    ///< "eu-west-1"
    std::string domain = "amazonaws.com";  ///< IMDS services/domain; "amazonaws.com.cn" in China
    /// Service ("ec2") -> URL. The signature's region and service stay the canonical ones, so that
    /// a VPC endpoint's own name ("https://vpce-...") works.
    std::map<std::string, std::string> overrides{};
};

/// Pure. The domain of the partition that a Region belongs to, by its name: "amazonaws.com.cn" for
/// "cn-north-1". Source: partitions.json of the AWS SDKs.
[[nodiscard]] std::string_view domain_of_region(std::string_view region) noexcept;

/// Reads an override: http or https, a host name, IPv4 or [IPv6] address, an optional port, nothing
/// else but one "/". Errc::invalid_input says what is wrong with it.
[[nodiscard]] core::Result<Endpoint> parse_endpoint(std::string_view url);

/// The override, or "https://<service>.<region>.<domain>". Errc::invalid_input if region, domain or
/// override cannot be used.
[[nodiscard]] core::Result<Endpoint> resolve_endpoint(const std::string& service,
                                                      const EndpointOptions& options);

}  // namespace amilift::aws
