// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "app/exit_code.hpp"

namespace amilift::app {

/// Options of each command, as the command line gives them.
struct AgentOptions {
    bool throwaway = false;
    std::string console = "-";
    std::string state_directory = "/var/lib/amilift";
    std::string runtime_directory = "/run/amilift";
    std::string imds_url;  ///< empty: the link-local address
    /// "ec2=https://vpce-...": where services answer unless the job says otherwise.
    std::vector<std::string> endpoints;
    int api_timeout_seconds = 120;  ///< at most aws::kLongestCall
};

struct ImageOptions {
    std::string source;
    std::string output;        ///< convert only
    std::string job;           ///< convert and plan: a job file whose `conversion` part is used
    std::string size;          ///< convert and plan: "20GiB"; empty: as the job says
    std::string platform;      ///< convert and plan: "nitro", "xen"; empty: as the job says
    bool verify_copy = false;  ///< convert and plan: besides what the job says
    bool json = false;
};

struct InspectOptions {
    std::string source;              ///< a disk, or "ami-..."
    std::string platform = "nitro";  ///< the one that the exit code is about
    std::string html;                ///< file for the page; empty: none
    std::string endpoint;            ///< of EC2, for tests and VPC endpoints
    std::string imds_url;            ///< empty: the link-local address
    bool json = false;
};

struct ValidateOptions {
    std::string job;  ///< "-" is standard input
    bool json = false;
};

struct CleanupOptions {
    std::string job_id;
    std::string region;
    std::string endpoint;  ///< of EC2, for tests and VPC endpoints
    bool dry_run = false;
    bool json = false;
};

[[nodiscard]] ExitCode run_agent(const AgentOptions& options);
[[nodiscard]] ExitCode run_convert(const ImageOptions& options);
[[nodiscard]] ExitCode run_plan(const ImageOptions& options);
[[nodiscard]] ExitCode run_inspect(const InspectOptions& options);
[[nodiscard]] ExitCode run_validate(const ValidateOptions& options);
[[nodiscard]] ExitCode run_cleanup(const CleanupOptions& options);

}  // namespace amilift::app
